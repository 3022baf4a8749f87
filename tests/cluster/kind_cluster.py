"""A kind cluster with KubeRay: up from nothing, found again by its name, down again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import versions
from .binaries import binary, built, module_folder
from .cache import cache_folder, locked
from .docker import Docker, find_docker
from .node_image import import_images, node_image
from .progress import ClusterError, Steps, logged

NAME = "anneal-test"

_KUBERAY_REMOTE = "https://github.com/ray-project/kuberay/ray-operator/config/default?ref=" + versions.KUBERAY
_IMAGE_LABEL = "anneal.dev/loaded"
_READY = "180s"


@dataclass(frozen=True)
class Mount:
    """A folder or file of this machine that nodes see too, for pods to mount with hostPath.

    Attributes:
        host: Where it is here.
        node: Where it is in the nodes.
        read_only: Whether nodes can only read it.
    """

    host: str
    node: str
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> Mount:
        """Reads HOST[:NODE][:ro]; without NODE it is at the same place.

        Raises:
            ClusterError: It is not of that form, or there is no such folder or file.
        """
        words = text.split(":")
        read_only = len(words) > 1 and words[-1] == "ro"
        places = words[:-1] if read_only else words
        host = Path(places[0]).expanduser().absolute()
        if len(places) > 2 or not places[0]:
            raise ClusterError(f"--mount takes HOST[:NODE][:ro], not {text!r}.")
        if not host.exists():
            raise ClusterError(f"--mount {text}: there is no {host}.")
        node = places[1] if len(places) == 2 else str(host)
        if not node.startswith("/"):
            raise ClusterError(f"--mount {text}: the place in the node has to begin with a slash.")
        return cls(str(host), node, read_only)


@dataclass(frozen=True)
class Wanted:
    """What a cluster is asked to be.

    Attributes:
        name: Of the cluster.
        mounts: What nodes see of this machine.
        workers: Nodes beside the control plane.
        images: `pull`, `build`, or `auto`: pull where a tiny image can be pulled.
        kuberay: Whether KubeRay is installed.
    """

    name: str = NAME
    mounts: tuple[Mount, ...] = ()
    workers: int = 0
    images: str = "auto"
    kuberay: bool = True


@dataclass(frozen=True)
class KindCluster:
    """A running kind cluster.

    Attributes:
        name: Of the cluster.
        kubeconfig: File that points clients at it.
        docker_host: The Docker it runs in, as in DOCKER_HOST; empty: the usual one.
        nodes: Names of its nodes, which are containers.
        pulled: Whether its images were pulled, not built.
    """

    name: str
    kubeconfig: str
    docker_host: str
    nodes: tuple[str, ...]
    pulled: bool

    @property
    def docker(self) -> Docker:
        """The Docker it runs in."""
        return Docker(self.docker_host)

    def exports(self) -> dict[str, str]:
        """Returns the environment variables that point kubectl and docker at it."""
        return {"KUBECONFIG": self.kubeconfig} | (
            {"DOCKER_HOST": self.docker_host} if self.docker_host else {}
        )

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Runs kubectl against the cluster and returns what it prints.

        Args:
            arguments: Of kubectl.
            stdin: What it reads where a file is `-`.
            check: Whether a failure raises; else its error text is returned after what it printed.

        Raises:
            ClusterError: It failed, and `check` is set.
        """
        done = subprocess.run(
            [_tool("kubectl"), *arguments],
            env=os.environ | self.exports(),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout if check else done.stdout + done.stderr

    def build_image(
        self,
        tag: str,
        context: Path,
        *,
        dockerfile: Path | None = None,
        arguments: Mapping[str, str] = {},
    ) -> None:
        """Builds an image and loads it into every node.

        Args:
            tag: Name of the image.
            context: Folder that is sent to the builder.
            dockerfile: By default the context's.
            arguments: Build arguments.

        Raises:
            ClusterError: It cannot be built or loaded.
        """
        log = cache_folder() / "logs" / f"image-{tag.replace('/', '-').replace(':', '-')}.log"
        self.docker.build(tag, context, dockerfile=dockerfile, arguments=arguments, log=log)
        self.load_image(tag)

    def load_image(self, tag: str) -> None:
        """Loads an image from Docker into every node that does not have this very build of it.

        Raises:
            ClusterError: Docker does not have it, or a node does not take it.
        """
        identity = self.docker.image_id(tag)
        if not identity:
            raise ClusterError(f"Docker has no image {tag}.")
        reference = _full_reference(tag)
        for node in self.nodes:
            images = ["exec", node, "ctr", "--namespace=k8s.io", "images"]
            if f"{_IMAGE_LABEL}={identity}" in self.docker.output(*images, "ls", f"name=={reference}"):
                continue
            self.docker.output(*images, "rm", reference)  # else a large one would lie there twice for a while
            import_images(self.docker, [tag], node)
            self.docker.output(*images, "label", reference, f"{_IMAGE_LABEL}={identity}")


def bring_up(wanted: Wanted, steps: Steps, *, install: bool = False, recreate: bool = False) -> KindCluster:
    """Returns a cluster, and makes it first if it does not run.

    Args:
        wanted: What it shall be.
        steps: Get what is done, with times.
        install: Install Debian's packages where programs are missing.
        recreate: Make it anew even if it runs.

    Raises:
        ClusterError: It cannot be made, or one of that name runs that is different.
    """
    with locked(f"cluster-{wanted.name}", steps.say):
        with steps.step("find Docker"):
            docker = find_docker(install=install, say=steps.say)
        running = find_cluster(wanted.name)
        if running is not None and not recreate:
            if _state(wanted.name)["wanted"] == _plain(wanted):
                steps.say(f"The cluster {wanted.name} is up already.")
                return running
            raise ClusterError(
                f"A cluster {wanted.name} is up with other mounts or nodes: nodes cannot be changed while they "
                "run. Make it anew with --recreate, or take it down first."
            )
        pulled = wanted.images == "pull"
        if wanted.images == "auto":
            with steps.step("try whether images can be pulled"):
                pulled = docker.can_pull()
            steps.say(f"    {'yes: the released images are used' if pulled else 'no: all is built'}")
        released = f"kindest/node:{versions.KUBERNETES}"
        image = released if pulled else node_image(docker, steps, install=install)
        cluster = _create(wanted, docker, image, steps, pulled=pulled)
        if wanted.kuberay:
            with steps.step(f"install KubeRay {versions.KUBERAY}"):
                _install_kuberay(cluster)
    return cluster


def take_down(name: str) -> bool:
    """Deletes a cluster; returns whether there was one.

    Raises:
        ClusterError: It cannot be deleted.
    """
    place = _state_file(name)
    if not place.exists():
        return False
    docker = Docker(_state(name)["cluster"]["docker_host"])
    if docker.answers():
        logged(
            [_tool("kind"), "delete", "cluster", "--name", name],
            log=_log(name),
            what=f"Deleting the cluster {name}",
            env=docker.environment(),
        )
    shutil.rmtree(place.parent)
    return True


def clusters() -> list[str]:
    """Returns the names of all clusters that were made and not deleted."""
    return sorted(path.parent.name for path in (cache_folder() / "clusters").glob("*/state.json"))


def find_cluster(name: str = NAME) -> KindCluster | None:
    """Returns a cluster that runs, or None."""
    if not _state_file(name).exists():
        return None
    known = _state(name)["cluster"]
    cluster = KindCluster(**known | {"nodes": tuple(known["nodes"])})
    if not cluster.docker.answers():
        return None
    alive = set(cluster.docker.output("ps", "--format", "{{.Names}}").split())
    return cluster if alive.issuperset(cluster.nodes) else None


def _create(wanted: Wanted, docker: Docker, image: str, steps: Steps, *, pulled: bool) -> KindCluster:
    place = _state_file(wanted.name)
    place.parent.mkdir(parents=True, exist_ok=True)
    config = place.parent / "kind.yaml"
    config.write_text(json.dumps(_config(wanted, own_network=not pulled), indent=1))
    kubeconfig = place.parent / "kubeconfig"
    kind, log = _tool("kind"), _log(wanted.name)
    here = ["--name", wanted.name, "--kubeconfig", str(kubeconfig)]
    logged(
        [kind, "delete", "cluster", *here],
        log=log,
        what="Deleting what is left of an older cluster",
        env=docker.environment(),
    )
    with steps.step(f"create the cluster {wanted.name}"):
        logged(
            [
                kind,
                "create",
                "cluster",
                *here,
                "--image",
                image,
                "--config",
                config,
                "--wait",
                _READY,
                "--retain",
            ],
            log=log,
            what=f"Creating the cluster {wanted.name}",
            env=docker.environment(),
        )
    names = docker.output(
        "ps", "--filter", f"label=io.x-k8s.kind.cluster={wanted.name}", "--format", "{{.Names}}"
    )
    cluster = KindCluster(wanted.name, str(kubeconfig), docker.host, tuple(sorted(names.split())), pulled)
    # Two replicas for one node ask for CPU that the tests' pods need.
    cluster.kubectl("-n", "kube-system", "scale", "deploy/coredns", "--replicas=1")
    if not pulled:
        _route_between_nodes(cluster)
    place.write_text(json.dumps({"wanted": _plain(wanted), "cluster": asdict(cluster)}, indent=1))
    return cluster


def _config(wanted: Wanted, *, own_network: bool) -> dict[str, Any]:
    mounts = [
        {"hostPath": mount.host, "containerPath": mount.node, "readOnly": mount.read_only}
        for mount in wanted.mounts
    ]
    roles = ["control-plane", *["worker"] * wanted.workers]
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": role, "extraMounts": mounts} for role in roles],
        **({"networking": {"disableDefaultCNI": True}} if own_network else {}),
    }


def _route_between_nodes(cluster: KindCluster) -> None:
    """Tells each node where the other nodes' pods are, which kindnetd does where it runs."""
    if len(cluster.nodes) == 1:
        return
    nodes = json.loads(cluster.kubectl("get", "nodes", "-o=json"))["items"]
    for node in nodes:
        address = next(
            entry["address"] for entry in node["status"]["addresses"] if entry["type"] == "InternalIP"
        )
        for other in cluster.nodes:
            if other != node["metadata"]["name"]:
                cluster.docker.output(
                    "exec", other, "ip", "route", "replace", node["spec"]["podCIDR"], "via", address
                )


def _install_kuberay(cluster: KindCluster) -> None:
    source: Path | str = _KUBERAY_REMOTE
    if shutil.which("go"):
        module = module_folder("github.com/ray-project/kuberay/ray-operator", versions.KUBERAY)
        source = module / "config/default"
    # Its own limit of a tenth of a CPU makes it fail its probes on a busy machine.
    faster = {"resources/limits/cpu": "1", "resources/requests/cpu": "50m"}
    install_controller(cluster, source, "kuberay-operator", faster)


def install_controller(
    cluster: KindCluster, source: Path | str, deployment: str, container: Mapping[str, Any]
) -> None:
    """Applies a controller's manifests and waits until it runs.

    Args:
        cluster: Where.
        source: A folder with a kustomization, or the URL of one.
        deployment: Name of the controller's Deployment.
        container: What its first container has otherwise, by path.

    Raises:
        ClusterError: The cluster does not take it, or it does not come up.
    """
    folder = _state_file(cluster.name).parent / deployment
    folder.mkdir(exist_ok=True)
    if isinstance(source, Path):
        source = os.path.relpath(source, folder)  # kustomize takes no absolute path
    changes = [
        {"op": "replace", "path": f"/spec/template/spec/containers/0/{path}", "value": value}
        for path, value in container.items()
    ]
    target = {"kind": "Deployment", "name": deployment}
    kustomization = {"resources": [source], "patches": [{"target": target, "patch": json.dumps(changes)}]}
    (folder / "kustomization.yaml").write_text(json.dumps(kustomization, indent=1))
    cluster.kubectl("apply", "--server-side", "-k", str(folder))
    places = "--output=jsonpath={range .items[*]}{.metadata.name} {.metadata.namespace}{'\\n'}{end}"
    found = cluster.kubectl("get", "deployments", "--all-namespaces", places)
    namespace = dict(line.split() for line in found.splitlines())[deployment]
    cluster.kubectl(
        "--namespace", namespace, "rollout", "status", f"deploy/{deployment}", f"--timeout={_READY}"
    )


def _tool(name: str) -> str:
    """Returns a command line tool: ours if it is built, else the machine's, else ours, built now."""
    return str(built(name) or shutil.which(name) or binary(name))


def _full_reference(tag: str) -> str:
    """Returns an image's name as containerd keeps it."""
    first, slash, _ = tag.partition("/")
    if not slash:
        tag = f"docker.io/library/{tag}"
    elif "." not in first and ":" not in first and first != "localhost":
        tag = f"docker.io/{tag}"
    return tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest"


def _plain(wanted: Wanted) -> dict[str, Any]:
    """Returns what must be equal for a running cluster to serve; how it got its images does not matter."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(wanted)))
    del plain["images"]
    return plain


def _state(name: str) -> dict[str, Any]:
    state: dict[str, Any] = json.loads(_state_file(name).read_text())
    return state


def _state_file(name: str) -> Path:
    return cache_folder() / "clusters" / name / "state.json"


def _log(name: str) -> Path:
    return cache_folder() / "logs" / f"cluster-{name}.log"
