"""Tells everything that is wrong with a manifest, at once."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from anneal_api.errors import Problem
from anneal_api.job import FineTuneJob
from anneal_api.rules import broken_rules
from anneal_api.schema_problems import problem_of
from anneal_api.suggestions import short, spec_path
from anneal_api.support import Place, unsupported

MAX_DEPTH = 64
MAX_VALUES = 50_000
_MAX_INTEGER_BITS = 64
_EXACT_INTEGERS = 2**53

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Validation:
    """What came of checking a manifest.

    Attributes:
        job: The job; None where there are problems.
        problems: Everything to mend, in the order of the manifest's schema.
    """

    job: FineTuneJob | None
    problems: tuple[Problem, ...]


def validate(document: object, place: Place = Place.MACHINE) -> Validation:
    """Checks a manifest: its schema, the rules between fields, and what does nothing where it is to run.

    Types are as strict as the cluster's: `"3"` is text, and `3.0` is the whole number 3.

    Args:
        document: The manifest as parsed from YAML or JSON. Nothing in it makes this raise.
        place: Where the job is to run.
    """
    reader = _Reader()
    try:
        content = reader.read(document, ())
    except _TooLargeError as error:
        too_large = Problem(str(error), remedy="A manifest is a small file; check what this is.")
        return Validation(None, (too_large,))
    if not isinstance(content, dict):
        what = "A manifest is a mapping with `apiVersion`, `kind`, `metadata` and `spec`."
        return Validation(None, (Problem(what, remedy="Start from the example in docs/manifest.md."),))
    job, errors = _build(content)
    problems = [*reader.problems]
    problems += _without_repeats(problems, [problem_of(error) for error in errors])
    wrong = [error["loc"] for error in errors if error["type"] != "missing"]
    if job is None:
        # Where all that is wrong can be left out, the meaning of the rest is checked in the same round.
        job, _ = _build(_without(content, wrong))
    if job is not None:
        later = unsupported(job, place)
        doubtful = [spec_path(location[:-1]) for location in wrong] + [each.where for each in reader.problems]
        broken = [
            problem
            for problem in broken_rules(job.spec)
            if not _touches(problem.where, doubtful)
            and not any(_inside(problem.where, each.where) for each in later)
        ]
        problems += _without_repeats(problems, [*broken, *later])
    return Validation(None if problems else job, tuple(problems))


class _TooLargeError(Exception):
    pass


@dataclass(slots=True)
class _Reader:
    """Copies a document, keeping only what JSON can say; the rest becomes problems and harmless values."""

    problems: list[Problem] = field(default_factory=list)
    values: int = 0

    def read(self, value: object, location: Location) -> object:
        self.values += 1
        if len(location) > MAX_DEPTH:
            raise _TooLargeError(f"The manifest is nested more than {MAX_DEPTH} levels deep.")
        if self.values > MAX_VALUES:
            raise _TooLargeError(f"The manifest has more than {MAX_VALUES} values.")
        if isinstance(value, list):
            return [self.read(item, (*location, index)) for index, item in enumerate(value)]
        if isinstance(value, dict):
            names = [self._name(key, location) for key in value]
            items = zip(names, value.values(), strict=True)
            return {name: self.read(item, (*location, name)) for name, item in items}
        return self._scalar(value, location)

    def _scalar(self, value: object, location: Location) -> object:
        result = value
        if isinstance(value, str):
            result = self._text(value, location)
        elif isinstance(value, float):
            result = self._number(value, location)
        elif isinstance(value, int) and not isinstance(value, bool):
            result = self._integer(value, location)
        elif value is not None and not isinstance(value, bool):
            what = f"A value of the kind `{type(value).__name__}` cannot stand here."
            result = self._refuse(location, what)
        return result

    def _name(self, key: object, location: Location) -> str:
        if not isinstance(key, str):
            name = short(key)
            self._refuse((*location, name), f"The name of a field must be text, but this is {name}.")
            return name
        if not _is_unicode(key):
            self._refuse((*location, key), "The name of this field is not valid Unicode.")
            return key.encode(errors="replace").decode()
        return key

    def _integer(self, value: int, location: Location) -> int:
        if value.bit_length() > _MAX_INTEGER_BITS:
            self._refuse(location, "This number is too large.")
            return 0
        return value

    def _number(self, value: float, location: Location) -> float:
        if not math.isfinite(value):
            self._refuse(location, f"{value} is not a number that can be used.", "Write a finite number.")
            return 0
        return int(value) if value.is_integer() and abs(value) < _EXACT_INTEGERS else value

    def _text(self, value: str, location: Location) -> str:
        if not _is_unicode(value):
            return self._refuse(location, "This text is not valid Unicode.")
        return value

    def _refuse(self, location: Location, what: str, remedy: str = "Remove it.") -> str:
        self.problems.append(Problem(what, spec_path(location), remedy))
        return ""


def _is_unicode(text: str) -> bool:
    """Whether the text can be written: a lone half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _build(content: object) -> tuple[FineTuneJob | None, list[ErrorDetails]]:
    try:
        # Through JSON: only there may text stand for an enum while everything else is strict.
        return FineTuneJob.model_validate_json(json.dumps(content), strict=True), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _without(content: object, locations: Sequence[Sequence[str | int]]) -> object:
    """Returns a copy less the fields at the given places. List items stay, so that places still hold."""
    copy = json.loads(json.dumps(content))
    for *parents, name in locations:
        part = copy
        for parent in parents:
            part = part[parent]
        if isinstance(part, dict):
            del part[name]
    return copy


def _without_repeats(told: Sequence[Problem], more: Sequence[Problem]) -> list[Problem]:
    """Returns the problems that are about places of which nothing is told yet."""
    places = {problem.where for problem in told}
    return [problem for problem in more if problem.where not in places]


def _touches(path: str, doubtful: Sequence[str]) -> bool:
    """Whether a broken rule may come from a mistake told already: within the same part, or around it."""
    return any(_inside(path, part) or _inside(part, path) for part in doubtful)


def _inside(path: str, part: str) -> bool:
    return path == part or not part or path.startswith((f"{part}.", f"{part}["))
