"""Makes a report fit into what the operator reads. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_SHORTEST_CUT_TEXT = 64
"""Words of closed sets, identities and times are shorter, and must stay whole."""

_ELLIPSIS = "\u2026"


def fitted(document: dict[str, Any], limit: int) -> str:
    """Returns a document as JSON of at most so many bytes.

    The longest list loses its last item until it fits; where no list has any left, the longest text is halved.

    Args:
        document: Plain JSON; it is altered.
        limit: Bytes in UTF-8.

    Raises:
        ValueError: There is nothing left to cut.
    """
    text = _json(document)
    while len(text.encode()) > limit:
        if not _cut_longest_list(document) and not _halve_longest_text(document):
            raise ValueError(f"a report without lists and long texts still has more than {limit} bytes")
        text = _json(document)
    return text


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _cut_longest_list(document: dict[str, Any]) -> bool:
    # A list of plain values is part of an item, for instance the two ends of an interval.
    lists = [
        value
        for _, _, value in _places(document)
        if isinstance(value, list) and value and isinstance(value[0], dict)
    ]
    if not lists:
        return False
    max(lists, key=lambda items: len(_json(items).encode())).pop()
    return True


def _halve_longest_text(document: dict[str, Any]) -> bool:
    texts = [place for place in _places(document) if isinstance(place[2], str)]
    if not texts:
        return False
    holder, key, text = max(texts, key=lambda place: len(place[2].encode()))
    if len(text) <= _SHORTEST_CUT_TEXT:
        return False
    holder[key] = text[: len(text) // 2 - 1] + _ELLIPSIS
    return True


def _places(value: object) -> Iterator[tuple[Any, Any, Any]]:
    """Yields holder, key and value of everything below a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key, inner
        yield from _places(inner)
