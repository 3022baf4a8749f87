"""`anneal predict`: answers texts with a published model, without a server and without Ray."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anneal_api.errors import ExitCode, RequestInvalid

if TYPE_CHECKING:
    from anneal_serving.codecs import Classification


def predict(folder: Path, texts: Sequence[str], *, as_json: bool) -> ExitCode:
    """Prints the answer to each text, in order.

    Args:
        folder: A version's folder, or a job's: then its newest version.
        texts: The texts; none: one a line from standard input.
        as_json: Print one JSON object a line instead of text for people.

    Raises:
        RequestInvalid: There is no text, or an empty one.
        ArtifactInvalid: The folder holds no whole published model.
    """
    from anneal_serving.artifact import Artifact, latest_version

    asked = list(texts) or [line.rstrip("\n") for line in sys.stdin]
    if not asked or not all(text.strip() for text in asked):
        raise RequestInvalid(
            "There is no text to answer." if not asked else "A text is empty.",
            where="TEXT",
            remedy='Write it behind the path: anneal predict PATH "a text", or pipe one text a line in.',
        )
    artifact = Artifact.open(latest_version(folder))
    with artifact.predictor() as predictor:
        answers = predictor.predict(asked)
    for text, answer in zip(asked, answers, strict=True):
        _print(text, answer, as_json=as_json, single=len(asked) == 1)
    return ExitCode.OK


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
