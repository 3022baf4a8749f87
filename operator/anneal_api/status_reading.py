"""Reads a status that another release of anneal may have written."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from anneal_api.status import FineTuneJobStatus


def read_status(document: Mapping[str, Any]) -> tuple[FineTuneJobStatus, tuple[str, ...]]:
    """Reads a status that another release of anneal may have written.

    Words and fields that this release does not know are kept. What it cannot read is left out, and no more than that:
    an optional field, or the element of a list that lacks something without it.

    Args:
        document: The `status` of a FineTuneJob; empty where none is written yet.

    Returns:
        The status, and the places that are left out, such as `versions[1].refused`.
    """
    readable, left_out = dict(document), list[str]()
    while True:
        try:
            status = FineTuneJobStatus.model_validate(readable)
        except ValidationError as error:
            if not left_out:
                readable = copy.deepcopy(readable)  # what is taken out of it stays in the caller's
            places = {_innermost(readable, details["loc"]) for details in error.errors()}
        else:
            return status, tuple(place for place in left_out if not _is_inside(place, left_out))
        # The last elements of a list first, so that the others keep their numbers.
        for place in sorted(places, key=_depth_first, reverse=True):
            if _take_out(readable, place):
                left_out.append(_written(place))


_Place = tuple[str | int, ...]


def _is_inside(place: str, others: list[str]) -> bool:
    return any(place.startswith((f"{other}.", f"{other}[")) for other in others)


def _innermost(document: Any, location: _Place) -> _Place:  # noqa: ANN401  # any JSON
    """Returns the innermost place of a document that an error is about, where something is."""
    place: _Place = ()
    for step in location:
        inside = isinstance(document, dict) and step in document
        inside |= isinstance(document, list) and isinstance(step, int) and step < len(document)
        if not inside:
            break  # it is missing, or a name that only the schema has
        document, place = document[step], (*place, step)
    return place


def _depth_first(place: _Place) -> list[tuple[int, str]]:
    return [(step, "") if isinstance(step, int) else (-1, step) for step in place]


def _take_out(document: Any, place: _Place) -> bool:  # noqa: ANN401  # any JSON
    *outer, last = place
    for step in outer:
        present = isinstance(document, list) or step in document
        if not present:
            return False
        document = document[step]
    if isinstance(document, dict) and last not in document:
        return False
    del document[last]
    return True


def _written(place: _Place) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")
