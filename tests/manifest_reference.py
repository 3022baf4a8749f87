"""Writes docs/manifest.md from the models: `make docs`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any

from pydantic import BaseModel

from anneal_api.job import FineTuneJob
from anneal_api.metrics import METRICS
from anneal_api.rules import RULES
from anneal_api.suggestions import ManifestField, manifest_fields
from anneal_api.support import CLUSTER_ONLY, LATER, LATER_SCHEMES, SCHEMES, TASKS, Place

EXAMPLE = """\
apiVersion: anneal.dev/v1alpha1
kind: FineTuneJob
metadata:
  name: reviews
spec:
  task: text-classification
  model:
    source: bert-base-uncased
  data:
    train: {uri: reviews.csv}
    split: {validation: 0.1, test: 0.1}
    columns: {text: review, label: sentiment}
  training:
    epochs: 3
    learningRate: 2e-5
  evaluation:
    metrics: [accuracy, f1]
    gates:
      - {metric: f1, min: 0.88}
      - {metric: f1, versusIncumbent: -0.005}
  compression:
    variants:
      - {name: int8, quantize: {}}
  serving: {}
"""
"""A manifest that says what most jobs have to say."""

_LATER_NOTE = " *Not supported yet.*"
_CLUSTER_NOTE = " *On a cluster only.*"

_INTRODUCTION = """\
# The manifest

<!-- Written by `make docs`: edit the docstrings in operator/anneal_api instead. -->

A `FineTuneJob` names a model, data and a bar to clear. `anneal validate FILE...` checks it and prints every
problem at once, each with its line and what to do about it. What it returns is in
[exit-codes.md](exit-codes.md).

```yaml
{example}```

Files are YAML 1.2 in UTF-8, at most 1 MiB: `2e-5` is a number, `no` is text, and a field that is given twice
is an error. A file may hold several jobs, separated by `---`. Types are strict: `"3"` is text and no number.
Unknown fields are errors. A field marked *not supported yet* belongs to the format, but this version refuses
any value other than its default. One marked *on a cluster only* is refused by `anneal run`; a place that the machine
or the cluster cannot reach is refused there. `anneal validate` says where a manifest can run, and
`--on machine` or `--on cluster` asks for one of the two.

On a cluster, `kubectl apply` refuses a manifest that breaks its schema or one of the rules between fields, except
the one about metrics: that, and what is not supported yet, the job's condition `Valid` says. `spec.task` and
`spec.store.uri` cannot be changed.

Lengths of time are written `30s`, `5m` or `1h30m`, amounts as Kubernetes does: `500m`, `2`, `16Gi`.
"""


def render() -> str:
    """Returns the whole reference as Markdown."""
    definitions: dict[str, Any] = FineTuneJob.model_json_schema(by_alias=True)
    parts = [_INTRODUCTION.format(example=EXAMPLE)]
    for owner, fields in _fields_by_owner().items():
        parts.append(_section(owner, fields, definitions))
    parts.append(_rules())
    parts.append(_metrics())
    return "\n".join(parts)


def _fields_by_owner() -> dict[type[BaseModel], list[ManifestField]]:
    """Returns the fields of each part. A part that stands in several places comes once."""
    owners: dict[type[BaseModel], list[ManifestField]] = {}
    for field in manifest_fields().values():
        if field.name != "status":
            owners.setdefault(field.owner, []).append(field)
    return owners


def _section(owner: type[BaseModel], fields: list[ManifestField], definitions: dict[str, Any]) -> str:
    places = list(dict.fromkeys(field.parent for field in fields))
    heading = ", ".join(f"`{place}`" for place in places if place) or owner.__name__
    summary = _one_line(owner.__doc__ or "")
    for note, marked in ((_LATER_NOTE, LATER), (_CLUSTER_NOTE, CLUSTER_ONLY)):
        begins = tuple(begin for path in marked for begin in (f"{path}.", f"{path}[]"))
        if all(f"{place}.".startswith(begins) for place in places):
            summary += note
    lines = [f"## {heading}", "", summary, "", "| Field | Type | Default | Meaning |", "|---|---|---|---|"]
    model = definitions if owner is FineTuneJob else definitions["$defs"][owner.__name__]
    for field in fields:
        if field.parent == places[0]:
            kind = _kind(model["properties"][field.name], definitions)
            lines.append(f"| `{field.name}` | {kind} | {_default(field)} | {_meaning(field)} |")
    return "\n".join([*lines, ""])


def _kind(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    for choice in schema.get("anyOf", ()):
        if choice.get("type") != "null":
            return _kind(choice, definitions)
    if "$ref" in schema:
        return _kind(definitions["$defs"][schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        items = _kind(schema["items"], definitions)
        return f"list of {items}s"
    words = {"integer": "whole number", "number": "number", "boolean": "true or false", "string": "text"}
    limits = " and ".join(_limits(schema))
    kind = words.get(schema.get("type", ""), "mapping")
    return f"{kind}, {limits}" if limits else kind


def _limits(schema: dict[str, Any]) -> Iterator[str]:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    yield from (f"{word} {schema[key]:,}".replace(",", " ") for key, word in words.items() if key in schema)


def _default(field: ManifestField) -> str:
    if field.info.is_required():
        return "**required**"
    default = field.default
    if isinstance(default, BaseModel) or default is None:
        return ""
    if isinstance(default, Enum):
        return f"`{default.value}`"
    return f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"


def _meaning(field: ManifestField) -> str:
    meaning = _one_line(field.info.description or "")
    if field.path in LATER:
        meaning += _LATER_NOTE
    if field.path in CLUSTER_ONLY:
        meaning += _CLUSTER_NOTE
    if field.path in SCHEMES:
        meaning += f" *{_places(SCHEMES[field.path], hub=field.path == 'spec.model.source')}*"
    if field.path == "spec.task":
        meaning += f" *Supported so far: {', '.join(f'`{task}`' for task in sorted(TASKS))}.*"
    return meaning.replace("|", r"\|")


def _places(schemes: dict[Place, frozenset[str]], *, hub: bool) -> str:
    """Says which kinds of place can be read where."""
    ways = []
    for place in Place:
        unwritten = ["a hub id"] * hub + ["a path"] * (place is Place.MACHINE)
        written = [f"`{scheme}://`" for scheme in sorted(schemes[place]) if scheme]
        ways.append(f"On a {place}: {', '.join(unwritten + written)}.")
    later = " and ".join(f"`{scheme}://`" for scheme in sorted(LATER_SCHEMES))
    return f"{' '.join(ways)} Not supported yet: {later}."


def _rules() -> str:
    rules = [f"* {_one_line((rule.__doc__ or '').partition(chr(10))[0])}" for rule in RULES]
    return "\n".join(["## Rules between fields", "", *rules, ""])


def _metrics() -> str:
    lines = ["## Metrics", ""]
    for task, metrics in METRICS.items():
        lines += [f"For `{task}`:", "", "| Metric | Better | Meaning |", "|---|---|---|"]
        lines += [f"| `{each.name}` | {each.direction} | {each.description} |" for each in metrics.values()]
    return "\n".join([*lines, ""])


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


if __name__ == "__main__":
    sys.stdout.write(render())
