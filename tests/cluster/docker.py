"""The Docker that a cluster runs in: the one that answers, or a private daemon where none does and we are root."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .binaries import binary
from .cache import cache_folder, locked
from .progress import ClusterError, Say, logged, say, tail

_BRIDGE = "anneal0"
_BRIDGE_ADDRESS = "172.30.0.1/24"
_NETWORKS = "base=172.31.0.0/16,size=24"  # kind's own network is one of these
_CAP_SYS_RESOURCE = 24
_START_SECONDS = 30.0
_PULL_SECONDS = 15.0
_TINY_IMAGE = "hello-world"
# They outlive this process, and Python warns of one that is forgotten.
_STARTED: list[subprocess.Popen[bytes]] = []

# What a private daemon needs, by Debian package.
_DAEMON_PROGRAMS = {"dockerd": "docker.io", "iptables": "iptables", "ip": "iproute2"}


@dataclass(frozen=True)
class Docker:
    """A Docker daemon.

    Attributes:
        host: Its socket, as in DOCKER_HOST; empty: the one that the command line finds by itself.
    """

    host: str = ""

    def environment(self) -> dict[str, str]:
        """Returns the environment of programs that shall use it."""
        return os.environ | ({"DOCKER_HOST": self.host} if self.host else {})

    def answers(self) -> bool:
        """Returns whether there is a daemon."""
        return bool(self._try("version", "--format", "{{.Server.Version}}"))

    def output(self, *arguments: str, stdin: str | None = None) -> str:
        """Runs a docker command and returns what it prints.

        Raises:
            ClusterError: It failed.
        """
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterError(f"docker {' '.join(arguments[:4])}: {done.stderr.strip()[-800:]}")
        return done.stdout.strip()

    def image_id(self, image: str) -> str:
        """Returns the id of an image, or "" if it is not there."""
        return self._try("image", "inspect", "--format", "{{.Id}}", image)

    def build(
        self,
        tag: str,
        context: Path,
        *,
        log: Path,
        dockerfile: Path | None = None,
        arguments: Mapping[str, str] = {},
    ) -> None:
        """Builds an image; with the classic builder where there is no buildx.

        Args:
            tag: Name of the image.
            context: The folder that is sent.
            log: Gets the builder's output.
            dockerfile: By default the context's.
            arguments: Build arguments.

        Raises:
            ClusterError: It failed.
        """
        logged(
            [
                *("docker", "build", "--tag", tag, "--file", dockerfile or context / "Dockerfile"),
                *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
                context,
            ],
            log=log,
            what=f"Building the image {tag}",
            env=self.builder_environment(),
        )

    def vary(self, tag: str, base: str, lines: str) -> None:
        """Builds an image that is another one with a few lines of Dockerfile, and no files, added."""
        done = subprocess.run(
            ["docker", "build", "--quiet", "--tag", tag, "-"],
            env=self.builder_environment(),
            input=f"FROM {base}\n{lines}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterError(f"Building the image {tag}: {done.stderr.strip()[-800:]}")

    def builder_environment(self) -> dict[str, str]:
        """Returns the environment for `docker build`: without the buildx plug-in only the classic builder works."""
        classic = {} if self._try("buildx", "version") else {"DOCKER_BUILDKIT": "0"}
        return self.environment() | classic

    def forget_old_builds(self) -> None:
        """Removes images without a name that are a day old, which earlier builds left: each may hold a whole PyTorch.

        Only of a private daemon: what lies in another is not ours.
        """
        if self.host:
            self._try("image", "prune", "--force", "--filter", "until=24h")

    def can_pull(self) -> bool:
        """Returns whether images can be pulled: tries a tiny one, and leaves no trace of it."""
        had = self.image_id(_TINY_IMAGE)
        try:
            pulled = self._try("pull", "--quiet", _TINY_IMAGE, within=_PULL_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        if pulled and not had:
            self._try("image", "rm", _TINY_IMAGE)
        return bool(pulled)

    def _try(self, *arguments: str, within: float = 60.0) -> str:
        done = subprocess.run(
            ["docker", *arguments],
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        return done.stdout.strip() if done.returncode == 0 else ""


def private_docker() -> Docker:
    """Returns the private daemon, which may or may not run."""
    return Docker(f"unix://{_folder() / 'docker.sock'}")


def find_docker(*, install: bool, say: Say = say) -> Docker:
    """Returns a daemon that can hold a cluster, and starts a private one if none answers.

    Args:
        install: Install Debian's packages for a private daemon where they are missing.
        say: Gets a line for whatever is started or installed.

    Raises:
        ClusterError: There is none, and none can be started.
    """
    if shutil.which("docker") is not None:
        if private_docker().answers():
            return private_docker()
        usual = Docker()
        if usual.answers() and not _bounded_root():
            return usual
    _check_that_a_daemon_can_run()
    _provide(_DAEMON_PROGRAMS, install=install, say=say)
    with locked("dockerd", say):
        if not private_docker().answers():
            _start(say)
    return private_docker()


def provide_debootstrap(*, install: bool, say: Say) -> None:
    """Sees to it that debootstrap is there, which makes the images' Debian.

    Raises:
        ClusterError: It is missing, and may not be installed.
    """
    _provide({"debootstrap": "debootstrap"}, install=install, say=say)


def stop_private_docker() -> bool:
    """Stops the private daemon with all it runs; returns whether there was one."""
    try:
        pid = int((_folder() / "dockerd.pid").read_text())
        if "dockerd" not in Path(f"/proc/{pid}/cmdline").read_text():
            return False  # the machine was started anew, and the number is another's
        os.kill(pid, signal.SIGTERM)
    except (FileNotFoundError, ProcessLookupError):
        return False
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.1)
    subprocess.run(["ip", "link", "delete", _BRIDGE], capture_output=True, check=False)
    return True


def _folder() -> Path:
    return cache_folder() / "docker"


def _bounded_root() -> bool:
    """Returns whether this machine's root has given up a capability that an ordinary runc asks for.

    A daemon that somebody else started here cannot start a privileged container, which a kind node is.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    status = Path("/proc/self/status").read_text()
    bounds = next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd:"))
    return not int(bounds, 16) >> _CAP_SYS_RESOURCE & 1


def _check_that_a_daemon_can_run() -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        raise ClusterError(
            "No Docker answers, and only root on Linux can start a private one. "
            "Start Docker, or set DOCKER_HOST, and try again."
        )


def _provide(programs: Mapping[str, str], *, install: bool, say: Say) -> None:
    missing = {program: package for program, package in programs.items() if shutil.which(program) is None}
    if not missing:
        return
    packages = sorted(set(missing.values()))
    if not install:
        raise ClusterError(
            f"These programs are missing: {', '.join(sorted(missing))}. `tests/cluster/up --install` installs "
            f"Debian's packages for them ({' '.join(packages)}), or install them your own way."
        )
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"Install what has the programs {', '.join(sorted(missing))}: there is no apt-get here."
        )
    say(f"Installing Debian's packages {', '.join(packages)}.")
    log = cache_folder() / "logs" / "apt.log"
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    logged(["apt-get", "update", "-qq"], log=log, what="apt-get update", env=quiet)
    logged(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        log=log,
        what=f"Installing {' '.join(packages)}",
        env=quiet,
    )


def _start(say: Say) -> None:
    """Starts a daemon with a socket, data and a bridge of its own: nothing of another Docker is touched."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    say(f"No usable Docker answers: starting a private one in {folder}.")
    # Of a daemon that was killed: the numbers may be other processes' by now.
    for stale in (folder / "dockerd.pid", folder / "run" / "containerd" / "containerd.pid"):
        stale.unlink(missing_ok=True)
    runtime = binary("runc-within", say=say)
    if not Path("/sys/class/net", _BRIDGE).exists():
        for command in (
            ["link", "add", _BRIDGE, "type", "bridge"],
            ["addr", "add", _BRIDGE_ADDRESS, "dev", _BRIDGE],
            ["link", "set", _BRIDGE, "up"],
        ):
            logged(["ip", *command], log=_log(), what="Making the bridge of a private Docker")
    with _log().open("ab") as log:
        process = subprocess.Popen(
            [
                "dockerd",
                f"--host=unix://{folder / 'docker.sock'}",
                f"--data-root={folder / 'data'}",
                f"--exec-root={folder / 'run'}",
                f"--pidfile={folder / 'dockerd.pid'}",
                f"--bridge={_BRIDGE}",
                f"--default-address-pool={_NETWORKS}",
                f"--add-runtime=within={runtime}",
                "--default-runtime=within",
                "--cgroup-parent=/anneal",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
    _STARTED.append(process)
    deadline = time.monotonic() + _START_SECONDS
    while not private_docker().answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ClusterError(f"The private Docker does not start:\n{tail(_log())}\n(All of it: {_log()})")
        time.sleep(0.2)


def _log() -> Path:
    path = cache_folder() / "logs" / "dockerd.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def inspect(docker: Docker, container: str) -> dict[str, object]:
    """Returns what Docker knows about a container.

    Raises:
        ClusterError: There is none of that name.
    """
    found: list[dict[str, object]] = json.loads(docker.output("container", "inspect", container))
    return found[0]
