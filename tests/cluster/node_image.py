"""The node image where kindest/node cannot be pulled: Debian's packages and Go modules put together as kind does it.

What differs from kindest/node: containerd itself makes the CNI's configuration from the node's range of pods, so that
no kindnetd is needed (NetworkPolicy is not enforced); containerd, runc and the CNI plugins are Debian's; all
components come out of one image.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import versions
from .binaries import RECIPES, binary, module_folder
from .cache import cache_folder, locked
from .docker import Docker, provide_debootstrap
from .progress import ClusterError, Steps, logged

KUBERAY_IMAGE = f"quay.io/kuberay/operator:{versions.KUBERAY}"

_IMAGES = Path(__file__).parent / "images"
_STORAGE_IMAGE = f"docker.io/rancher/local-path-provisioner:{versions.LOCAL_PATH_PROVISIONER}"
_COMPONENTS = (
    "kube",
    "etcd",
    "coredns",
    "local-path-provisioner",
    "kuberay-operator",
    "pause",
    "runc-within",
)
# What the components call, and the node too. The rest of the node's packages are in its Dockerfile.
_PACKAGES = ("ca-certificates", "conntrack", "ipset", "iproute2", "iptables", "kmod", "nftables")


def node_image(docker: Docker, steps: Steps, *, install: bool) -> str:
    """Returns the name of the node image, and builds it first if Docker does not have it.

    Args:
        docker: Where it is built and kept.
        steps: Get what is done, with times.
        install: Install debootstrap where it is missing.

    Raises:
        ClusterError: A part cannot be built.
    """
    tag = f"anneal/kind-node:{versions.KUBERNETES}-{_digest()}"
    if docker.image_id(tag):
        return tag
    with locked("node-image", steps.say):
        if docker.image_id(tag):
            return tag
        with steps.step("build the cluster's programs"):
            for name in (*_COMPONENTS, "kind"):
                binary(name, say=steps.say)
        with steps.step("make the Debian base"):
            base = debian(docker, _PACKAGES, steps, install=install)
        with steps.step("build the node image"), tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
            components = _components(docker, base, Path(scratch))
            bare = _bare_node(docker, components, Path(scratch))
            _with_images(docker, bare, _names(docker, components), tag)
    return tag


def _digest() -> str:
    """Returns a digest of all that decides what the image is."""
    content = hashlib.sha256()
    for name in (*_COMPONENTS, "kind"):
        content.update(RECIPES[name].key().encode())
    for source in (*sorted(_IMAGES.iterdir()), Path(__file__)):
        content.update(source.read_bytes())
    return content.hexdigest()[:12]


def debian(docker: Docker, packages: Sequence[str], steps: Steps, *, install: bool) -> str:
    """Returns the name of a minimal Debian with some packages, and makes it first if Docker does not have it.

    Args:
        docker: Where it is made and kept.
        packages: What it has beside the bare minimum.
        steps: Get what is done.
        install: Install debootstrap where it is missing.

    Raises:
        ClusterError: It cannot be made.
    """
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
    tag = f"anneal/debian:{versions.DEBIAN}-{digest}"
    if docker.image_id(tag):
        return tag
    provide_debootstrap(install=install, say=steps.say)
    mirror = os.environ.get("ANNEAL_DEBIAN_MIRROR")
    debs = cache_folder() / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder()) as root:
        logged(
            [
                *(
                    "debootstrap",
                    "--variant=minbase",
                    f"--include={','.join(packages)}",
                    f"--cache-dir={debs}",
                ),
                *(versions.DEBIAN, root, *([mirror] if mirror else [])),
            ],
            log=_log(),
            what=f"Making a Debian {versions.DEBIAN}",
            remedy="debootstrap has to run as root. ANNEAL_DEBIAN_MIRROR names another mirror.",
        )
        shutil.rmtree(Path(root, "var/cache/apt/archives"))
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as archive:
            subprocess.run(
                ["docker", "import", "-", tag],
                stdin=archive.stdout,
                env=docker.environment(),
                stdout=subprocess.DEVNULL,
                check=True,
            )
    return tag


def _components(docker: Docker, base: str, scratch: Path) -> str:
    context = scratch / "components"
    for name in _COMPONENTS:
        target = context / "bin"
        target.mkdir(parents=True, exist_ok=True)
        shutil.copytree(binary(name).parent, target, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
    tag = f"anneal/components:{_digest()}"
    docker.build(
        tag, context, dockerfile=_IMAGES / "components.Dockerfile", log=_log(), arguments={"BASE": base}
    )
    return tag


def _bare_node(docker: Docker, components: str, scratch: Path) -> str:
    """Builds the node without the components' images in its containerd."""
    context = scratch / "node"
    files = context / "files"
    # Not as they lie in the module cache, where nothing is executable or writable.
    shutil.copytree(
        module_folder(RECIPES["kind"].module, versions.KIND) / "images/base/files",
        files,
        copy_function=shutil.copyfile,
    )
    for path in (files, *files.rglob("*")):
        program = path.is_dir() or path.parent.name == "bin"
        path.chmod(0o755 if program else 0o644)
    config = files / "etc/containerd/config.toml"
    config.write_text(_containerd_config(config.read_text()))
    (files / "kind/version").write_text(versions.KUBERNETES)
    manifests = files / "kind/manifests"
    manifests.mkdir()
    storage = (_IMAGES / "storage.yaml").read_text().replace("@IMAGE@", _STORAGE_IMAGE)
    (manifests / "default-storage.yaml").write_text(storage)
    shutil.copy(_IMAGES / "cni.conflist", files / "etc/containerd/cni.conflist")
    tag = f"anneal/bare-node:{_digest()}"
    docker.build(
        tag,
        context,
        dockerfile=_IMAGES / "node.Dockerfile",
        log=_log(),
        arguments={"COMPONENTS": components},
    )
    return tag


def _containerd_config(original: str) -> str:
    """Returns kind's configuration of containerd with what this node needs."""
    pause = next(name for name in _kubeadm_images() if "/pause:" in name)
    changed = []
    for line in original.splitlines():
        if line.strip().startswith("sandbox_image"):
            changed.append(f'  sandbox_image = "{pause}"')
        elif line.strip().startswith("restrict_oom_score_adj"):
            # Without CAP_SYS_RESOURCE no score can be lowered.
            changed.append("  restrict_oom_score_adj = true")
        else:
            changed.append(line)
    network = [
        '[plugins."io.containerd.grpc.v1.cri".cni]',
        "  # filled in with the node's range of pods as soon as the kubelet knows it",
        '  conf_template = "/etc/containerd/cni.conflist"',
    ]
    return "\n".join([*changed, "", *network, ""])


def _kubeadm_images() -> list[str]:
    """Returns the names under which kubeadm will ask for the control plane's images."""
    done = subprocess.run(
        [binary("kubeadm"), "config", "images", "list", "--kubernetes-version", versions.KUBERNETES],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def _names(docker: Docker, components: str) -> list[str]:
    """Gives the components' image the names that manifests ask for, with the entry points they expect."""
    variants = {
        "pause": 'USER 65535:65535\nENTRYPOINT ["pause"]',
        "coredns": 'ENTRYPOINT ["coredns"]',
        "operator": 'RUN ln -s /usr/local/bin/kuberay-operator /manager\nUSER 65532:65532\nENTRYPOINT ["/manager"]',
    }
    names = [*_kubeadm_images(), _STORAGE_IMAGE, KUBERAY_IMAGE]
    for name in names:
        short = name.rpartition("/")[2].partition(":")[0]
        if short in variants:
            docker.vary(name, components, variants[short])
        else:
            docker.output("tag", components, name)
    return names


def _with_images(docker: Docker, bare: str, images: list[str], tag: str) -> None:
    """Imports images into the containerd of a node and keeps the result as the node image."""
    container = docker.output(
        "run", "--detach", "--entrypoint=sleep", "--security-opt=seccomp=unconfined", bare, "inf"
    )
    try:
        docker.output("exec", "--detach", container, "containerd")
        docker.output("exec", container, "timeout", "20", "sh", "-c", "until ctr version; do sleep 0.2; done")
        import_images(docker, images, container, "--no-unpack")
        docker.output("exec", container, "pkill", "-x", "containerd")
        entrypoint = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'  # not this container's own
        docker.output("commit", "--change", entrypoint, "--change", "CMD []", container, tag)
    finally:
        docker.output("rm", "--force", "--volumes", container)


def import_images(docker: Docker, images: list[str], node: str, *flags: str) -> None:
    """Streams images from Docker into the containerd of a node.

    Raises:
        ClusterError: It failed.
    """
    importing = ["docker", "exec", "--interactive", node, "ctr", "--namespace=k8s.io", "images", "import"]
    with subprocess.Popen(
        ["docker", "save", *images], stdout=subprocess.PIPE, env=docker.environment()
    ) as saving:
        done = subprocess.run(
            [*importing, *flags, "-"],
            stdin=saving.stdout,
            env=docker.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0 or saving.returncode != 0:
        raise ClusterError(f"Loading {', '.join(images)} into {node} failed: {done.stderr.strip()[-800:]}")


def _log() -> Path:
    return cache_folder() / "logs" / "node-image.log"
