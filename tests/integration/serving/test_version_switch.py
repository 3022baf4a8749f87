"""Versions switched in place by the real Ray Serve, deployed as Kubernetes deploys: a configuration over HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmarks.loopback_only import available, enter_command
from load import Load
from ports import free_port
from tiny_model import TEXTS, onnx_config, publish, right_answers, write_tiny_model

from anneal_serving import parity
from anneal_serving.artifact import Artifact

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[3]
SCRIPT = Path(__file__).parent / "cluster_until_stdin_closes.py"
APPLICATION = "reviews"


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@dataclass(frozen=True)
class Cluster:
    """A running Ray cluster.

    Attributes:
        url: Where the applications answer.
        dashboard: Where Ray takes configurations.
        token: What Ray wants to see of who configures it.
        ray_metrics: Where Ray shows the metrics of all replicas.
    """

    url: str
    dashboard: str
    token: str
    ray_metrics: str

    def deploy(self, *applications: dict[str, Any]) -> None:
        response = self._configuration("PUT", json={"applications": applications})
        assert response.status_code == 200, response.text

    def _configuration(self, method: str, **request: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.request(
            method, f"{self.dashboard}/api/serve/applications/", headers=headers, timeout=60, **request
        )

    def application(self, name: str) -> dict[str, Any]:
        response = self._configuration("GET")
        found: dict[str, Any] = response.json()["applications"][name]
        return found

    def replicas(self, name: str = APPLICATION) -> set[str]:
        model = self.application(name)["deployments"]["model"]
        return {replica["replica_id"] for replica in model["replicas"] if replica["state"] == "RUNNING"}

    def health(self) -> dict[str, Any]:
        response = httpx.get(f"{self.url}/health/ready", timeout=30)
        assert response.status_code == 200
        found: dict[str, Any] = response.json()
        return found

    def serves_everywhere(self, version: str) -> bool:
        """Whether every one of a row of answers is the version's."""
        return all(self.health()["version"] == version for _ in range(12))


def application(user_config: object, *, name: str = APPLICATION, **options: Any) -> dict[str, Any]:
    return {
        "name": name,
        "route_prefix": "/" if name == APPLICATION else f"/{name}",
        "import_path": "anneal_serving.cluster:build",
        "args": {},
        "deployments": [
            {
                "name": "model",
                "ray_actor_options": {"num_cpus": 1},
                "user_config": user_config,
                **(options or {"num_replicas": 2}),
            }
        ],
    }


def user_config(folder: Path, **changes: Any) -> dict[str, Any]:
    content = (folder / "manifest.json").read_bytes()
    return {
        "version_folder": str(folder),
        "version": json.loads(content)["version"],
        "digest": hashlib.sha256(content).hexdigest(),
        "max_batch_tokens": 500,
        "threads": 1,
        **changes,
    }


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Versions 1 to 3; the second one is int8, and answers differently. Their held-out rows are right."""
    folder = tmp_path_factory.mktemp("tiny")
    config = write_tiny_model(folder)
    job = tmp_path_factory.mktemp("job")
    found = {}
    for number, file in ((1, "model.onnx"), (2, "int8.onnx"), (3, "model.onnx")):
        found[number] = job / f"v{number}"
        shutil.copytree(folder, found[number])
        publish(found[number], onnx_config(config, file), version=number)
        rows = right_answers(found[number])
        publish(found[number], onnx_config(config, file), version=number, parity=rows)
    return found


@pytest.fixture(scope="module")
def cluster(versions: dict[int, Path]) -> Iterator[Cluster]:
    """A cluster that serves version 1 with two replicas."""
    port, dashboard_port = free_port(), free_port()
    token = uuid.uuid4().hex * 2
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
    }
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(port), str(dashboard_port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | environment,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        line = process.stdout.readline()
        assert line.startswith("{"), line + process.stdout.read()
        made = Cluster(
            f"http://127.0.0.1:{port}",
            f"http://127.0.0.1:{dashboard_port}",
            token,
            f"http://127.0.0.1:{json.loads(line)['rayMetricsPort']}/metrics",
        )
        made.deploy(application(user_config(versions[1])))
        wait_for(lambda: made.application(APPLICATION)["status"] in {"RUNNING", "DEPLOY_FAILED"})
        assert made.application(APPLICATION)["status"] == "RUNNING", made.application(APPLICATION)["message"]
        if os.environ.get("RAY_SERVE_ENABLE_HA_PROXY") == "1":
            metrics = f"http://127.0.0.1:{os.environ['RAY_SERVE_HAPROXY_METRICS_PORT']}/metrics"
            assert "haproxy_server_http_responses_total" in httpx.get(metrics, timeout=30).text
        yield made
        process.stdin.close()
        assert process.wait(120) == 0


@pytest.fixture
def serving(cluster: Cluster, versions: dict[int, Path]) -> Cluster:
    """The cluster, brought back to version 1."""
    cluster.deploy(application(user_config(versions[1])))
    wait_for(lambda: cluster.serves_everywhere("reviews/v1") and "wanted" not in cluster.health())
    return cluster


@pytest.mark.parametrize("count", [1, 2])
def test_a_new_version_takes_over_under_load_without_a_failed_request(
    serving: Cluster, versions: dict[int, Path], count: int
) -> None:
    serving.deploy(application(user_config(versions[1]), num_replicas=count))
    wait_for(lambda: len(serving.replicas()) == count)
    replicas = serving.replicas()
    with Load(serving.url, TEXTS) as load:
        time.sleep(2)
        serving.deploy(application(user_config(versions[2]), num_replicas=count))
        wait_for(lambda: serving.serves_everywhere("reviews/v2"))
        time.sleep(1)
        before_the_end = len(load.answers)
        time.sleep(2)
    assert load.errors == []
    assert {status for status, _ in load.answers} == {200}
    assert {version for _, version in load.answers[:before_the_end]} == {"reviews/v1", "reviews/v2"}
    assert {version for _, version in load.answers[before_the_end:]} == {"reviews/v2"}
    assert serving.replicas() == replicas  # nothing was restarted


def test_the_answers_are_those_of_the_version_that_the_header_names(
    serving: Cluster, versions: dict[int, Path]
) -> None:
    expected = {}
    for number in (1, 2):
        with Artifact.open(versions[number]).predictor() as predictor:
            expected[f"reviews/v{number}"] = [answer.score for answer in predictor.predict(TEXTS)]
    serving.deploy(application(user_config(versions[2])))
    seen: Counter[str] = Counter()
    while seen["reviews/v2"] < 20:
        answer = httpx.post(f"{serving.url}/predict", json={"inputs": TEXTS}, timeout=60)
        version = answer.headers["x-model-version"]
        assert [row["score"] for row in answer.json()["predictions"]] == expected[version]
        seen[version] += 1
    assert expected["reviews/v1"] != expected["reviews/v2"]


def test_an_altered_version_leaves_the_old_one_answering_and_says_so(
    serving: Cluster, versions: dict[int, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "v3"
    shutil.copytree(versions[3], broken)
    wanted = user_config(broken)
    content = bytearray((broken / "model.onnx").read_bytes())
    content[-1] ^= 1
    (broken / "model.onnx").write_bytes(content)
    replicas = serving.replicas()
    with Load(serving.url, TEXTS) as load:
        serving.deploy(application(wanted))
        wait_for(lambda: serving.health().get("wanted", {}).get("state") == "failed")
        wait_for(lambda: gauges(serving, "anneal_model_version_wanted") == {3})
        time.sleep(2)
    assert load.errors == []
    assert set(load.answers) == {(200, "reviews/v1")}
    health = serving.health()
    assert health["version"] == "reviews/v1"
    assert health["wanted"]["version"] == 3
    assert "model.onnx: The file's content was altered" in health["wanted"]["reason"]
    time.sleep(30)  # longer than Ray's exporter keeps a gauge that nobody sets
    assert gauges(serving, "anneal_model_version_serving") == {1}
    assert gauges(serving, "anneal_model_version_wanted") == {3}
    assert serving.application(APPLICATION)["status"] == "RUNNING"
    assert serving.replicas() == replicas


def gauges(cluster: Cluster, name: str) -> set[float]:
    """The values of a gauge in all replicas."""
    text = httpx.get(cluster.ray_metrics, timeout=30).text
    return {float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"ray_{name}{{")}


def test_the_parity_probe_passes_for_the_version_that_serves_and_no_other(
    serving: Cluster, versions: dict[int, Path]
) -> None:
    def probe(number: int, timeout: int) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "anneal_serving.parity", "--url", serving.url]
        command += ["--version-folder", str(versions[number]), "--timeout", str(timeout)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.stderr == ""
        return done.returncode, json.loads(done.stdout)

    code, report = probe(1, 60)
    assert (code, report["equal"], report["compared"]) == (0, True, len(TEXTS))
    code, report = probe(2, 3)
    assert (code, report["equal"], report["compared"]) == (1, False, 0)
    assert "reviews/v1 answers, not reviews/v2" in report["message"]
    serving.deploy(application(user_config(versions[2])))
    code, report = probe(2, 60)  # it waits for the switch by itself
    assert (code, report["equal"], report["compared"]) == (0, True, len(TEXTS))


def test_rows_with_other_answers_fail_the_probe(
    serving: Cluster, versions: dict[int, Path], tmp_path: Path
) -> None:
    """The same number and name, but another model's answers."""
    other = tmp_path / "v1"
    shutil.copytree(versions[1], other)
    rows = (versions[2] / "parity.jsonl").read_bytes()
    (other / "parity.jsonl").write_bytes(rows)
    manifest = json.loads((other / "manifest.json").read_text())
    for file in manifest["files"]:
        if file["path"] == "parity.jsonl":
            file |= {"bytes": len(rows), "sha256": hashlib.sha256(rows).hexdigest()}
    (other / "manifest.json").write_text(json.dumps(manifest))
    report = parity.probe(serving.url, str(other), timeout=60)
    assert not report.equal
    assert report.first_difference
    assert report.compared == len(TEXTS)


def test_the_budget_of_tokens_changes_without_a_restart(serving: Cluster, versions: dict[int, Path]) -> None:
    replicas = serving.replicas()
    serving.deploy(application(user_config(versions[1], max_batch_tokens=8)))

    def refused() -> bool:
        return httpx.post(f"{serving.url}/predict", json={"text": TEXTS[4]}, timeout=30).status_code == 413

    wait_for(lambda: all(refused() for _ in range(12)))
    assert serving.replicas() == replicas


@pytest.mark.parametrize(
    "config",
    [
        pytest.param({"version_folder": "/v2", "version": 2, "digest": "0"}, id="digest"),
        pytest.param({"version": 2}, id="no folder"),
    ],
)
def test_a_configuration_that_cannot_be_understood_changes_nothing(
    serving: Cluster, config: dict[str, Any]
) -> None:
    replicas = serving.replicas()
    serving.deploy(application(config))
    wait_for(lambda: serving.health().get("wanted", {}).get("state") == "failed")
    assert serving.health()["wanted"]["version"] == 2
    assert serving.serves_everywhere("reviews/v1")
    assert serving.replicas() == replicas


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"digest": "0" * 64}, "The manifest is not the one that was published", id="digest"),
        pytest.param({"version": 9}, "The folder holds version 1, and 9 was asked for", id="number"),
        pytest.param({"version_folder": "/nowhere"}, "There is no manifest.json", id="folder"),
        pytest.param(None, "has no user_config", id="none"),
    ],
)
def test_a_replica_without_a_model_is_not_put_into_service_and_says_why(
    serving: Cluster, versions: dict[int, Path], change: dict[str, Any] | None, reason: str
) -> None:
    first = application(user_config(versions[1]))
    wanted = None if change is None else user_config(versions[1], **change)
    broken = application(wanted, name="broken", num_replicas=1)
    serving.deploy(first, broken)
    wait_for(lambda: serving.application("broken")["status"] == "DEPLOY_FAILED")
    deployment = serving.application("broken")["deployments"]["model"]
    assert reason in deployment["message"]
    assert httpx.get(f"{serving.url}/broken/health/ready", timeout=30).status_code != 200
    assert serving.health()["version"] == "reviews/v1"
    serving.deploy(first)


def test_replicas_that_come_later_serve_what_is_wanted(serving: Cluster, versions: dict[int, Path]) -> None:
    scaling = {"min_replicas": 1, "max_replicas": 2}
    first = application(user_config(versions[1]))
    serving.deploy(first, application(user_config(versions[2]), name="scaled", autoscaling_config=scaling))
    wait_for(lambda: serving.application("scaled")["status"] == "RUNNING")
    serving.deploy(
        first,
        application(
            user_config(versions[3]), name="scaled", autoscaling_config={**scaling, "min_replicas": 2}
        ),
    )
    wait_for(lambda: len(serving.replicas("scaled")) == 2)

    def version() -> str:
        response = httpx.get(f"{serving.url}/scaled/health/ready", timeout=30)
        assert response.status_code == 200
        found: str = response.json()["version"]
        return found

    wait_for(lambda: all(version() == "reviews/v3" for _ in range(12)))
    serving.deploy(first)


@pytest.mark.skipif(
    not available(), reason="this machine gives no network namespace, and HAProxy needs one here"
)
@pytest.mark.skipif(
    os.environ.get("ANNEAL_NIGHTLY") != "1", reason="the same tests again, behind HAProxy: make nightly"
)
def test_the_same_behind_haproxy() -> None:
    """As in Kubernetes: HAProxy in front, and requests in the replica's main loop.

    HAProxy listens on every interface, so that it, and its clients, get a network with a loopback only.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
            "RAY_SERVE_HAPROXY_STATS_PORT": "18404",
            "RAY_SERVE_HAPROXY_METRICS_PORT": "19101",
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/haproxy.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
        }
        chosen = ["-k", "under_load or altered_version", "-p", "no:cacheprovider", "-q"]
        done = subprocess.run(
            [*enter_command(), sys.executable, "-m", "pytest", __file__, *chosen],
            cwd=REPOSITORY,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=540,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-4000:]
        assert "3 passed" in done.stdout
