"""YAML 1.2 documents as JSON-like values that know the line of every field."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, StreamMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from anneal_api.errors import Problem
from anneal_api.suggestions import short, spec_path
from anneal_api.validation import MAX_DEPTH, MAX_VALUES

_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({f"{_TAG}str", f"{_TAG}timestamp", f"{_TAG}value"})
_MERGE_TAG = f"{_TAG}merge"

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
        problems: What YAML allows and a manifest does not: doubled keys, tags, loops.
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
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            for node in yaml.compose_all(text):
                document = _Composed(yaml.constructor).document(node)
                if document.content is not None or document.problems:
                    yield document
    except MarkedYAMLError as error:
        mark = _mark(error.problem_mark or error.context_mark)
        raise UnreadableError(_syntax_problem(error), mark) from error
    except ReaderError as error:
        what = f"The character U+{ord(text[error.position]):04X} cannot stand in YAML."
        before = text[: error.position]
        mark = Mark(before.count("\n") + 1, error.position - before.rfind("\n"))
        raise UnreadableError(Problem(what, remedy="Remove it."), mark) from error
    except YAMLError as error:
        raise UnreadableError(Problem(f"This is not YAML: {error}.")) from error
    except RecursionError as error:
        raise UnreadableError(_too_deep()) from error


@dataclass(slots=True)
class _Composed:
    """Turns a document's nodes into values, once for each place where a node stands."""

    constructor: SafeConstructor
    marks: dict[str, Mark] = field(default_factory=dict)
    problems: list[LocatedProblem] = field(default_factory=list)
    values: int = 0

    def document(self, root: Node) -> YamlDocument:
        self.marks[""] = _mark(root.start_mark)
        content = self.value(root, ())
        return YamlDocument(content, self.marks, tuple(self.problems))

    def value(self, node: Node, location: Location) -> object:
        self.values += 1
        # An alias can stand for itself or, nested, for billions of values: both end here.
        if len(location) > MAX_DEPTH:
            raise UnreadableError(_too_deep(), _mark(node.start_mark))
        if self.values > MAX_VALUES:
            what = f"The document has more than {MAX_VALUES} values, aliases counted in."
            remedy = "A manifest is a small file; check what this is."
            raise UnreadableError(Problem(what, remedy=remedy), _mark(node.start_mark))
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, location)
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            return [self._item(item, (*location, index)) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, location)
        self._refuse_tag(node, location)
        return None

    def _item(self, node: Node, location: Location) -> object:
        self.marks[spec_path(location)] = _mark(node.start_mark)
        return self.value(node, location)

    def _mapping(self, node: MappingNode, location: Location) -> dict[str, object]:
        content: dict[str, object] = {}
        merged: dict[str, object] = {}
        for key, item in node.value:
            if key.tag == _MERGE_TAG:
                merged = self._merged(item, location) | merged
                continue
            name = key.value if isinstance(key, ScalarNode) else None
            if name is None:
                self._refuse(key, location, "The name of a field must be text.", "Write it as one word.")
                continue
            place = (*location, name)
            if name in content:
                first = self.marks[spec_path(place)].line
                what = f"This field is given twice; the first time in line {first}."
                self._refuse(key, place, what, "Remove one of the two.")
                continue
            self.marks[spec_path(place)] = _mark(key.start_mark)
            content[name] = self.value(item, place)
        return merged | content

    def _merged(self, node: Node, location: Location) -> dict[str, object]:
        parts = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, object] = {}
        for part in parts:
            if isinstance(part, MappingNode):
                self.values += 1
                if len(location) > MAX_DEPTH or self.values > MAX_VALUES:
                    raise UnreadableError(_too_deep(), _mark(part.start_mark))
                merged = self._mapping(part, location) | merged
            else:
                remedy = "Write an alias of a mapping behind it."
                self._refuse(part, location, "`<<` merges mappings only.", remedy)
        return merged

    def _scalar(self, node: ScalarNode, location: Location) -> object:
        text = str(node.value)
        if node.tag in _TEXT_TAGS:
            return text
        readers = {
            f"{_TAG}null": lambda _: None,
            f"{_TAG}bool": self.constructor.construct_yaml_bool,
            f"{_TAG}int": self.constructor.construct_yaml_int,
            f"{_TAG}float": self.constructor.construct_yaml_float,
        }
        read = readers.get(str(node.tag))
        if read is None:
            self._refuse_tag(node, location)
            return None
        try:
            value: object = read(node)
        except (ValueError, KeyError, IndexError):
            self._refuse(node, location, f"{short(text)} cannot be read as a value.", "Put text in quotes.")
            return None
        return value

    def _refuse_tag(self, node: Node, location: Location) -> None:
        self._refuse(node, location, f"The tag {short(node.tag)} is not used in manifests.", "Remove it.")

    def _refuse(self, node: Node, location: Location, what: str, remedy: str) -> None:
        problem = Problem(what, spec_path(location), remedy)
        self.problems.append(LocatedProblem(problem, _mark(node.start_mark)))


def _begins(path: str, part: str) -> bool:
    return path == part or path.startswith((f"{part}.", f"{part}["))


def _mark(mark: StreamMark | None) -> Mark:
    return Mark(1, 1) if mark is None else Mark(mark.line + 1, mark.column + 1)


def _too_deep() -> Problem:
    what = f"The document is nested more than {MAX_DEPTH} levels deep."
    return Problem(what, remedy="A manifest needs fewer than 10; an alias must not contain itself.")


def _syntax_problem(error: MarkedYAMLError) -> Problem:
    said = error.problem or error.context or "unreadable"
    if "\\t" in said:
        return Problem("There is a tab where YAML allows only spaces.", remedy="Indent with spaces.")
    if "mapping values are not allowed" in said:
        remedy = "Put text that contains `: ` in quotes, or mend the indentation."
        return Problem("There is a second `:` in one line, or the indentation is off.", remedy=remedy)
    while_doing = f" {error.context}" if error.context and error.context != said else ""
    remedy = "Check brackets, quotes and indentation here and in the line before."
    return Problem(f"This is not YAML: {said}{while_doing}.", remedy=remedy)
