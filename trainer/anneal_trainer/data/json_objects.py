"""Reads json and jsonl: rows that are objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

from anneal_api.errors import Problem
from anneal_api.spec.data import Columns
from anneal_trainer.data.contents import not_utf8
from anneal_trainer.data.problems import ProblemLog
from anneal_trainer.data.records import Record, kind_of, missing_columns, row_place


def read_json(content: bytes, name: str, columns: Columns, log: ProblemLog) -> Iterator[Record]:
    """Yields the rows of a json file: an array of objects, or `{"data": [...]}`."""
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = not_utf8("The file", _line_around(content, error.start))
        log.add(Problem(problem.what, f"{name}, line {line}", problem.remedy))
        return
    except json.JSONDecodeError as error:
        by_line = error.msg == "Extra data"
        remedy = "If every line is an object of its own, set format: jsonl." if by_line else "Mend the JSON."
        where = f"{name}, line {error.lineno}, position {error.colno}"
        log.add(Problem(f"The file is not valid JSON: {_lower_first(error.msg)}.", where, remedy))
        return
    except (ValueError, RecursionError) as error:
        log.add(Problem(f"The file is not valid JSON: {error}.", name, "Mend the JSON."))
        return
    objects = document.get("data") if isinstance(document, dict) else document
    if not isinstance(objects, list):
        log.add(
            Problem(
                "The file holds no list of rows.",
                name,
                'Write an array of objects, [{"text": ..., "label": ...}], or {"data": [...]} around it.',
            )
        )
        return
    numbered = ((row, None, value) for row, value in enumerate(objects, start=1))
    yield from _from_objects(numbered, name, columns, log)


def read_json_lines(stream: BinaryIO, name: str, columns: Columns, log: ProblemLog) -> Iterator[Record]:
    """Yields the rows of a jsonl file, one object a line."""
    yield from _from_objects(_parsed_lines(stream, name, log), name, columns, log)


def _parsed_lines(stream: BinaryIO, name: str, log: ProblemLog) -> Iterator[tuple[int, int | None, object]]:
    row = 0
    # Only \n ends a line: JSON strings may hold the other characters that Python takes for line ends.
    for number, raw in enumerate(stream, start=1):
        content = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
        if not content.strip():
            continue
        row += 1
        where = row_place(name, row, number)
        try:
            value = json.loads(content.decode())
        except UnicodeDecodeError:
            problem = not_utf8("The line", content)
            log.add(Problem(problem.what, where, problem.remedy))
        except json.JSONDecodeError as error:
            what = f"The line is not valid JSON: {_lower_first(error.msg)} at position {error.colno}."
            log.add(Problem(what, where, "Write one JSON object a line."))
        except (ValueError, RecursionError) as error:
            log.add(Problem(f"The line is not valid JSON: {error}.", where, "Write one JSON object a line."))
        else:
            yield row, number, value


def _from_objects(
    numbered: Iterator[tuple[int, int | None, object]], name: str, columns: Columns, log: ProblemLog
) -> Iterator[Record]:
    seen_any = False
    for row, line, value in numbered:
        where = row_place(name, row, line)
        if not isinstance(value, dict):
            what = f"The row is {kind_of(value)}, not an object."
            log.add(Problem(what, where, 'Write {"text": ..., "label": ...}.'))
            continue
        missing = list(missing_columns(list(value), columns))
        # The first row stands for the file: one message instead of the same one for every row.
        for problem in missing:
            log.add(Problem(problem.what, where if seen_any else name, problem.remedy))
        if missing and not seen_any:
            return
        seen_any = True
        if not missing:
            yield Record(row, line, value[columns.text], value[columns.label])


def _line_around(content: bytes, at: int) -> bytes:
    end = content.find(b"\n", at)
    return content[content.rfind(b"\n", 0, at) + 1 : end if end >= 0 else len(content)]


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]
