"""What `tests/cluster/up` reads and writes, without a cluster."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from cluster.binaries import RECIPES, built
from cluster.cache import cache_folder, locked
from cluster.kind_cluster import Mount, Wanted, _config, _full_reference
from cluster.node_image import _digest
from cluster.progress import ClusterError, Steps, logged


@pytest.mark.parametrize(
    ("text", "node", "read_only"),
    [
        ("{}", "{}", False),
        ("{}:ro", "{}", True),
        ("{}:/data", "/data", False),
        ("{}:/data:ro", "/data", True),
    ],
)
def test_reads_mounts(tmp_path: Path, text: str, node: str, read_only: bool) -> None:
    expected = Mount(str(tmp_path), node.format(tmp_path), read_only)
    assert Mount.parse(text.format(tmp_path)) == expected


@pytest.mark.parametrize("text", ["", ":/data", "/nowhere/at/all", "{}:/data:rw", "{}:data"])
def test_refuses_mounts_that_make_no_sense(tmp_path: Path, text: str) -> None:
    with pytest.raises(ClusterError, match="--mount"):
        Mount.parse(text.format(tmp_path))


@pytest.mark.parametrize(
    ("tag", "reference"),
    [
        ("anneal", "docker.io/library/anneal:latest"),
        ("anneal:1", "docker.io/library/anneal:1"),
        ("team/anneal:1", "docker.io/team/anneal:1"),
        ("localhost/anneal", "localhost/anneal:latest"),
        ("quay.io/kuberay/operator:v1", "quay.io/kuberay/operator:v1"),
        ("registry:5000/anneal", "registry:5000/anneal:latest"),
    ],
)
def test_knows_how_containerd_calls_an_image(tag: str, reference: str) -> None:
    assert _full_reference(tag) == reference


def test_every_node_sees_the_mounts(tmp_path: Path) -> None:
    wanted = Wanted(mounts=(Mount(str(tmp_path), "/data", read_only=True),), workers=1)
    config = _config(wanted, own_network=True)
    mount = {"hostPath": str(tmp_path), "containerPath": "/data", "readOnly": True}
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker"]
    assert all(node["extraMounts"] == [mount] for node in config["nodes"])
    assert config["networking"] == {"disableDefaultCNI": True}
    assert "networking" not in _config(wanted, own_network=False)


def test_a_binary_is_another_one_when_how_it_is_built_changes() -> None:
    keys = [recipe.key() for recipe in RECIPES.values()]
    assert len(set(keys)) == len(keys)
    assert all(recipe.version in recipe.key() for recipe in RECIPES.values())
    assert _digest() == _digest()


def test_names_the_recipes_there_are() -> None:
    with pytest.raises(ClusterError, match=r"no recipe for 'kubctl'.*kubectl"):
        built("kubctl")


def test_the_cache_can_lie_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANNEAL_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "kind"
    assert built("etcd") is None


def test_a_failed_command_shows_the_end_of_its_log(tmp_path: Path) -> None:
    script = "for i in $(seq 99); do echo line $i; done; exit 3"
    with pytest.raises(ClusterError, match=r"(?s)Counting failed\. Try less\..*line 99") as failure:
        logged(["sh", "-c", script], log=tmp_path / "log", what="Counting", remedy="Try less.")
    assert "line 1\n" not in str(failure.value)
    assert "line 1\n" in (tmp_path / "log").read_text()
    with pytest.raises(ClusterError, match="no-such-program"):
        logged(["no-such-program"], log=tmp_path / "log", what="Counting")


def test_times_steps() -> None:
    said: list[str] = []
    steps = Steps(said.append)
    with steps.step("sleep"):
        time.sleep(0.01)
    assert said[0] == "==> sleep"
    assert steps.seconds["sleep"] >= 0.01
    assert "altogether" in steps.table()


def test_only_one_holds_a_lock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ANNEAL_CACHE", str(tmp_path))
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with locked("x", lambda _: None):
            held.set()
            let_go.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(30)
    waited: list[str] = []

    def wait(line: str) -> None:
        waited.append(line)
        let_go.set()

    with locked("x", wait):
        assert waited == ["Another process is at work on x: waiting for it."]
    other.join(30)
