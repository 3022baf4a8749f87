"""`anneal logs`: the log on standard output, whose it is on standard error, and what to do where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from seen_jobs import gate_not_passed, job_body, pod, ready, run_of, training

from anneal_api.errors import AnnealError, ExitCode, ObjectNotFound, RequestInvalid
from anneal_cli import logs_command, pod_logs
from anneal_cli.cluster_access import Cluster, ClusterChoice
from anneal_cli.job_pods import Source
from anneal_cli.log_part import LogPart
from anneal_cli.logs_command import logs
from anneal_cli.pod_logs import followed
from anneal_operator.cluster.credentials import Credentials
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
        self.credentials = Credentials(server="http://cluster", source="context here")
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
    assert reader.asked == [{"container": "submitter", "tail": 20}]


def test_lines_of_several_pods_say_whose_they_are(
    run: Run, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    pods = [pod(name, "serve", attempt=None, node="worker") for name in ("a", "b")]
    assert run(Scripted(ready(), *pods, a=[[b"one\n"]], b=[[b"two\n"]])) is ExitCode.OK
    out, err = capfdbinary.readouterr()
    assert out == b"[a] one\n[b] two\n"
    assert b"what replicas log themselves: kubectl exec POD -c ray-worker" in err


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


def stamped(*lines: str) -> list[bytes]:
    return [f"2026-03-02T14:00:0{number}.000000000Z {line}\n".encode() for number, line in enumerate(lines)]


def test_a_log_goes_on_with_the_next_line_after_the_connection_broke() -> None:
    one, two, three = stamped("one", "two", "three")
    reader = Scripted(training(), pod("a", "finish"))

    def end() -> None:
        reader.pods[0]["status"]["phase"] = "Succeeded"

    reader.logs = {"a": [[one, two, Unavailable("reset")], [Unavailable("refused")], [two, three, end]]}
    source = Source(reader.pods[0], "finish")
    waits: list[float] = []
    lines = list(followed(reader, source, tail=9, sleep=waits.append))  # type: ignore[arg-type]
    assert lines == [b"one\n", b"two\n", b"three\n"]
    assert [(asked["tail"], asked["since"]) for asked in reader.asked] == [
        (9, ""),
        (None, "2026-03-02T14:00:01.000000000Z"),
        (None, "2026-03-02T14:00:01.000000000Z"),
    ]
    assert waits == [1.0, 2.0]


def test_a_followed_log_ends_with_its_pod() -> None:
    reader = Scripted(training(), pod("a", "finish"))
    source = Source(reader.pods[0], "finish")
    reader.logs = {"a": [[*stamped("one"), reader.pods.clear]]}
    assert list(followed(reader, source, tail=None)) == [b"one\n"]  # type: ignore[arg-type]
    reader.logs = {"a": [[Forbidden("no right", code=403)]]}
    with pytest.raises(Forbidden):
        list(followed(reader, source, tail=None))  # type: ignore[arg-type]
    reader.logs = {"a": [[NotFound('nodes "n" not found', code=404)]]}
    reader.pods = [source.pod]
    with pytest.raises(ApiError, match="the node of a is gone"):
        list(followed(reader, source, tail=None))  # type: ignore[arg-type]


def test_a_log_that_can_never_be_read_is_given_up() -> None:
    reader = Scripted(training(), pod("a", "finish"))
    reader.logs = {"a": [[Invalid("waiting to start", code=400)] for _ in range(100)]}
    with pytest.raises(Invalid):
        list(followed(reader, Source(reader.pods[0], "finish"), tail=None, sleep=lambda _: None))  # type: ignore[arg-type]


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
        "prepare": [[*stamped("prepares"), train]],
        "submit": [[*stamped("trains"), fail]],
        "finish": [stamped("judges")],
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

    reader.logs = {"submit": [[*stamped("step 1"), end]]}
    assert run(reader, follow=True, part=LogPart.TRAIN) is ExitCode.OK
    out, err = capfd.readouterr()
    assert out == "step 1\n"
    assert [line.partition(":")[2] for line in err.splitlines()] == [
        " waiting for the driver: the Ray cluster starts",
        " waiting for submit (train, attempt 2): Pending",
        " train, attempt 2: pod submit, container submitter, running",
    ]


def test_serving_is_followed_on_all_pods_until_ctrl_c(
    run: Run, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = [pod(name, "serve", attempt=None, node="worker") for name in ("a", "b")]
    reader = Scripted(ready(), *pods)
    looked = []

    def listed(*_: object, labels: str) -> tuple[list[dict[str, Any]], str]:
        del labels
        looked.append(1)
        if len(looked) > 2:
            raise KeyboardInterrupt
        return reader.pods, "1"

    reader.logs = {"a": [[*stamped("one"), reader.pods.clear]], "b": [[*stamped("two"), reader.pods.clear]]}
    reader.listed = listed  # type: ignore[method-assign]
    monkeypatch.setattr(pod_logs, "_LOOK_SECONDS", 0.3)
    assert run(reader, follow=True) is ExitCode.INTERRUPTED
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == ["[a] one", "[b] two"]
    assert "serve: pod a, container ray-worker, running" in err
