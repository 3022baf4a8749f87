"""`anneal logs`: the log on standard output, whose it is on standard error, and what to do where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from seen_jobs import UID, gate_not_passed, job_body, pod, ready, run_of, training

from anneal_api.errors import AnnealError, ExitCode, ObjectNotFound, RequestInvalid, ResourceUnavailable
from anneal_cli import logs_command
from anneal_cli.cluster_access import Cluster, ClusterChoice
from anneal_cli.log_part import LogPart
from anneal_cli.logs_command import logs
from anneal_operator.cluster.errors import ApiError, Forbidden, Invalid, NotFound, Unavailable
from anneal_operator.cluster.kinds import FINE_TUNE_JOB, Kind

Log = list[bytes | ApiError | Callable[[], None]]


class Scripted:
    """A reader of a cluster in which a job has some pods, each with a log.

    Attributes:
        job: The job as it is.
        pods: Its pods.
        logs: What each reading of a pod's log brings, in turn: lines, an error, or something that happens meanwhile.
        asked: The options of each reading.
    """

    def __init__(self, job: dict[str, Any], *pods: dict[str, Any], **logs: list[Log]) -> None:
        self.server, self.source = "http://cluster", "context here"
        self.job, self.pods, self.logs = job, list(pods), logs
        self.asked: list[dict[str, Any]] = []

    def get(self, kind: Kind, _namespace: str, name: str) -> dict[str, Any]:
        if kind is FINE_TUNE_JOB:
            return self.job
        for each in self.pods:
            if each["metadata"]["name"] == name:
                return each
        raise NotFound("gone", code=404)

    def listed(self, *_: object, labels: str) -> tuple[list[dict[str, Any]], str]:
        assert labels.startswith("anneal.dev/job-uid=")
        return list(self.pods), "1"

    def log(self, _namespace: str, name: str, container: str, **options: Any) -> Iterator[bytes]:
        self.asked.append({"container": container, **options})
        for each in self.logs[name].pop(0):
            if isinstance(each, ApiError):
                raise each
            if callable(each):
                each()
            else:
                yield each


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ExitCode]:
    """Runs the command on a scripted cluster; waiting takes no time."""
    monkeypatch.setattr(time, "sleep", lambda _: None)

    def _run(reader: Scripted, **options: Any) -> ExitCode:
        cluster = Cluster(reader, "team-a")  # type: ignore[arg-type]
        monkeypatch.setattr(logs_command.Cluster, "chosen", lambda _: cluster)
        settings = {"part": None, "attempt": None, "follow": False, "tail": None, **options}
        return logs("reviews", choice=ClusterChoice(), **settings)

    return _run


Run = Callable[..., ExitCode]


def test_prints_the_log_and_tells_whose_it_is(run: Run, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    reader = Scripted(
        training(), pod("submit-2", "train", attempt=2), **{"submit-2": [[b"step 1\n", b"\xff\x1b[0m"]]}
    )
    assert run(reader, tail=20) is ExitCode.OK
    out, err = capfdbinary.readouterr()
    assert out == b"step 1\n\xff\x1b[0m\n"
    assert err == b"reviews: train, attempt 2: pod submit-2, container submitter, running\n"
    assert reader.asked == [{"container": "submitter", "follow": False, "tail": 20}]


def test_of_several_replicas_the_newest_is_shown_and_all_are_named(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    pods = [pod(name, "serve", attempt=None, node="worker") for name in ("a", "b")]
    assert run(Scripted(ready(), *pods, b=[[b"two\n"]])) is ExitCode.OK
    out, err = capfd.readouterr()
    assert out == "two\n"
    assert f"kubectl logs -n team-a -l anneal.dev/job-uid={UID},anneal.dev/part=serve -f --prefix" in err
    assert "what replicas log themselves: kubectl exec POD -c ray-worker" in err


def refused(run: Run, reader: Scripted, **options: Any) -> AnnealError:
    with pytest.raises(ObjectNotFound) as caught:
        run(reader, **options)
    assert caught.value.remedy
    return caught.value


def test_a_pod_that_is_gone_is_told_with_what_is_known(run: Run) -> None:
    error = refused(run, Scripted(gate_not_passed()))
    assert "no pod of finish, attempt 1" in error.what
    assert "The attempt failed: The gate is not passed." in error.what
    assert "only as long as the pod" in error.remedy


def test_nothing_has_run_yet(run: Run) -> None:
    assert "the operator has not looked at it" in refused(run, Scripted(job_body())).what
    pending = job_body(phase="Pending", reason="KubeRayMissing", message="KubeRay is not installed.")
    assert "KubeRay is not installed." in refused(run, Scripted(pending)).what


def test_a_pod_that_has_not_started_says_why(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    reader = Scripted(gate_not_passed(), pod("finish", "finish", phase="Pending", state=waiting))
    assert "no log of finish, attempt 1" in refused(run, reader).what
    assert "finish has printed nothing yet: ImagePullBackOff: no such image" in capfd.readouterr().err


def test_a_log_that_went_in_that_moment_says_with_what(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    gone = NotFound("not found", code=404)
    reader = Scripted(gate_not_passed(), pod("finish", "finish"), finish=[[gone]])
    refused(run, reader)
    assert "the log of finish is gone with its node" in capfd.readouterr().err
    reader.logs["finish"] = [[reader.pods.clear, gone]]
    refused(run, reader)
    assert "the log of finish is gone with its pod" in capfd.readouterr().err


def test_serving_belongs_to_no_attempt(run: Run) -> None:
    with pytest.raises(RequestInvalid, match="no attempt"):
        run(Scripted(ready()), part=LogPart.SERVE, attempt=1)


def finishing(reader: Scripted, **state: Any) -> Callable[[], None]:
    """Returns what happens when the container of a reader's only pod ends."""

    def end() -> None:
        reader.pods[0]["status"]["containerStatuses"][0]["state"] = state or {"terminated": {"exitCode": 0}}

    return end


def test_a_followed_log_ends_with_its_container(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    reader = Scripted(training(), pod("a", "finish"))
    reader.logs = {"a": [[b"one\n", finishing(reader)]]}
    assert run(reader, follow=True, part=LogPart.FINISH) is ExitCode.OK
    assert reader.asked == [{"container": "finish", "follow": True, "tail": None}]
    reader.logs = {"a": [[b"two\n", reader.pods.clear]]}
    assert run(reader, follow=True, part=LogPart.FINISH) is ExitCode.OK
    assert capfd.readouterr().out == "one\ntwo\n"


def test_a_followed_log_that_breaks_off_is_told(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    for end in ([], [Unavailable("connection reset")]):
        reader = Scripted(training(), pod("a", "finish"), a=[[b"one\n", *end]])
        with pytest.raises(
            ResourceUnavailable, match="The log of a broke off while its container runs"
        ) as caught:
            run(reader, follow=True, part=LogPart.FINISH)
        assert "--tail" in caught.value.remedy
        assert capfd.readouterr().out == "one\n"


@pytest.mark.parametrize("follow", [False, True])
def test_a_log_that_cannot_be_read_is_told(run: Run, follow: bool, capfd: pytest.CaptureFixture[str]) -> None:
    reader = Scripted(training(), pod("a", "finish"), a=[[Forbidden("no right", code=403)]])
    with pytest.raises(ResourceUnavailable, match="does not allow it: no right"):
        run(reader, part=LogPart.FINISH, follow=follow)
    reader.logs = {"a": [[Invalid("waiting to start", code=400)]]}
    refused(run, reader, part=LogPart.FINISH, follow=follow)
    assert "the log of a cannot be read: waiting to start" in capfd.readouterr().err


def test_following_goes_from_part_to_part_until_the_job_has_settled(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    reader = Scripted(job_body(phase="Preparing", run=run_of("prepare")), pod("prepare", "prepare"))

    def train() -> None:
        reader.job = job_body(phase="Training", run=run_of("train"))
        reader.pods = [pod("prepare", "prepare", phase="Succeeded"), pod("submit", "train")]

    def fail() -> None:
        reader.job = gate_not_passed()
        reader.pods = [pod("submit", "train", phase="Succeeded"), pod("finish", "finish", phase="Failed")]

    reader.logs = {
        "prepare": [[b"prepares\n", train]],
        "submit": [[b"trains\n", fail]],
        "finish": [[b"judges\n"]],
    }
    assert run(reader, follow=True) is ExitCode.OK
    out, err = capfd.readouterr()
    assert out == "prepares\ntrains\njudges\n"
    assert [line.partition(":")[2] for line in err.splitlines()] == [
        " prepare, attempt 1: pod prepare, container prepare, running",
        " train, attempt 1: pod submit, container submitter, running",
        " finish, attempt 1: pod finish, container finish, running",
        " reviews is Failed: The gate is not passed. f1: f1 0.8712 is below 0.88",
    ]


def test_following_waits_for_the_driver_and_says_so(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Scripted(training(), pod("head", "train", attempt=2, node="head"))
    comes = iter(
        [
            pod("submit", "train", attempt=2, state={}, phase="Pending"),
            pod("submit", "train", attempt=2),
        ]
    )
    monkeypatch.setattr(time, "sleep", lambda _: reader.pods.__setitem__(slice(1, None), [next(comes)]))

    def end() -> None:
        reader.pods = [pod("submit", "train", attempt=2, phase="Succeeded")]

    reader.logs = {"submit": [[b"step 1\n", end]]}
    assert run(reader, follow=True, part=LogPart.TRAIN) is ExitCode.OK
    out, err = capfd.readouterr()
    assert out == "step 1\n"
    assert [line.partition(":")[2] for line in err.splitlines()] == [
        " waiting for the driver: the Ray cluster starts",
        " waiting for submit (train, attempt 2): Pending",
        " train, attempt 2: pod submit, container submitter, running",
    ]


def test_serving_is_followed_once_a_replica_is_there(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Scripted(ready(), pod("head", "serve", attempt=None, node="head"))
    worker = pod("a", "serve", attempt=None, node="worker")
    monkeypatch.setattr(time, "sleep", lambda _: reader.pods.append(worker))

    def stop() -> None:
        raise KeyboardInterrupt

    reader.logs = {"a": [[b"one\n", stop]]}
    assert run(reader, follow=True) is ExitCode.INTERRUPTED
    out, err = capfd.readouterr()
    assert out == "one\n"
    assert "waiting for a replica's pod" in err
    assert "serve: pod a, container ray-worker, running" in err
