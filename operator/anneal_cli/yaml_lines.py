"""YAML 1.2 documents as JSON-like values that know the line of every field."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError, YAMLWarning
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from ruamel.yaml.reader import ReaderError

from anneal_api.errors import Problem
from anneal_api.suggestions import short, spec_path
from anneal_api.validation import MAX_DEPTH, MAX_VALUES

_TAG = "tag:yaml.org,2002:"
_TEXT, _MERGE = f"{_TAG}str", f"{_TAG}merge"
_TAGS = frozenset(f"{_TAG}{kind}" for kind in ("map", "seq", "null", "bool", "int", "float", "str"))
_TOO_LARGE = Problem(
    f"The document has more than {MAX_VALUES} values, aliases counted in, or is nested more than {MAX_DEPTH} levels.",
    remedy="A manifest is a small file, check what this is; an alias must not contain itself.",
)

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class LocatedProblem:
    """A problem and its place in the file; no place where it concerns the file as a whole."""

    problem: Problem
    mark: Mark | None


class UnreadableError(Exception):
    """A file, or what follows from some place in it, cannot be read."""

    def __init__(self, problem: Problem, mark: Mark | None = None) -> None:
        super().__init__(str(problem))
        self.located = LocatedProblem(problem, mark)


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """One document of a file.

    Attributes:
        content: Its mappings, lists, texts, numbers, booleans and nulls.
        marks: Place of each field by its path; the key `""` is the document's own.
        problems: The fields that are given twice.
    """

    content: object
    marks: dict[str, Mark]
    problems: tuple[LocatedProblem, ...]

    def mark_of(self, path: str) -> Mark:
        """Returns the place of a field; where the field is not there, that of the nearest part around it."""
        around = (known for known in self.marks if not known or _begins(path, known))
        return self.marks[max(around, key=len)]


def read_documents(text: str) -> Iterator[YamlDocument]:
    """Yields the documents of a YAML text that are not empty.

    Numbers, booleans and null are those of YAML 1.2: `2e-5` is a number, `no` is text. Dates stay text.

    Raises:
        UnreadableError: The text is not YAML from some place on; the documents before it were yielded.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", YAMLWarning)
            for node in yaml.compose_all(text):
                walk = _Walk(yaml.constructor)
                walk.visit(node, ())
                content = yaml.constructor.construct_document(node)
                if content is not None:
                    yield YamlDocument(content, walk.marks, tuple(walk.problems))
    except YAMLError as error:
        raise _unreadable(error, text) from error
    except RecursionError as error:
        raise UnreadableError(_TOO_LARGE) from error


@dataclass(slots=True)
class _Walk:
    """Finds where each field stands, and takes out what the constructor and a manifest read differently."""

    constructor: SafeConstructor
    marks: dict[str, Mark] = field(default_factory=dict)
    problems: list[LocatedProblem] = field(default_factory=list)
    values: int = 0

    def visit(self, node: Node, location: Location) -> None:
        path, mark = spec_path(location), _mark(node.start_mark)
        self.marks.setdefault(path, mark)
        self.values += 1
        # An alias can stand for itself or, nested, for billions of values: both end here.
        if len(location) > MAX_DEPTH or self.values > MAX_VALUES:
            raise UnreadableError(_TOO_LARGE, mark)
        if node.tag in {f"{_TAG}timestamp", f"{_TAG}value"}:
            node.tag = _TEXT
        if node.tag not in _TAGS:
            what = f"The tag {short(node.tag)} is not used in manifests."
            raise UnreadableError(Problem(what, path, "Remove it."), mark)
        if isinstance(node, MappingNode):
            self._visit_fields(node, location)
        elif isinstance(node, SequenceNode):
            for index, item in enumerate(node.value):
                self.visit(item, (*location, index))
        else:
            try:
                self.constructor.construct_object(node)
            except (ValueError, KeyError, IndexError) as error:
                what = f"{short(node.value)} cannot be read as a value."
                raise UnreadableError(Problem(what, path, "Put text in quotes."), mark) from error

    def _visit_fields(self, node: MappingNode, location: Location) -> None:
        fields: dict[str, tuple[Node, Node]] = {}
        for key, item in node.value:
            name, mark = key.value, _mark(key.start_mark)
            if not isinstance(name, str):
                what = "The name of a field must be text."
                raise UnreadableError(Problem(what, spec_path(location), "Write it as one word."), mark)
            place = (*location, name)
            if name in fields:
                what = f"This field is given twice; the first time in line {fields[name][0].start_mark.line + 1}."
                problem = Problem(what, spec_path(place), "Remove one of the two.")
                self.problems.append(LocatedProblem(problem, mark))
                continue
            fields[name] = key, item
            if key.tag == _MERGE:
                self.visit(item, location)
            else:
                key.tag = _TEXT  # `1: x` names the field `1`, as in JSON
                self.marks[spec_path(place)] = mark
                self.visit(item, place)
        node.value = list(fields.values())  # the constructor would end at the first doubled one


def _begins(path: str, part: str) -> bool:
    return path == part or path.startswith((f"{part}.", f"{part}["))


def _mark(mark: StreamMark | None) -> Mark:
    return Mark(1, 1) if mark is None else Mark(mark.line + 1, mark.column + 1)


def _unreadable(error: YAMLError, text: str) -> UnreadableError:
    if isinstance(error, ReaderError):
        what = f"The character U+{ord(text[error.position]):04X} cannot stand in YAML."
        before = text[: error.position]
        mark = Mark(before.count("\n") + 1, error.position - before.rfind("\n"))
        return UnreadableError(Problem(what, remedy="Remove it."), mark)
    if not isinstance(error, MarkedYAMLError):
        return UnreadableError(Problem(f"This is not YAML: {error}."))
    said = error.problem or error.context or "unreadable"
    what = f"This is not YAML: {said}."
    remedy = "Check brackets, quotes and indentation here and in the line before."
    if "\\t" in said:
        what, remedy = "There is a tab where YAML allows only spaces.", "Indent with spaces."
    elif "mapping values are not allowed" in said:
        what = "There is a second `:` in one line, or the indentation is off."
        remedy = "Put text that contains `: ` in quotes, or mend the indentation."
    return UnreadableError(Problem(what, remedy=remedy), _mark(error.problem_mark or error.context_mark))
