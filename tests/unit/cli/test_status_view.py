"""What a person relies on in the text of `anneal status`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from seen_jobs import gate_not_passed, job_body, ready, training, version_of

from anneal_api.errors import ExitCode
from anneal_cli.seen_job import SeenJob
from anneal_cli.status_command import jobs_table
from anneal_cli.status_follower import LineFollower, LiveFollower
from anneal_cli.status_view import job_view, show
from anneal_cli.wording import Times, age, printable, size, span
from anneal_operator.cluster.errors import Unavailable

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def plain(width: int = 2**16) -> Console:
    return Console(file=StringIO(), width=width, highlight=False, markup=False, emoji=False)


def text_of(body: dict[str, Any], *, now: datetime | None = None) -> str:
    console = plain()
    show(console, job_view(SeenJob.of(body), Times(now)))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def row(text: str, *begin: str) -> list[str]:
    """Returns the cells of the first line that begins with these."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        if cells[: len(begin)] == list(begin):
            return cells
    raise AssertionError(f"no line {begin} in\n{text}")


def test_a_served_job_shows_everything_that_came_out() -> None:
    text = text_of(ready())
    assert text.splitlines()[:3] == [
        "reviews  text-classification  namespace team-a",
        "Ready",
        "  v1 answers at http://reviews.team-a.svc.",
    ]
    assert row(text, "attempt") == ["attempt", "2, finish since 2026-03-02T14:10:00Z, resumed from step 400"]
    assert row(text, "stages") == ["stages", "preflight 1.2 s, prepare reused, train 3 min 40 s"]
    assert "Rows left out" in text
    assert row(text, "train", "1,200") == ["train", "1,200", "empty text", "train.csv, row 3, column text"]
    assert row(text, "test", "1") == ["test", "1", "label not in training", "test.csv, row 9"]
    assert row(text, "metrics") == ["metrics", "f1 0.9100, accuracy 0.9050"]
    assert row(text, "serves") == ["serves", "v1 100%"]
    assert row(text, "url") == ["url", "http://reviews.team-a.svc"]
    assert row(text, "1", "train") == [
        "1",
        "train",
        "2026-03-02T14:05:00Z",
        "OutOfMemory",
        "A training worker was killed: it used more memory than its limit of 4Gi. Raise spec.resources.memory.",
    ]
    assert row(text, "int8", "f1", "at least 0.88") == [
        *("int8", "f1", "at least 0.88", "0.9100", "-", "passed", "0.0300 above the bar")
    ]
    assert row(text, "int8", "f1", "at most 0.005 below the incumbent")[-2:] == [
        "skipped",
        "there is nothing to compare with",
    ]
    assert row(text, "int8", "0.9150") == [
        *("int8", "0.9150", "23.0 MB", "4.6 ms", "selected: smallest within 0.01")
    ]
    assert row(text, "v1", "serves") == [
        *("v1", "serves", "100 %", "0.9100", "2026-03-02T14:20:00Z", "team-a/reviews-11112222/v1")
    ]
    assert row(text, "Ready", "yes") == [
        *("Ready", "yes", "2026-03-02T14:10:00Z", "Serving", "v1 answers at http://reviews.team-a.svc.")
    ]


def test_output_that_nobody_looks_at_is_plain_and_the_same_every_time() -> None:
    text = text_of(ready())
    assert "\x1b" not in text
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert text == text_of(ready())


def test_people_see_ages() -> None:
    text = text_of(ready(), now=NOW)
    assert row(text, "attempt") == ["attempt", "2, finish for 20 min, resumed from step 400"]
    assert row(text, "v1", "serves")[4] == "10 min ago"


def test_what_is_wrong_and_what_to_do_stand_at_the_top() -> None:
    body = gate_not_passed()
    text = text_of(body)
    assert text.splitlines()[1:4] == [
        "Failed  GateNotPassed",
        "  The gate is not passed. f1: f1 0.8712 is below 0.88",
        "  Read status.gate; improve data or training, or lower the bars.",
    ]
    assert row(text, "int8", "f1") == [
        *("int8", "f1", "at least 0.88", "0.8712", "-", "failed", "0.0088 below the bar")
    ]


def test_a_bar_that_depends_on_the_incumbent_is_told_in_numbers_too() -> None:
    line = {
        "metric": "f1",
        "direction": "higher",
        "rule": "at most 0.005 below v3",
        "bar": 0.895,
        "candidate": 0.89,
        "incumbent": 0.9,
        "verdict": "failed",
    }
    without = {
        **line,
        "bar": None,
        "candidate": None,
        "incumbent": None,
        "rule": "every output is a finite number",
    }
    text = text_of(job_body(phase="Failed", gate=[line, without]))
    assert row(text, "-", "f1", "at most 0.005 below v3: 0.8950") == [
        *("-", "f1", "at most 0.005 below v3: 0.8950", "0.8900", "0.9000", "failed", "0.0050 below the bar")
    ]
    assert "not all numbers" in row(text, "-", "f1", "every output is a finite number")[-1]


def test_progress_in_words() -> None:
    words = "47 %  train, step 420 of 800, loss 0.3121, 5,320 tokens/s, 3 min 10 s left"
    assert " ".join(row(text_of(training()), "progress")[1:]) == words.replace("  ", " ")


def test_a_version_that_may_not_serve_says_why() -> None:
    refused = {"generation": 1, "reason": "ParityFailed", "message": "v2 answers differently."}
    versions = [version_of(1), version_of(2, "Candidate", refused=refused)]
    text = text_of(job_body(phase="Failed", reason="ParityFailed", message="No.", versions=versions))
    assert row(text, "v2")[1] == "refused: ParityFailed"
    assert text.index("v2 ") < text.index("v1 ")  # the newest first


def test_a_job_that_nobody_looked_at_says_where_to_look() -> None:
    text = text_of(job_body())
    assert "The operator has not looked at it yet." in text
    assert "kubectl get pods -A -l app.kubernetes.io/name=anneal-operator" in text


def test_after_an_edit_it_is_said_that_the_status_is_older() -> None:
    body = ready()
    body["metadata"]["generation"] = 2
    assert "has been edited; what follows is from before" in text_of(body)
    assert not SeenJob.of(body).has_settled


def test_words_from_the_cluster_neither_steer_the_terminal_nor_style_it() -> None:
    body = gate_not_passed()
    body["status"]["message"] = "[red]x[/red] :smile: \x1b[31m\u202eleft\nsecond line"
    text = text_of(body)
    assert "  [red]x[/red] :smile: \\x1b[31m\\x202eleft\n  second line\n" in text


def test_a_status_of_a_newer_anneal_is_shown_as_far_as_it_can_be_read() -> None:
    body = ready()
    body["status"]["gate"] = "something else"
    body["status"]["unheardOf"] = 1
    text = text_of(body)
    assert "cannot read status.gate: a newer one wrote it" in text
    assert row(text, "metrics")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("GateNotPassed", ExitCode.GATE_NOT_PASSED),
        ("OutOfMemory", ExitCode.TRAINING_FAILED),
        ("DataInvalid", ExitCode.DATA_INVALID),
        ("Deadline", ExitCode.JOB_FAILED),
        (None, ExitCode.JOB_FAILED),
    ],
)
def test_a_failure_has_the_exit_code_that_a_run_has(reason: str | None, code: ExitCode) -> None:
    status = {"reason": reason} if reason else {}
    assert SeenJob.of(job_body(phase="Failed", **status)).exit_code is code


def test_only_a_failure_of_the_newest_generation_is_one() -> None:
    assert SeenJob.of(ready()).exit_code is ExitCode.OK
    assert SeenJob.of(training()).exit_code is ExitCode.OK
    edited = gate_not_passed()
    edited["metadata"]["generation"] = 2
    assert SeenJob.of(edited).exit_code is ExitCode.OK


def test_jobs_are_listed_with_what_holds_them_up() -> None:
    waiting = job_body(phase="Preparing", reason="Unschedulable", message="No node takes a pod: 0/1.\nMore.")
    waiting["metadata"] |= {"name": "big", "namespace": "team-b"}
    console = plain()
    jobs = [SeenJob.of(ready()), SeenJob.of(waiting), SeenJob.of(job_body())]
    show(console, jobs_table(jobs, Times(), everywhere=True))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert row(text, "team-a", "reviews", "text-classification", "Ready") == [
        *("team-a", "reviews", "text-classification", "Ready", "100 %", "f1 0.9100", "v1"),
        *("2026-03-02T14:00:00Z", "v1 answers at http://reviews.team-a.svc."),
    ]
    assert row(text, "team-b", "big")[-1] == "Unschedulable: No node takes a pod: 0/1."
    assert row(text, "team-a", "reviews", "text-classification", "New")[-1] == (
        "the operator has not looked at it yet"
    )


def lines(console: Console) -> list[str]:
    return [line.partition("Z  ")[2] for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_without_a_terminal_each_step_of_the_way_is_a_line() -> None:
    console = plain()
    follower = LineFollower(console)
    for percent in (45, 46, 48, 50):
        follower.saw(SeenJob.of(training(percent=percent, step=percent, totalSteps=100)))
    follower.lost(Unavailable("Connection refused"))
    follower.lost(Unavailable("Connection refused"))
    follower.lost(None)
    follower.lost(None)
    follower.saw(SeenJob.of(gate_not_passed()))
    found = lines(console)
    assert [line[:20].rstrip() for line in found[:2]] == ["Training      45 %", "Training      50 %"]
    assert "step 50 of 100" in found[1]
    assert found[2:4] == [
        "the cluster does not answer (Connection refused); trying again",
        "the cluster answers again",
    ]
    assert found[4].startswith("Failed         0 %  GateNotPassed:  The gate is not passed.")
    assert len(found) == 5


def test_on_a_terminal_a_bar_moves_and_a_lost_connection_is_told() -> None:
    console = Console(
        file=StringIO(), width=120, force_terminal=True, color_system=None, highlight=False, markup=False
    )
    follower = LiveFollower(console)
    with follower.shown():
        follower.saw(SeenJob.of(training()))
        follower.lost(Unavailable("Connection refused"))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "━" in shown
    assert "47 %" in shown
    assert "step 420 of 800" in shown
    assert "The cluster does not answer (Connection refused). Trying again." in shown


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_narrow_terminal_breaks_no_number(width: int) -> None:
    console = Console(
        file=StringIO(), width=width, force_terminal=True, color_system=None, highlight=False, markup=False
    )
    show(console, job_view(SeenJob.of(ready()), Times(NOW)))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, shown.splitlines())) <= width
    if width >= 80:
        assert "0.9150" in shown
        assert "23.0 MB" in shown


def test_times_and_sizes_are_written_for_people() -> None:
    assert [span(each) for each in (-1, 4.56, 59.6, 190, 7500, 100_000)] == [
        "0.0 s",
        "4.6 s",
        "1 min 00 s",
        "3 min 10 s",
        "2 h 05 min",
        "1 d 3 h",
    ]
    assert [age(each) for each in (-5, 90, 130, 7100, 8000, 200_000)] == [
        *("0 s", "90 s", "2 min", "118 min", "2 h", "2 d")
    ]
    assert [size(each) for each in (12, 1500, 23_000_000, 2e15)] == ["12 B", "1.5 kB", "23.0 MB", "2000.0 TB"]
    assert printable("a\tb\nc", one_line=True) == "a b c"
    soon = (NOW + timedelta(seconds=30)).isoformat()
    assert Times(NOW).until(soon) == "in 30 s"
    assert Times(NOW).ago(None) == "-"
