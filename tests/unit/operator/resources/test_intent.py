from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resource_samples import FULL, Sample, objects

from anneal_operator.resources.intent import SPEC_HASH, differs, digest_of, stamped

BODIES = objects(Sample(FULL))


def as_stored(body: Any) -> Any:
    """An object after defaulting, admission and some time: every mapping has more than was sent."""
    if isinstance(body, dict):
        return {**{name: as_stored(value) for name, value in body.items()}, "byTheServer": {"a": 1}}
    if isinstance(body, list):
        return [as_stored(item) for item in body]
    return body


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from leaves(part, (*path, name))
    elif isinstance(value, list) and value:
        for index, part in enumerate(value):
            yield from leaves(part, (*path, index))
    else:
        yield path


def at(body: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        body = body[step]
    return body


@pytest.mark.parametrize("name", BODIES)
def test_what_the_server_adds_is_no_difference(name: str) -> None:
    live = as_stored(BODIES[name])
    live["metadata"] |= {"uid": "x", "resourceVersion": "1", "managedFields": []}
    live["status"] = {"ready": True}
    assert not differs(live, BODIES[name])


@pytest.mark.parametrize("name", BODIES)
def test_every_edit_of_what_was_sent_is_a_difference(name: str) -> None:
    body = BODIES[name]
    paths = list(leaves(body))
    assert len(paths) > 15
    for path in paths:
        live = as_stored(copy.deepcopy(body))
        value = at(body, path)
        at(live, path[:-1])[path[-1]] = "edited" if value != "edited" else "again"
        if value in ({}, []):
            continue
        assert differs(live, body), path


@pytest.mark.parametrize("name", BODIES)
def test_everything_that_was_taken_away_is_a_difference(name: str) -> None:
    body = BODIES[name]
    for path in leaves(body):
        if at(body, path) in ({}, []):
            continue
        live = as_stored(copy.deepcopy(body))
        del at(live, path[:-1])[path[-1]]
        assert differs(live, body), path


@pytest.mark.parametrize("name", BODIES)
def test_builders_stamp_and_stamping_twice_changes_nothing(name: str) -> None:
    assert digest_of(BODIES[name])
    assert stamped(BODIES[name]) == BODIES[name]


def test_another_intent_is_a_difference_even_where_the_object_has_all_of_it() -> None:
    body = Sample(FULL).training
    live = as_stored(body)
    wanted = copy.deepcopy(body)
    del wanted["spec"]["suspend"]
    assert differs(live, stamped(wanted))
    # A body that nobody stamped is compared as if it were.
    assert not differs(as_stored(stamped(wanted)), wanted)


@pytest.mark.parametrize(
    ("sent", "stored", "same"),
    [
        ("1024Mi", "1Gi", True),
        ("1000m", "1", True),
        ("1500m", "1.5", True),
        ("1Gi", "2Gi", False),
        ("1Gi", "much", False),
    ],
)
def test_amounts_are_compared_as_amounts(sent: str, stored: str, same: bool) -> None:
    body = stamped(
        {"metadata": {"name": "a"}, "spec": {"resources": {"limits": {"memory": sent}}, "sizeLimit": sent}}
    )
    live = copy.deepcopy(body)
    live["spec"]["resources"]["limits"]["memory"] = stored
    assert differs(live, body) is not same
    live = copy.deepcopy(body)
    live["spec"]["sizeLimit"] = stored
    assert differs(live, body) is not same


def test_amounts_elsewhere_are_text() -> None:
    body = stamped({"metadata": {"name": "a"}, "env": [{"name": "A", "value": "1"}]})
    live = copy.deepcopy(body)
    live["env"][0]["value"] = "1000m"
    assert differs(live, body)


def test_true_is_not_one() -> None:
    body = stamped({"metadata": {"name": "a"}, "spec": {"flag": True, "count": 1}})
    assert differs({**body, "spec": {"flag": 1, "count": 1}}, body)
    assert differs({**body, "spec": {"flag": True, "count": True}}, body)


def test_items_of_others_between_ours_are_no_difference() -> None:
    body = BODIES["prepare"]
    live = as_stored(copy.deepcopy(body))
    pod = live["spec"]["template"]["spec"]
    pod["containers"].insert(0, {"name": "mesh", "image": "mesh"})
    pod["volumes"].insert(0, {"name": "token", "projected": {}})
    pod["containers"][1]["env"].insert(0, {"name": "A", "value": "1"})
    live["metadata"]["ownerReferences"].insert(0, {"uid": "other", "name": "reviews"})
    assert not differs(live, body)
    del pod["containers"][1]
    assert differs(live, body)


def test_nothing_of_a_missing_digest_is_trusted() -> None:
    body = BODIES["manifest"]
    live = copy.deepcopy(body)
    live["metadata"]["annotations"] = None
    assert digest_of(live) == ""
    assert differs(live, body)
    del live["metadata"]["annotations"]
    assert differs(live, body)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5) | st.booleans(), max_size=4))
def test_the_digest_is_of_the_content(data: dict[str, Any]) -> None:
    body = {"metadata": {"name": "a"}, "data": data}
    turned = {
        "data": dict(reversed(data.items())),
        "metadata": {"annotations": {SPEC_HASH: "old"}, "name": "a"},
    }
    assert digest_of(stamped(body)) == digest_of(stamped(turned))
    assert digest_of(stamped(body)) != digest_of(stamped({**body, "more": 1}))
    assert "annotations" not in body["metadata"]
