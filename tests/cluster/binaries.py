"""The programs of a cluster, each built from its Go module when it is first asked for, and kept.

    python -m tests.cluster.binaries kube etcd      # builds what is missing, prints the paths

The module proxy and its checksum database are all that is asked. A binary lies in a folder named by everything that
decides what it is, so that a changed version or flag is another binary, and the old one is never taken for it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from . import versions
from .cache import cache_folder, locked
from .progress import ClusterError, Say, logged, say

PROGRAMS = Path(__file__).parent / "programs"

_NEEDS_GO = "Install Go 1.26 or newer (https://go.dev/dl) and put `go` on the PATH."
_VERSION_FLAG = "k8s.io/component-base/version"


@dataclass(frozen=True)
class Recipe:
    """How a binary is built.

    Attributes:
        name: Of the binary.
        version: Of its module.
        module: The Go module; empty where the program needs the standard library alone.
        package: The package in it, or `.` for a program of ours in `programs/NAME`.
        seconds: About how long a cold build takes on 2 cores.
        tags: Build tags.
        flags: Linker flags beside those that leave out symbols.
        called: Other names that the binary is called by, each another program.
        staged: Whether the module takes its parts from folders inside it, as Kubernetes does: those are published
            as modules of their own, and are pinned to the same release.
    """

    name: str
    version: str
    module: str
    package: str
    seconds: int
    tags: str = ""
    flags: str = ""
    called: tuple[str, ...] = ()
    staged: bool = False

    def key(self) -> str:
        """Returns the name of the folder that holds the binary."""
        decisive = (self.module, self.package, self.tags, self.flags, self.called, self.staged)
        content = hashlib.sha256(repr(decisive).encode())
        if self.package == ".":
            content.update((PROGRAMS / self.name / "main.go").read_bytes())
        return f"{self.name}-{self.version}-{content.hexdigest()[:8]}"


def _recipe(name: str, module: str, version: str, package: str, seconds: int) -> Recipe:
    return Recipe(name, version, module, f"{module}{package}", seconds)


_MAJOR, _MINOR, _ = versions.KUBERNETES.removeprefix("v").split(".")

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "kube",
            versions.KUBERNETES,
            "k8s.io/kubernetes",
            ".",
            410,
            flags=f"-X {_VERSION_FLAG}.gitVersion={versions.KUBERNETES}"
            f" -X {_VERSION_FLAG}.gitMajor={_MAJOR} -X {_VERSION_FLAG}.gitMinor={_MINOR}",
            called=(
                "kube-apiserver",
                "kube-controller-manager",
                "kube-scheduler",
                "kube-proxy",
                "kubelet",
                "kubeadm",
                "kubectl",
            ),
            staged=True,
        ),
        _recipe("etcd", "go.etcd.io/etcd/server/v3", versions.ETCD, "", 41),
        _recipe("kind", "sigs.k8s.io/kind", versions.KIND, "", 26),
        _recipe("kuberay-operator", "github.com/ray-project/kuberay/ray-operator", versions.KUBERAY, "", 106),
        Recipe("coredns", versions.COREDNS, "github.com/coredns/coredns", ".", 80),
        _recipe(
            "local-path-provisioner",
            "github.com/rancher/local-path-provisioner",
            versions.LOCAL_PATH_PROVISIONER,
            "",
            84,
        ),
        Recipe("pause", "v1", "", ".", 2),
        Recipe("runc-within", "v1", "", ".", 5),
        _recipe("helm", "helm.sh/helm/v3", versions.HELM, "/cmd/helm", 86),
        _recipe("kubeconform", "github.com/yannh/kubeconform", versions.KUBECONFORM, "/cmd/kubeconform", 10),
        _recipe("kueue", "sigs.k8s.io/kueue", versions.KUEUE, "/cmd/kueue", 200),
        _recipe("minio", "github.com/minio/minio", versions.MINIO, "", 250),
    )
}
_OWNERS = {name: recipe.name for recipe in RECIPES.values() for name in (recipe.name, *recipe.called)}


def binary(name: str, *, say: Say = say) -> Path:
    """Returns the path of a program, and builds it first if it is not in the cache.

    Args:
        name: A recipe's name, or one that its binary is called by, such as `kubectl`.
        say: Gets a line when a build starts and ends.

    Raises:
        ClusterError: It cannot be built.
    """
    path = built(name)
    if path is None:
        recipe = RECIPES[_OWNERS[name]]
        with locked(f"build-{recipe.name}", say):
            path = built(name)  # by whoever held the lock
            if path is None:
                _build(recipe, say)
                path = _place(recipe) / name
    return path


def built(name: str) -> Path | None:
    """Returns the path of a program that is in the cache already, or None.

    Raises:
        ClusterError: There is no such program.
    """
    if name not in _OWNERS:
        raise ClusterError(
            f"There is no recipe for {name!r}. There is one for: {', '.join(sorted(_OWNERS))}."
        )
    path = _place(RECIPES[_OWNERS[name]]) / name
    return path if path.exists() else None


def module_folder(module: str, version: str) -> Path:
    """Returns the folder of a Go module's source, and fetches it first if need be.

    Raises:
        ClusterError: It cannot be fetched.
    """
    return Path(_downloaded(module, version)["Dir"])


def _place(recipe: Recipe) -> Path:
    return cache_folder() / "bin" / recipe.key()


def _build(recipe: Recipe, say: Say) -> None:
    folder = _place(recipe)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = cache_folder() / "logs" / f"build-{recipe.name}.log"
    log.unlink(missing_ok=True)
    minutes = f"{recipe.seconds / 60:.0f} minutes" if recipe.seconds > 90 else f"{recipe.seconds} s"
    say(f"Building {recipe.name} {recipe.version} (about {minutes} on 2 cores; log: {log}).")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f".{recipe.name}-", dir=folder.parent) as scratch:
        source, target = Path(scratch) / "source", Path(scratch) / "target"
        source.mkdir()
        target.mkdir(mode=0o755)
        (source / "go.mod").write_text(_go_mod(recipe))
        if recipe.package == ".":
            shutil.copy(PROGRAMS / recipe.name / "main.go", source)
        logged(
            [
                *("go", "build", "-tags", recipe.tags, "-ldflags", f"-s -w {recipe.flags}".strip()),
                *("-o", target / recipe.name, recipe.package),
            ],
            log=log,
            what=f"Building {recipe.name} {recipe.version}",
            remedy="The Go module proxy has to answer.",
            cwd=source,
            env=_environment(),
        )
        for name in recipe.called:
            (target / name).symlink_to(recipe.name)
        target.replace(folder)
    for name in (recipe.name, *recipe.called):
        _point(folder.parent / name, Path(folder.name) / name)
    say(f"Built {recipe.name} {recipe.version} in {time.monotonic() - started:.0f} s.")


def _point(link: Path, target: Path) -> None:
    """Points `bin/NAME` at the newest build, for people who put the folder on their PATH."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.symlink_to(target)
    fresh.replace(link)


def _go_mod(recipe: Recipe) -> str:
    lines = [f"module build/{recipe.name}", "", f"go {_go_version()}", ""]
    if recipe.module:
        lines += [f"require {recipe.module} {recipe.version}"]
    if recipe.staged:
        text = Path(_downloaded(recipe.module, recipe.version)["GoMod"]).read_text()
        pinned = "v0." + recipe.version.removeprefix("v").split(".", 1)[1]
        parts = sorted(set(re.findall(r"^\s*(\S+) => \./staging", text, re.MULTILINE)))
        lines += [f"replace {part} => {part} {pinned}" for part in parts]
    return "\n".join(lines) + "\n"


def _go_version() -> str:
    found = re.match(r"go(\d+\.\d+)", _go("env", "GOVERSION"))
    if found is None:
        raise ClusterError(f"`go env GOVERSION` says nothing useful. {_NEEDS_GO}")
    return found[1]


def _downloaded(module: str, version: str) -> dict[str, str]:
    answer: dict[str, str] = json.loads(_go("mod", "download", "-json", f"{module}@{version}"))
    return answer


def _go(*arguments: str) -> str:
    if shutil.which("go") is None:
        raise ClusterError(f"There is no `go` to build the cluster's programs with. {_NEEDS_GO}")
    done = subprocess.run(
        ["go", *arguments],
        cwd=tempfile.gettempdir(),
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise ClusterError(
            f"`go {' '.join(arguments)}` failed: {(done.stderr or done.stdout).strip()[-800:]}"
        )
    return done.stdout


def _environment() -> dict[str, str]:
    """Returns the environment of every build; static binaries run in images that hold nothing else."""
    return os.environ | {
        "CGO_ENABLED": "0",
        "GOFLAGS": "-mod=mod -trimpath -buildvcs=false",
        "GOWORK": "off",
    }


def main() -> int:
    """Builds what the command line names and prints the paths."""
    parser = argparse.ArgumentParser(description="Builds programs of a cluster into the cache.")
    parser.add_argument("names", nargs="+", metavar="NAME", help=", ".join(_OWNERS))
    try:
        for name in parser.parse_args().names:
            print(binary(name), flush=True)
    except ClusterError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
