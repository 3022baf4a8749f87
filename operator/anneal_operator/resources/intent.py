"""Whether an object of the cluster still is what the operator wants it to be.

Every body that the builders make carries a digest of itself. An object whose digest is another one was made from
another intent. One whose digest is right may have been edited since, so the fields of the intent are compared as
well: those and no others, because the API server, KubeRay and admission webhooks add fields of their own.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from anneal_api.schema import parse_quantity
from anneal_operator.resources.ownership import Object

SPEC_HASH = "anneal.dev/spec-hash"
"""Annotation with the digest of the intent that an object was made from."""

_LIST_KEYS = ("uid", "mountPath", "name", "key")
_QUANTITIES = frozenset({"requests", "limits"})
_SIZE = "sizeLimit"


def stamped(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a copy of a body with its digest as an annotation.

    Args:
        body: The whole intent. A digest that it carries already is replaced.
    """
    return copy.deepcopy(_with_digest(body))


def digest_of(child: Object) -> str:
    """Returns the digest of the intent that an object was made from; empty where it carries none."""
    return str((child["metadata"].get("annotations") or {}).get(SPEC_HASH, ""))


def differs(child: Object, body: Mapping[str, Any]) -> bool:
    """Returns whether an object has to be applied anew.

    Args:
        child: The object as the API server has it.
        body: The intent, as a builder made it.
    """
    intent = _with_digest(body)
    return digest_of(child) != digest_of(intent) or not _holds(child, intent, "")


def _with_digest(body: Mapping[str, Any]) -> dict[str, Any]:
    annotations = {**body["metadata"].get("annotations", {})}
    annotations.pop(SPEC_HASH, None)
    metadata = {**body["metadata"], "annotations": annotations}
    text = json.dumps(
        {**body, "metadata": metadata}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    annotations[SPEC_HASH] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {**body, "metadata": metadata}


def _holds(live: object, wanted: object, field: str) -> bool:
    """Whether a live value has everything that is wanted of it."""
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return not wanted and live is None
        inner = _SIZE if field in _QUANTITIES else ""
        return all(_holds(live.get(name), value, inner or name) for name, value in wanted.items())
    if isinstance(wanted, list):
        if not isinstance(live, list):
            return not wanted and live is None
        return _list_holds(live, wanted, field)
    if live == wanted and isinstance(live, bool) == isinstance(wanted, bool):
        return True
    return field == _SIZE and _same_amount(live, wanted)


def _list_holds(live: Sequence[object], wanted: Sequence[object], field: str) -> bool:
    key = next((key for key in _LIST_KEYS if wanted and all(_has(item, key) for item in wanted)), None)
    if key is None:
        same_length = len(live) == len(wanted)
        return same_length and all(_holds(one, two, field) for one, two in zip(live, wanted, strict=True))
    # Others may have put items of their own between ours: sidecars, injected variables, further owners.
    by_key = {item[key]: item for item in live if isinstance(item, Mapping) and key in item}
    return all(_holds(by_key.get(item[key]), item, field) for item in wanted if isinstance(item, Mapping))


def _has(item: object, key: str) -> bool:
    return isinstance(item, Mapping) and key in item


def _same_amount(live: object, wanted: object) -> bool:
    """Whether two quantities are one amount: typed clients write `1024Mi` as `1Gi`."""
    try:
        return parse_quantity(str(live)) == parse_quantity(str(wanted))
    except ValueError:
        return False
