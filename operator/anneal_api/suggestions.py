"""Every field of the manifest by its path, and which of them a misspelt one was meant to be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from anneal_api.job import FineTuneJob

_CLOSE = 0.8
_LOOSE = 0.6

_TRAINER_NAMES = {
    "lr": "learningRate",
    "numtrainepochs": "epochs",
    "perdevicetrainbatchsize": "batchSize",
    "trainbatchsize": "batchSize",
    "maxseqlength": "maxLength",
    "maxseqlen": "maxLength",
    "layerwiselrdecay": "layerDecay",
    "fp16": "precision",
    "bf16": "precision",
    "labelsmoothing": "labelSmoothingFactor",
    "lrscheduler": "lrSchedulerType",
    "warmup": "warmupRatio",
}
"""What Hugging Face scripts call our fields, in lower case without separators."""


@dataclass(frozen=True, slots=True)
class ManifestField:
    """A field of the manifest.

    Attributes:
        path: Its place, list items as `[]`: `spec.evaluation.gates[].metric`.
        name: Its name in the manifest: `metric`.
        owner: The model that has it.
        info: Its type, default, limits and description.
        default: What it is where the manifest leaves it out; meaningless where it is required.
    """

    path: str
    name: str
    owner: type[BaseModel]
    info: FieldInfo
    default: object

    @property
    def parent(self) -> str:
        """Path of the part that holds it; empty for the fields of the manifest itself."""
        return self.path[: -len(self.name)].rstrip(".")

    @property
    def summary(self) -> str:
        """The first sentence of its description."""
        text = " ".join((self.info.description or "").split())
        sentence, end, _ = text.partition(". ")
        return sentence + end.strip()

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that it may have; empty where they cannot be listed."""
        for kind in _alternatives(self.info.annotation):
            if get_origin(kind) is Literal:
                return tuple(str(value) for value in get_args(kind))
            if isinstance(kind, type) and issubclass(kind, Enum):
                return tuple(str(member.value) for member in kind)
        return ()


def spec_path(location: Iterable[str | int]) -> str:
    """Writes keys and list positions as people do: `spec.evaluation.gates[1].metric`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch(r"[A-Za-z0-9_-]{1,64}", part):
            path += f".{part}" if path else part
        else:
            path += f"[{short(part)}]"
    return path


def short(value: object, limit: int = 60) -> str:
    """Returns a value as it is shown in a message: one line, cut where it is long, printable."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


@cache
def manifest_fields() -> dict[str, ManifestField]:
    """Returns every field of the FineTuneJob by its path, in the order of the models."""
    return {field.path: field for field in _fields_of(FineTuneJob, "")}


def field_at(location: Iterable[str | int]) -> ManifestField | None:
    """Returns the field that a place in a manifest belongs to."""
    return manifest_fields().get(_pattern(location))


def closest(word: str, choices: Sequence[str]) -> str | None:
    """Returns the choice that a word was meant to be, or None where none is near."""
    by_shape = {_shape(choice): choice for choice in choices}
    near = _near(_shape(word), by_shape, _LOOSE)
    begun = [choice for shape, choice in by_shape.items() if shape.startswith(_shape(word))]
    return near or (begun[0] if len(begun) == 1 else None)


def unknown_field_remedy(location: Sequence[str | int]) -> str:
    """Says what to do about an unknown field: its right name, its right place, or the names there are."""
    parent = _pattern(location[:-1])
    shape = _shape(str(location[-1]))
    here = {_shape(field.name): field.name for field in manifest_fields().values() if field.parent == parent}
    name = here.get(shape) or _near(shape, here, _CLOSE) or _known_as(shape, here)
    if name:
        return f"Did you mean `{name}`?"
    elsewhere = _elsewhere(shape)
    if elsewhere:
        return f"Did you mean {' or '.join(f'`{path}`' for path in elsewhere)}?"
    name = _near(shape, here, _LOOSE)
    if name:
        return f"Did you mean `{name}`?"
    if here:
        return f"Remove it. The fields here are {', '.join(f'`{known}`' for known in here.values())}."
    return "Remove it."


def _known_as(shape: str, here: dict[str, str]) -> str | None:
    name = _TRAINER_NAMES.get(shape)
    return name if name in here.values() else None


def _near(shape: str, names: dict[str, str], cutoff: float) -> str | None:
    near = get_close_matches(shape, names, n=1, cutoff=cutoff)
    return names[near[0]] if near else None


def _elsewhere(shape: str) -> list[str]:
    """Returns the one or two outermost fields of that name in other parts of the manifest."""
    wanted = _shape(_TRAINER_NAMES.get(shape, shape))
    found = [field.path for field in manifest_fields().values() if _shape(field.name) == wanted]
    depth = min((path.count(".") for path in found), default=0)
    outermost = [path for path in found if path.count(".") == depth]
    return outermost if len(outermost) <= 2 else []  # noqa: PLR2004


def _shape(name: str) -> str:
    """Returns what is left of a name when camelCase, snake_case and kebab-case are made equal."""
    return re.sub(r"[-_\s.]", "", name).lower()


def _pattern(location: Iterable[str | int]) -> str:
    path = ""
    for part in location:
        if isinstance(part, int):
            path += "[]"
        else:
            path += f".{part}" if path else part
    return path


def _fields_of(model: type[BaseModel], prefix: str) -> Iterator[ManifestField]:
    for attribute, info in model.model_fields.items():
        name = info.alias or attribute
        path = f"{prefix}.{name}" if prefix else name
        # Asked for once, for pydantic looks into the factory's signature each time.
        default = info.get_default(call_default_factory=True, validated_data={})
        yield ManifestField(path, name, model, info, default)
        nested, suffix = _nested_model(info.annotation)
        if nested is not None:
            yield from _fields_of(nested, path + suffix)


def _nested_model(annotation: object) -> tuple[type[BaseModel] | None, str]:
    for kind in _alternatives(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind, ""
        if get_origin(kind) is list:
            item = get_args(kind)[0]
            if isinstance(item, type) and issubclass(item, BaseModel):
                return item, "[]"
    return None, ""


def _alternatives(annotation: object) -> tuple[object, ...]:
    """Returns the members of a union such as `X | None`; any other annotation alone."""
    is_union = get_origin(annotation) is not Literal and type(None) in get_args(annotation)
    return get_args(annotation) if is_union else (annotation,)
