"""An operator that is newer than the CRD writes what the CRD takes, and says what it lacks."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from model_cluster import ModelCluster

from anneal_api.crd_schema import structural
from anneal_api.status import FineTuneJobStatus
from anneal_operator.cluster.served_status import ServedStatus

OWN = structural(FineTuneJobStatus, defaults=False)


@pytest.fixture(scope="module")
def status() -> dict[str, Any]:
    cluster = ModelCluster()
    cluster.fail("UserCode")
    cluster.go(until="Ready")
    return cluster.status


def older(*, without: str = "", words: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """Returns the schema of a release that did not have a field, or had fewer words."""
    schema = copy.deepcopy(OWN)
    if without:
        *parents, last = without.split(".")
        at = schema
        for step in parents:
            at = at["properties"][step]
            at = at.get("items", at)
        del at["properties"][last]
        at["required"] = [name for name in at.get("required", []) if name != last]
    for place, allowed in (words or {}).items():
        at = schema
        for step in place.split("."):
            at = at["properties"][step]
            at = at.get("items", at)
        at["enum"] = allowed
    return schema


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns a schema that refuses unknown fields, as a server-side apply does."""
    inner = {name: strict(part) if isinstance(part, dict) else part for name, part in schema.items()}
    if "properties" in schema:
        inner["properties"] = {name: strict(part) for name, part in schema["properties"].items()}
        inner["additionalProperties"] = False
    return inner


def test_a_crd_of_this_release_takes_everything(status):
    served = ServedStatus()
    assert served.fitted(status) == status
    assert served.take(OWN) == ()
    assert served.fitted(status) == status


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("droppedRows", "status.droppedRows"),
        ("run.partSeen", "status.run.partSeen"),
        ("versions.shaping", "status.versions[].shaping"),
    ],
)
def test_a_field_that_the_crd_lacks_is_left_out_and_told(status, without, said):
    schema, served = older(without=without), ServedStatus()
    assert served.take(schema) == (said,)
    fitted = served.fitted(status)
    assert list(Draft202012Validator(strict(schema)).iter_errors(fitted)) == []
    assert fitted["phase"] == "Ready"
    assert fitted["run"]["attempt"] == status["run"]["attempt"]


def test_words_that_the_crd_does_not_know_take_their_element_along_and_no_more(status):
    types = [condition["type"] for condition in status["conditions"]]
    schema = older(words={"conditions.type": types[1:]})
    served = ServedStatus()
    served.take(schema)
    fitted = served.fitted(status)
    assert list(Draft202012Validator(strict(schema)).iter_errors(fitted)) == []
    assert [condition["type"] for condition in fitted["conditions"]] == types[1:]
    assert fitted["versions"] == status["versions"]


def test_a_server_that_does_not_say_is_given_everything(status):
    served = ServedStatus()
    assert served.take(None) == ()
    assert served.fitted(status) == status
