"""A small world that the whole chain runs in: rows that can be learned in seconds, and the command line."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_GOOD, _BAD = ["lovely", "great", "superb", "charming"], ["awful", "dull", "dreadful", "clumsy"]
_FILLER = (
    "the",
    "film",
    "was",
    "a",
    "story",
    "about",
    "people",
    "who",
    "travel",
    "far",
    "and",
    "came",
    "home",
)


def write_rows(path: Path, count: int, *, seed: int, noise: float = 0.0) -> None:
    """Writes sentences whose label is that of the one telling word in them; a share `noise` is labelled wrongly."""
    chance = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(count):
            words = chance.choices(_FILLER, k=chance.randint(3, 18))
            good = number % 2 == 0
            words.insert(chance.randrange(len(words)), chance.choice(_GOOD if good else _BAD))
            told = good if chance.random() >= noise else not good
            writer.writerow([f"{' '.join(words)} {number}-{seed}", "positive" if told else "negative"])


def anneal(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a folder, as a person would."""
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, env=environment(), check=False
    )


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "anneal_cli", *map(str, arguments)]


@contextmanager
def serving(version: Path) -> Iterator[str]:
    """Runs `anneal serve` on a published version and gives its address once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        command("serve", version, "--port", port), env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        said = next((line for line in process.stdout if "http://" in line), None)
        assert said is not None, "the server ended before it answered"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def environment() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "160", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}


def versions(folder: Path) -> list[Path]:
    """Returns the published versions below a folder in which `anneal run` ran."""
    return sorted(folder.glob(".anneal/store/default/words-*/v*"))


def stage_folder(folder: Path, stage: str) -> Path:
    """Returns the newest result of a stage."""
    found = [
        path
        for path in folder.glob(f".anneal/work/default/words-*/stages/{stage}/*")
        if path.suffix != ".partial"
    ]
    return max(found, key=lambda path: path.stat().st_mtime)


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
