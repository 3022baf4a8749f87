"""The objects as they are written to the cluster, to be read by people.

After a change that is meant:  ANNEAL_WRITE_GOLDEN=1 pytest tests/unit/operator/resources/test_golden.py
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from resource_samples import FULL, IN_BUCKET, MINIMAL, Sample, objects

FOLDER = Path(__file__).with_name("golden")
SPECS = {"minimal": MINIMAL, "full": FULL, "served": {**MINIMAL, "serving": {}}, "bucket": IN_BUCKET}
NAMES = [(job, name) for job, spec in SPECS.items() for name in objects(Sample(spec))]
SHOW_THE_BUCKET = {"prepare", "service", "parity", "cleanup"}
REPEATED = {("served", name) for name in objects(Sample(MINIMAL))}
REPEATED |= {("bucket", name) for name in objects(Sample(IN_BUCKET)) if name not in SHOW_THE_BUCKET}


class Dumper(yaml.SafeDumper):
    """Writes long texts as they are, and nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _text(dumper: Dumper, data: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


Dumper.add_representer(str, _text)


@pytest.mark.parametrize(("job", "name"), [pair for pair in NAMES if pair not in REPEATED])
def test_objects_are_as_written_down(job: str, name: str) -> None:
    body = objects(Sample(SPECS[job]))[name]
    path = FOLDER / f"{job}-{name}.yaml"
    text = yaml.dump(body, Dumper=Dumper, sort_keys=False, width=100)
    if os.environ.get("ANNEAL_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == body


def test_no_file_is_left_over() -> None:
    wanted = {f"{job}-{name}.yaml" for job, name in NAMES if (job, name) not in REPEATED}
    assert {path.name for path in FOLDER.iterdir()} == wanted
