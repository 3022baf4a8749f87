"""The commands `tests/cluster/up` and `tests/cluster/down`."""

from __future__ import annotations

import argparse
import os
import shutil

from . import versions
from .cache import cache_folder
from .docker import stop_private_docker
from .kind_cluster import NAME, Mount, Wanted, bring_up, clusters, take_down
from .product_images import load_product
from .progress import ClusterError, Steps, say


def up() -> int:
    """Brings a cluster up; prints the variables that point programs at it, and what took how long."""
    parser = argparse.ArgumentParser(
        prog="tests/cluster/up",
        description=f"Brings up a kind cluster: Kubernetes {versions.KUBERNETES}, KubeRay {versions.KUBERAY}.",
        epilog='Point your shell at it: eval "$(tests/cluster/up)". Only that goes to standard output.',
    )
    parser.add_argument("--name", default=NAME, help="of the cluster (default: %(default)s)")
    parser.add_argument(
        "--mount",
        action="append",
        default=[],
        metavar="HOST[:NODE][:ro]",
        help="show a folder of this machine to the nodes, for hostPath volumes; can be given several times",
    )
    parser.add_argument("--workers", type=int, default=0, help="nodes beside the control plane (default: 0)")
    parser.add_argument(
        "--images",
        choices=["auto", "pull", "build"],
        default="auto",
        help="pull the released images, or build all from packages and Go modules (default: pull where that works)",
    )
    parser.add_argument("--no-kuberay", action="store_true", help="leave KubeRay out")
    parser.add_argument(
        "--product", action="store_true", help="build anneal's two images too, and load them into the nodes"
    )
    parser.add_argument("--recreate", action="store_true", help="make the cluster anew even if it is up")
    parser.add_argument(
        "--install",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="install Debian's packages where programs are missing (default with CI=true)",
    )
    arguments = parser.parse_args()
    steps = Steps()
    try:
        wanted = Wanted(
            name=arguments.name,
            mounts=tuple(Mount.parse(text) for text in arguments.mount),
            workers=arguments.workers,
            images=arguments.images,
            kuberay=not arguments.no_kuberay,
        )
        cluster = bring_up(wanted, steps, install=arguments.install, recreate=arguments.recreate)
        if arguments.product:
            load_product(cluster, steps, install=arguments.install)
    except ClusterError as error:
        say(f"\n{error}")
        return 1
    say(f"\nThe cluster {cluster.name} is up.\n{steps.table()}")
    for name, value in cluster.exports().items():
        print(f"export {name}={value}")
    return 0


def down() -> int:
    """Takes a cluster down; with --purge everything that was made for clusters on this machine."""
    parser = argparse.ArgumentParser(prog="tests/cluster/down", description="Takes a kind cluster down.")
    parser.add_argument("--name", default=NAME, help="of the cluster (default: %(default)s)")
    parser.add_argument(
        "--purge",
        action="store_true",
        help=f"delete all clusters, stop the private Docker and remove {cache_folder()}",
    )
    arguments = parser.parse_args()
    try:
        for name in clusters() if arguments.purge else [arguments.name]:
            say(f"The cluster {name} is {'gone' if take_down(name) else 'not there'}.")
    except ClusterError as error:
        say(str(error))
        return 1
    if arguments.purge:
        if stop_private_docker():
            say("The private Docker is stopped.")
        shutil.rmtree(cache_folder(), ignore_errors=True)
        say(f"{cache_folder()} is removed.")
    return 0
