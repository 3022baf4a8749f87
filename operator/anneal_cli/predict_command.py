"""`anneal predict`: answers texts with a published model, without a server and without Ray."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anneal_api.errors import ExitCode, RequestInvalid
from anneal_api.texts import is_blank
from anneal_cli.console import say

if TYPE_CHECKING:
    from anneal_serving.codecs import Classification

_REMEDY = 'Write it behind the path: anneal predict PATH "a text", or pipe one text a line in.'
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MOST_LINES = 5


def predict(folder: Path, texts: Sequence[str], *, as_json: bool) -> ExitCode:
    """Prints the answer to each text, in order.

    Args:
        folder: A version's folder, or a job's: then its newest version.
        texts: The texts; none: one a line from standard input, of which empty lines are left out.
        as_json: Print one JSON object a line instead of text for people.

    Raises:
        RequestInvalid: There is no text, an empty one among the arguments, or one that is not UTF-8.
        ArtifactInvalid: The folder holds no whole published model.
    """
    from anneal_serving.artifact import Artifact, latest_version

    asked = _checked(texts) if texts else _read_lines()
    artifact = Artifact.open(latest_version(folder))
    with artifact.predictor() as predictor:
        answers = predictor.predict(asked)
    for text, answer in zip(asked, answers, strict=True):
        _print(text, answer, as_json=as_json, single=len(asked) == 1)
    return ExitCode.OK


def lines_of(raw: Iterable[bytes]) -> tuple[list[str], list[int]]:
    """Returns the texts of a stream, one a line, and the numbers of the empty lines, which are left out.

    Args:
        raw: The lines with their ends, LF or CRLF; a byte order mark may stand before the first.

    Raises:
        RequestInvalid: A line is not UTF-8.
    """
    texts: list[str] = []
    empty: list[int] = []
    for number, line in enumerate(raw, start=1):
        content = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        try:
            text = content.removesuffix(b"\n").removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise RequestInvalid(
                f"The line is not UTF-8: byte {error.start + 1} is 0x{content[error.start]:02x}.",
                where=f"standard input, line {number}",
                remedy="Write the texts as UTF-8.",
            ) from None
        if is_blank(text):
            empty.append(number)
        else:
            texts.append(text)
    return texts, empty


def _checked(texts: Sequence[str]) -> list[str]:
    for number, text in enumerate(texts, start=1):
        where = "TEXT" if len(texts) == 1 else f"TEXT {number}"
        if is_blank(text):
            raise RequestInvalid("A text is empty.", where=where, remedy=_REMEDY)
        try:
            text.encode()
        except UnicodeEncodeError:
            remedy = "Write the text as UTF-8."
            raise RequestInvalid("A text is not UTF-8.", where=where, remedy=remedy) from None
    return list(texts)


def _read_lines() -> list[str]:
    # Python has no standard input where the shell closed it.
    texts, empty = lines_of(getattr(sys.stdin, "buffer", ()))
    if not texts:
        raise RequestInvalid("There is no text to answer.", where="TEXT", remedy=_REMEDY)
    if empty:
        shown = ", ".join(map(str, empty[:_MOST_LINES]))
        more = f" and {len(empty) - _MOST_LINES} more" if len(empty) > _MOST_LINES else ""
        subject = f"Line {shown} is" if len(empty) == 1 else f"Lines {shown}{more} are"
        say(f"{subject} empty and left out.", err=True)
    return texts


def _print(text: str, answer: Classification, *, as_json: bool, single: bool) -> None:
    if as_json:
        record = {"text": text, "label": answer.label, "score": answer.score, "scores": answer.scores}
        sys.stdout.write(f"{json.dumps(record, ensure_ascii=False)}\n")
        return
    from rich.console import Console
    from rich.text import Text

    scores = ", ".join(f"{label} {score:.1%}" for label, score in answer.scores.items())
    asked = Text() if single else Text(f"  {text}", "dim")
    Console(highlight=False).print(
        Text.assemble((answer.label, "bold"), f"  ({scores})") + asked, soft_wrap=True
    )
