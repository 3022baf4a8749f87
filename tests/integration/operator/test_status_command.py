"""`anneal status` and `anneal logs` as processes, against a real API server and a job that goes its whole way."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.apiserver import ApiServer, api_server
from cluster.binaries import binary
from cluster.versions import KUBERNETES
from kuberay_simulator import KubeRaySimulator, install_kuberay_crds
from operator_world import Jobs, install_crd, live, run_in_loop, wait_until
from ruamel.yaml import YAML

from anneal_api.errors import ExitCode
from anneal_operator.cluster.kinds import POD
from anneal_operator.plan.plan import plan

pytestmark = pytest.mark.integration

MERGE = "application/merge-patch+json"


class Anneal:
    """The command line, as one who has a kubeconfig.

    Args:
        kubeconfig: The kubeconfig.
        namespace: The namespace.
    """

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "NO_COLOR": "1"}
        self._namespace = namespace

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        """Runs a command to its end and returns exit code, standard output and standard error."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        return process.returncode, out, err

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command."""
        where = () if "-A" in arguments else ("-n", self._namespace)
        return subprocess.Popen(
            [sys.executable, "-m", "anneal_cli", *arguments, *where],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def jobs(apiserver: ApiServer, namespace: str) -> Iterator[Jobs]:
    install_crd(apiserver)
    install_kuberay_crds(apiserver)
    found = Jobs(apiserver, namespace)
    yield found
    # The operator of another test may watch all namespaces, and this one is about to end.
    for name in names_of(found):
        found.delete(name)
    wait_until(lambda: not names_of(found))


def names_of(jobs: Jobs) -> list[str]:
    return [item["metadata"]["name"] for item in jobs.server.request("GET", jobs.path())[1]["items"]]


@pytest.fixture
def anneal(jobs: Jobs) -> Anneal:
    return Anneal(jobs.server.kubeconfig, jobs.namespace)


def followed(jobs: Jobs, anneal: Anneal, *arguments: str, **simulated: Any) -> tuple[int, str, str]:
    """Creates a job, follows it from its first moment, and returns what the follower came to."""
    found: list[tuple[int, str, str]] = []

    async def main() -> None:
        async with KubeRaySimulator(jobs.server, jobs.namespace, **simulated).running():
            life = live(jobs.server, (jobs.namespace,), plan=plan)
            await life.ready()
            await asyncio.to_thread(jobs.create)
            found.append(await asyncio.to_thread(anneal, "status", "reviews", "--watch", *arguments))
            await life.end()

    run_in_loop(main())
    return found[0]


def test_a_job_is_followed_until_it_serves(jobs: Jobs, anneal: Anneal) -> None:
    code, out, err = followed(jobs, anneal, pace=0.8)
    assert (code, err) == (ExitCode.OK, "")
    way, _, view = out.partition("\nreviews  text-classification  ")
    phases = list(dict.fromkeys(line.split()[1] for line in way.splitlines()))
    assert phases[-1] == "Ready"
    assert {"Preparing", "Training", "Finishing", "Deploying"} <= set(phases)
    assert view.startswith(f"namespace {jobs.namespace}\nReady\n  v1 answers at http://reviews.")

    code, out, err = anneal("status", "reviews")
    assert (code, err) == (ExitCode.OK, "")
    for told in ("Gate, on the test rows", "Variants", "Versions", "Conditions", "v1       serves"):
        assert told in out
    code, out, _ = anneal("status", "reviews", "-o", "json")
    record = json.loads(out)
    assert (code, record["name"], record["status"]) == (ExitCode.OK, "reviews", jobs.status())


def test_programs_follow_line_by_line(jobs: Jobs, anneal: Anneal) -> None:
    code, out, err = followed(jobs, anneal, "-o", "json", pace=0.8)
    assert (code, err) == (ExitCode.OK, "")
    records = [json.loads(line) for line in out.splitlines()]
    assert records[-1]["status"]["phase"] == "Ready"
    assert len(records) > 3


def test_a_job_that_fails_ends_with_the_exit_code_that_says_why(jobs: Jobs, anneal: Anneal) -> None:
    code, out, _ = followed(jobs, anneal, fails=lambda _: "DataInvalid")
    assert code == ExitCode.DATA_INVALID
    assert "Failed  DataInvalid\n  It broke.\n  Mend the data" in out
    assert anneal("status", "reviews")[0] == ExitCode.DATA_INVALID


def test_jobs_are_listed(jobs: Jobs, anneal: Anneal) -> None:
    code, out, err = anneal("status")
    assert (code, out) == (ExitCode.OK, "")
    assert err == f"There are no FineTuneJobs in the namespace {jobs.namespace}.\n"
    for name in ("reviews", "tweets"):
        jobs.create(name)
    code, out, err = anneal("status")
    assert (code, err) == (ExitCode.OK, "")
    heading, *lines = [line.split() for line in out.splitlines()]
    assert heading[:3] == ["name", "task", "phase"]
    assert [line[:3] for line in lines] == [
        ["reviews", "text-classification", "New"],
        ["tweets", "text-classification", "New"],
    ]
    code, out, _ = anneal("status", "-A")
    assert [jobs.namespace, "tweets"] in [line.split()[:2] for line in out.splitlines()]
    code, out, _ = anneal("status", "-o", "json")
    assert [job["name"] for job in json.loads(out)["jobs"]] == ["reviews", "tweets"]


def test_what_is_not_there_is_named(jobs: Jobs, anneal: Anneal) -> None:
    for arguments in (("status", "none"), ("status", "none", "-w"), ("logs", "none")):
        code, out, err = anneal(*arguments)
        assert (code, out) == (ExitCode.NOT_FOUND, "")
        assert f"There is no FineTuneJob 'none' in the namespace '{jobs.namespace}'." in err


def kubeconfig_of(jobs: Jobs, folder: Path, **change: Any) -> Path:
    """Returns a copy of the administrator's kubeconfig with another server or user."""
    document = json.loads(jobs.server.kubeconfig.read_text())
    for section, content in change.items():
        document[f"{section}s"][0][section] |= content
    file = folder / "kubeconfig"
    file.write_text(json.dumps(document))
    return file


def test_a_cluster_that_is_away_is_told(jobs: Jobs, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        file = kubeconfig_of(
            jobs, tmp_path, cluster={"server": f"https://127.0.0.1:{taken.getsockname()[1]}"}
        )
        code, out, err = Anneal(file, jobs.namespace)("status")
    assert (code, out) == (ExitCode.RESOURCE_UNAVAILABLE, "")
    assert "The cluster does not answer: Connection refused." in err
    assert "--context" in err


def test_a_certificate_that_is_not_trusted_is_told(jobs: Jobs, tmp_path: Path) -> None:
    file = kubeconfig_of(jobs, tmp_path, cluster={"tls-server-name": "elsewhere.example.com"})
    code, _, err = Anneal(file, jobs.namespace)("status")
    assert code == ExitCode.RESOURCE_UNAVAILABLE
    assert "The certificate of the cluster cannot be trusted" in err
    file = kubeconfig_of(jobs, tmp_path, cluster={"tls-server-name": "kubernetes"})
    assert Anneal(file, jobs.namespace)("status")[0] == ExitCode.OK


def test_a_wrong_token_and_a_missing_right_are_told_apart(jobs: Jobs, tmp_path: Path) -> None:
    file = kubeconfig_of(jobs, tmp_path, user={"token": "wrong"})
    code, _, err = Anneal(file, jobs.namespace)("status")
    assert code == ExitCode.RESOURCE_UNAVAILABLE
    assert "does not accept the credentials of the context anneal" in err
    jobs.at("serviceaccounts", "POST", {"metadata": {"name": "nobody"}})
    _, answer = jobs.at("serviceaccounts/nobody/token", "POST", {"spec": {}})
    nobody = Anneal(kubeconfig_of(jobs, tmp_path, user={"token": answer["status"]["token"]}), jobs.namespace)
    for arguments in (("status",), ("status", "reviews"), ("status", "reviews", "-w"), ("logs", "reviews")):
        code, _, err = nobody(*arguments)
        assert code == ExitCode.RESOURCE_UNAVAILABLE
        assert "does not allow it: finetunejobs.anneal.dev" in err
        assert "`view`" in err


def test_a_login_program_gives_the_token(jobs: Jobs, tmp_path: Path) -> None:
    credential = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": jobs.server.token},
    }
    program = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "echo",
        "args": [json.dumps(credential)],
        "interactiveMode": "Never",
    }
    file = kubeconfig_of(jobs, tmp_path, user={"token": "", "exec": program})
    assert Anneal(file, jobs.namespace)("status")[0] == ExitCode.OK


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_ctrl_c_leaves_the_job_alone(jobs: Jobs, anneal: Anneal) -> None:
    jobs.create()
    process = anneal.start("status", "reviews", "--watch")
    assert "the operator has not looked at it yet" in first_line(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED
    assert out.startswith("reviews  text-classification")
    assert err == "No longer followed; reviews goes on. `anneal status reviews --watch` follows it again.\n"
    assert jobs.get() is not None


def test_a_job_that_is_deleted_is_no_longer_followed(jobs: Jobs, anneal: Anneal) -> None:
    jobs.create()
    process = anneal.start("status", "reviews", "--watch")
    first_line(process)
    jobs.delete()
    _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.NOT_FOUND
    assert "The FineTuneJob reviews was deleted." in err


@pytest.fixture
def certificates(apiserver: ApiServer, tmp_path: Path) -> Path:
    """A folder with a certificate authority, and a kubeconfig with a client certificate, as kubeadm makes them."""
    del apiserver  # its fixture sees to the programs
    folder = ("--cert-dir", str(tmp_path))
    place = ("--kubeconfig-dir", str(tmp_path), "--apiserver-advertise-address", "10.0.0.1")
    version = ("--kubernetes-version", KUBERNETES)  # else it asks the internet
    for phase in (
        ("certs", "ca", *folder, *version),
        ("kubeconfig", "super-admin", *folder, *place, *version),
    ):
        subprocess.run([binary("kubeadm"), "init", "phase", *phase], check=True, capture_output=True)
    return tmp_path


@pytest.fixture
def own_server(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server of the test's own, to be taken away, and to know nothing at first."""
    folder = tmp_path_factory.mktemp("own-apiserver")
    with api_server(folder, flags=[f"--client-ca-file={certificates / 'ca.crt'}"]) as server:
        yield server


def test_a_client_certificate_is_shown(own_server: ApiServer, certificates: Path) -> None:
    document = YAML(typ="safe", pure=True).load((certificates / "super-admin.conf").read_text())
    (user,) = document["users"]
    assert "client-certificate-data" in user["user"]
    mine = json.loads(own_server.kubeconfig.read_text())
    mine["users"][0]["user"] = user["user"]
    file = certificates / "kubeconfig"
    file.write_text(json.dumps(mine))
    code, _, err = Anneal(file, "default")("status")
    # Whoever it is may do everything, and the server knows no FineTuneJobs yet.
    assert (code, "does not know FineTuneJobs" in err) == (ExitCode.NOT_FOUND, True)
    for name in user["user"]:
        (certificates / name).write_bytes(base64.b64decode(user["user"][name]))
    mine["users"][0]["user"] = {name.removesuffix("-data"): name for name in user["user"]}
    file.write_text(json.dumps(mine))
    assert Anneal(file, "default")("status")[0] == ExitCode.NOT_FOUND
    mine["users"][0]["user"] = {}
    file.write_text(json.dumps(mine))
    code, _, err = Anneal(file, "default")("status")
    assert (code, "does not allow it" in err) == (ExitCode.RESOURCE_UNAVAILABLE, True)


def test_a_follower_outlives_an_outage_and_an_unknown_kind_is_told(own_server: ApiServer) -> None:
    anneal = Anneal(own_server.kubeconfig, "default")
    for arguments in (("status",), ("status", "reviews")):
        code, _, err = anneal(*arguments)
        assert code == ExitCode.NOT_FOUND
        assert "The cluster does not know FineTuneJobs." in err
    install_crd(own_server)
    jobs = Jobs(own_server, "default")
    jobs.create()
    process = anneal.start("status", "reviews", "--watch")
    lines = [first_line(process)]
    with own_server.outage():
        lines.append(first_line(process))
    ready = {"observedGeneration": 1, "phase": "Ready", "message": "v1 answers."}
    path = f"{jobs.path('reviews')}/status"
    assert own_server.request("PATCH", path, {"status": ready}, media_type=MERGE)[0] == 200
    out, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.OK, err
    assert "the cluster does not answer" in lines[1]
    assert "the cluster answers again" in out
    assert "Ready" in out


def test_logs_say_what_they_look_at_where_no_pod_runs(jobs: Jobs, anneal: Anneal) -> None:
    body = jobs.create()
    code, out, err = anneal("logs", "reviews")
    assert (code, out) == (ExitCode.NOT_FOUND, "")
    assert "Nothing of reviews has run yet" in err
    run = {
        "generation": 1,
        "attempt": 1,
        "part": "prepare",
        "image": "a",
        "startedAt": "2026-01-01T00:00:00Z",
        "partStartedAt": "2026-01-01T00:00:00Z",
    }
    status = {"observedGeneration": 1, "phase": "Preparing", "run": run}
    path = f"{jobs.path('reviews')}/status"
    assert jobs.server.request("PATCH", path, {"status": status}, media_type=MERGE)[0] == 200
    code, _, err = anneal("logs", "reviews")
    assert code == ExitCode.NOT_FOUND
    assert "There is no pod of prepare, attempt 1" in err

    labels = {
        "anneal.dev/job-uid": body["metadata"]["uid"],
        "anneal.dev/part": "prepare",
        "anneal.dev/generation": "1",
        "anneal.dev/attempt": "1",
    }
    pod = {
        "metadata": {"name": "reviews-g1-a1-prepare-x", "labels": labels},
        "spec": {"containers": [{"name": "prepare", "image": "a"}], "nodeName": "nowhere"},
    }
    code, answer = jobs.at("pods", "POST", pod)
    assert code == 201, answer
    code, _, err = anneal("logs", "reviews")
    assert code == ExitCode.NOT_FOUND
    assert "pod reviews-g1-a1-prepare-x, container prepare, pending" in err
    assert "has printed nothing yet" in err
    running = {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "prepare",
                "image": "a",
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            }
        ],
    }
    path = POD.path(jobs.namespace, "reviews-g1-a1-prepare-x", "status")
    code, answer = jobs.server.request("PATCH", path, {"status": running}, media_type=MERGE)
    assert code == 200, answer
    # Its node is not there, of which the server says that the pod is not found.
    code, _, err = anneal("logs", "reviews")
    assert code == ExitCode.NOT_FOUND
    assert "prepare-x is gone with its node" in err


def test_logs_follow_a_job_to_its_end(jobs: Jobs, anneal: Anneal) -> None:
    jobs.create()
    process = anneal.start("logs", "reviews", "--follow")
    assert process.stderr is not None
    assert process.stderr.readline() == "reviews: waiting for its pod\n"
    failed = {"observedGeneration": 1, "phase": "Failed", "reason": "ManifestInvalid", "message": "Wrong."}
    path = f"{jobs.path('reviews')}/status"
    assert jobs.server.request("PATCH", path, {"status": failed}, media_type=MERGE)[0] == 200
    wait_until(lambda: process.poll() is not None)
    assert process.returncode == ExitCode.NOT_FOUND
    _, err = process.communicate()
    assert "Nothing of reviews has run yet: Wrong." in err
