"""Does the server answer as the published model did when it was measured?

python -m anneal_serving.parity --url URL --version-folder FOLDER [--timeout SECONDS]

FOLDER may be a place in a bucket, `s3://BUCKET/KEY`.

Waits until the wanted version answers, then replays held-out rows through `POST /predict` and compares them with
the answers that were published. Where the rows are private, a few texts of its own are answered here, by the same
Predictor, and there, by the server. Exit code 0: all answers are equal; 1: they are not, or there were none. The
report is JSON on standard output and, in a pod, in the container's termination message.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from anneal_api.errors import AnnealError
from anneal_api.tasks import Task
from anneal_serving.app import VERSION_HEADER
from anneal_serving.artifact import Artifact
from anneal_serving.model_info import PARITY_FILE
from anneal_serving.version_place import version_at

TOLERANCE = 1e-3
"""Most by which a score may differ: processors round differently, and int8 more so."""

MAX_REPORT_BYTES = 4096
"""What Kubernetes keeps of a container's termination message."""

TERMINATION_LOG = Path("/dev/termination-log")
"""Where a container leaves its last words; absent outside of one."""

_GENERIC_TEXTS = {
    Task.TEXT_CLASSIFICATION: (
        "A gripping film that one wants to see again.",
        "It never finds its feet, and after an hour nobody minds.",
        "The parcel came on Tuesday; the box was open.",
        "naïve café, 日本語, emoji 🙂 and 1,234.5 %",
        "word " * 600,  # longer than any encoder takes: the cut must be the same
    ),
}
_PAUSE_SECONDS = 0.5
# Answers in a row that must be the version's before it counts as ready: each may come from another replica, and
# one that goes on with the old version would not be noticed by the first.
_READY_IN_A_ROW = 20
_LONGEST_MESSAGE = 1500
_LONGEST_LABEL = 100
_SHORT = 200  # characters of text: with these cuts the report fits even where every character is escaped
# What the server refuses on principle, and so never answers: a held-out row may be longer than a request.
_REFUSED_ON_PRINCIPLE = frozenset({"too_long", "too_many_tokens", "body_too_large", "empty"})


class ParityFailed(AnnealError):
    """The server does not answer, or not as it should."""


@dataclass(frozen=True, slots=True)
class Row:
    """A text and its published answer.

    Attributes:
        number: Line of `parity.jsonl`, or number of the generic text, from 1.
        text: What to ask.
        label: The label that must come back.
        score: Its score.
    """

    number: int
    text: str
    label: str
    score: float


@dataclass(slots=True)
class Report:
    """What the probe found.

    Attributes:
        url: The server.
        version: The version that should answer, for example `reviews/v3`.
        equal: Whether every answer was as published.
        message: The outcome in a sentence.
        rows: What was asked: `held-out`, or `generic` where those are private.
        compared: Rows that were answered and compared.
        refused: Rows that the server refuses on principle, for example over-long ones.
        largest_difference: Largest difference of a score.
        first_difference: The first row that was answered differently: row, expected, answered. No text: it may
            be read by those who must not read the data.
        seconds: How long the probe took.
    """

    url: str
    version: str = ""
    equal: bool = False
    message: str = ""
    rows: str = ""
    compared: int = 0
    refused: int = 0
    largest_difference: float = 0.0
    first_difference: dict[str, Any] | None = None
    seconds: float = 0.0

    def as_json(self) -> str:
        """Returns the report in one line of JSON, short enough for a termination message."""
        document = {
            "equal": self.equal,
            "message": self.message[:_LONGEST_MESSAGE],
            "version": self.version,
            "url": self.url[:_SHORT],
            "rows": self.rows,
            "compared": self.compared,
            "refused": self.refused,
            "largestDifference": self.largest_difference,
            "firstDifference": self.first_difference,
            "seconds": round(self.seconds, 1),
        }
        line = json.dumps(document)
        return (
            line
            if len(line) <= MAX_REPORT_BYTES
            else json.dumps({**document, "message": self.message[:_SHORT]})
        )


def probe(url: str, place: str, *, timeout: float = 120.0) -> Report:
    """Compares a server's answers with those of a published version.

    Args:
        url: Where the server is, for example `http://reviews`.
        place: The version's folder, or its place in a bucket.
        timeout: Seconds that the whole may take, the wait for the version included.
    """
    started = time.monotonic()
    report = Report(url)
    try:
        with version_at(place) as folder:
            artifact = Artifact.open(folder)
            report.version = artifact.version
            endpoint = _Endpoint(urlsplit(url), artifact.version, started + timeout)
            endpoint.wait_until_ready(artifact.manifest.version)
            rows = _held_out_rows(artifact)
            report.rows = "held-out" if rows else "generic"
            _compare(endpoint, rows or _generic_rows(artifact), report)
    except AnnealError as error:
        report.message = str(error)
    report.seconds = time.monotonic() - started
    return report


def _compare(endpoint: _Endpoint, rows: Sequence[Row], report: Report) -> None:
    different = 0
    for row in rows:
        answer = endpoint.predict(row)
        if answer is None:
            report.refused += 1
            continue
        report.compared += 1
        label, score = answer
        difference = abs(score - row.score)
        report.largest_difference = max(report.largest_difference, difference)
        if label != row.label or not difference <= TOLERANCE:  # so that NaN differs
            different += 1
            report.first_difference = report.first_difference or {
                "row": row.number,
                "expected": {"label": row.label[:_LONGEST_LABEL], "score": row.score},
                "answered": {"label": label[:_LONGEST_LABEL], "score": score},
            }
    if not report.compared:
        report.message = f"No row could be compared: the server refused all {report.refused}."
    elif report.first_difference:
        report.message = (
            f"{different} of {report.compared} answers are not the published ones; "
            f"the first is row {report.first_difference['row']}."
        )
    else:
        report.equal = True
        report.message = f"All {report.compared} answers are the published ones."


def _held_out_rows(artifact: Artifact) -> list[Row]:
    """Returns the rows that can be replayed: none where the data is private."""
    path = artifact.folder / PARITY_FILE
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        documents = [(number, json.loads(line)) for number, line in enumerate(lines, 1) if line.strip()]
        return [
            Row(number, document["text"], document["label"], float(document["score"]))
            for number, document in documents
            if "text" in document
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParityFailed(
            f"The held-out rows cannot be read: {type(error).__name__}: {error}.", where=str(path)
        ) from error


def _generic_rows(artifact: Artifact) -> list[Row]:
    task = artifact.manifest.predictor.task
    texts = _GENERIC_TEXTS.get(task)
    if texts is None:
        raise ParityFailed(
            f"There are no texts to try the task `{task}` with, and the held-out rows are private."
        )
    with artifact.predictor() as predictor:
        answers = predictor.predict(texts)
    return [
        Row(number, text, answer.label, answer.score)
        for number, (text, answer) in enumerate(zip(texts, answers, strict=True), 1)
    ]


class _Endpoint:
    """The server, asked until the deadline: what is passing is waited out.

    Args:
        address: Where it is.
        version: The version that must answer.
        deadline: When to give up, by the monotonic clock.
    """

    def __init__(self, address: SplitResult, version: str, deadline: float) -> None:
        if address.scheme not in {"http", "https"} or not address.hostname:
            raise ParityFailed(
                "The URL is none of an HTTP server.",
                where=address.geturl(),
                remedy="Write http://HOST[:PORT].",
            )
        self._address = address
        self._version = version
        self._deadline = deadline

    def wait_until_ready(self, number: int) -> None:
        """Waits until the version answers, and no other one beside it.

        Args:
            number: The version's number.

        Raises:
            ParityFailed: It did not in time.
        """

        def ready(status: int, version: str, body: Any) -> bool | str:  # noqa: ANN401  # whatever came
            if status != HTTPStatus.OK:
                return f"/health/ready answers {status}{_said(body)}"
            if version == self._version:
                return True
            wanted = body.get("wanted") if isinstance(body, dict) else None
            reason = (
                wanted.get("reason") if isinstance(wanted, dict) and wanted.get("version") == number else ""
            )
            return f"{version or 'an unnamed model'} answers, not {self._version}" + (
                f", which could not be loaded: {reason}" if reason else ""
            )

        in_a_row = 0
        while in_a_row < _READY_IN_A_ROW:
            at_once = self._until("GET", "/health/ready", None, ready)
            in_a_row = in_a_row + 1 if at_once else 1

    def predict(self, row: Row) -> tuple[str, float] | None:
        """Returns label and score of the answer; None: the server refuses the row on principle.

        Raises:
            ParityFailed: It did not answer in time, or refused the row for another reason.
        """
        found: list[tuple[str, float] | None] = []

        def answered(status: int, version: str, body: Any) -> bool | str:  # noqa: ANN401  # whatever came
            if status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS}:
                return f"the server is overloaded ({status})"
            if version != self._version:  # another replica, which has not switched yet
                return f"{version or 'an unnamed model'} answers, not {self._version}"
            if status == HTTPStatus.OK:
                try:
                    found.append((str(body["label"]), float(body["score"])))
                except (KeyError, TypeError, ValueError):
                    raise ParityFailed(
                        f"The answer to row {row.number} has no label and score.",
                        where=self._address.geturl(),
                    ) from None
                return True
            if _code(body) in _REFUSED_ON_PRINCIPLE:
                found.append(None)
                return True
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return f"the server answers {status}{_said(body)}"
            raise ParityFailed(
                f"The server refuses row {row.number} with {status}{_said(body)}.",
                where=self._address.geturl(),
            )

        self._until("POST", "/predict", json.dumps({"text": row.text}).encode(), answered)
        return found[0]

    def _until(
        self, method: str, path: str, body: bytes | None, done: Callable[[int, str, Any], bool | str]
    ) -> bool:
        """Asks again and again until `done` says True; what it says else is why the wait was in vain.

        Returns:
            Whether the first answer would do.

        Raises:
            ParityFailed: None did in time.
        """
        at_once = True
        while True:
            try:
                outcome = done(*self._ask(method, path, body))
            except (OSError, http.client.HTTPException) as error:
                outcome = f"no answer: {type(error).__name__}: {error}"
            if outcome is True:
                return at_once
            at_once = False
            if time.monotonic() + _PAUSE_SECONDS >= self._deadline:
                raise ParityFailed(
                    f"{self._version} did not answer in time. The last that was seen: {outcome}.",
                    where=f"{method} {self._address.geturl().rstrip('/')}{path}",
                )
            time.sleep(_PAUSE_SECONDS)

    def _ask(self, method: str, path: str, body: bytes | None) -> tuple[int, str, Any]:
        # A connection for every request: behind a Service each may lead to another pod, and all must be equal.
        kind = http.client.HTTPSConnection if self._address.scheme == "https" else http.client.HTTPConnection
        remaining = max(1.0, min(30.0, self._deadline - time.monotonic()))
        connection = kind(self._address.hostname or "", self._address.port, timeout=remaining)
        try:
            headers = {"content-type": "application/json"} if body is not None else {}
            connection.request(method, self._address.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        try:
            document = json.loads(content, parse_constant=lambda _: None)  # NaN is no score
        except ValueError:
            document = None
        return response.status, response.headers.get(VERSION_HEADER, ""), document


def _error(body: Any) -> dict[str, Any]:  # noqa: ANN401  # whatever came
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) else {}


def _code(body: Any) -> str:  # noqa: ANN401  # whatever came
    return str(_error(body).get("code", ""))


def _said(body: Any) -> str:  # noqa: ANN401  # whatever came
    message = str(_error(body).get("message", ""))[:300].rstrip(".")
    return f": {message}" if message else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Probes a server, reports, and returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m anneal_serving.parity",
        description="Compares a server's answers with those of a published version.",
    )
    parser.add_argument("--url", required=True, help="where the server is, for example http://reviews")
    parser.add_argument("--version-folder", required=True, help="folder of the published version")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds that the whole may take")
    asked = parser.parse_args(arguments)
    report = probe(asked.url, asked.version_folder, timeout=asked.timeout)
    line = report.as_json()
    sys.stdout.write(line + "\n")
    if TERMINATION_LOG.exists():
        TERMINATION_LOG.write_text(line, encoding="utf-8")
    return 0 if report.equal else 1


if __name__ == "__main__":
    sys.exit(main())
