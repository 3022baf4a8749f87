"""Whatever is written into a manifest, validate() answers with problems and never raises."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anneal_api.suggestions import manifest_fields
from anneal_api.validation import Validation, validate

_WORDS = st.sampled_from(sorted({field.name for field in manifest_fields().values()}))
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | _WORDS
_KEYS = _WORDS | st.text(max_size=12)
_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(_KEYS, parts, max_size=6),
    max_leaves=30,
)


def _consistent(validation: Validation) -> None:
    assert (validation.job is None) == bool(validation.problems)
    for problem in validation.problems:
        assert problem.what
        assert problem.what.isprintable()
        assert problem.where.isprintable()


@given(_DOCUMENTS)
@settings(max_examples=300, deadline=None)
def test_any_document(document: object) -> None:
    _consistent(validate(document))


@given(spec=st.dictionaries(_KEYS, _DOCUMENTS, max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_spec(spec: dict[str, object]) -> None:
    head = {"apiVersion": "anneal.dev/v1alpha1", "kind": "FineTuneJob", "metadata": {"name": "x"}}
    _consistent(validate({**head, "spec": spec}))


def _places(part: object, location: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if location:
        yield location
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _places(value, (*location, key))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            yield from _places(value, (*location, index))


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_good_manifest_changed_anywhere(manifest: dict[str, Any], data: st.DataObject) -> None:
    changed = copy.deepcopy(manifest)
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(sorted(_places(changed), key=str)))
        part: Any = changed
        for parent in parents:
            part = part[parent]
        action = data.draw(st.sampled_from(["replace", "remove", "rename"]))
        if action == "replace":
            part[last] = data.draw(_DOCUMENTS)
        elif action == "rename" and isinstance(part, dict):
            part[data.draw(_KEYS)] = part.pop(last)
        else:
            del part[last]
        if not list(_places(changed)):
            break
    _consistent(validate(changed))
