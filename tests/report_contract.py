"""What writing a report relies on: held against the tiny server of the unit tests, and against a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from anneal_trainer.cluster.configmap import ApiAccess, ConfigMapKey
from anneal_trainer.cluster.report import ReportNotWrittenError

OWNER = "6f3c2a10-0000-4000-8000-000000000001"
STRANGER = "6f3c2a10-0000-4000-8000-000000000002"


class World(Protocol):
    """An API server with the ConfigMap of an attempt of a job.

    Attributes:
        namespace: Namespace of the ConfigMap.
        name: Its name.
        owner: UID of the job.
        stranger: UID of another object.
    """

    namespace: str
    name: str
    owner: str
    stranger: str

    def access(self) -> ApiAccess:
        """How the pod reaches it."""

    def read(self) -> dict[str, Any]:
        """The ConfigMap, as an administrator sees it."""

    def set(self, key: str, value: str) -> None:
        """Somebody else writes into the ConfigMap."""

    def recreate(self, owner_uid: str) -> None:
        """Another ConfigMap of the same name takes its place."""

    def delete(self) -> None:
        """The ConfigMap goes."""

    def spoil_token(self) -> None:
        """The pod's token is no longer taken."""


def key(world: World, name: str = "train.json") -> ConfigMapKey:
    return ConfigMapKey(
        world.access(), namespace=world.namespace, name=world.name, key=name, owner_uid=world.owner
    )


def writes_its_own_key_and_no_other(world: World) -> None:
    world.set("prepare.json", "theirs")
    train = key(world)
    train.write('{"step":1}')
    train.write('{"step":2,"text":"na\u00efve \u65e5\u672c"}')
    data = world.read()["data"]
    assert data["prepare.json"] == "theirs"
    assert json.loads(data["train.json"]) == {"step": 2, "text": "na\u00efve \u65e5\u672c"}


def another_writer_is_no_obstacle(world: World) -> None:
    train = key(world)
    train.write("one")
    world.set("prepare.json", "theirs")
    train.write("two")
    assert world.read()["data"] == {"prepare.json": "theirs", "train.json": "two"}


def a_late_request_changes_nothing(world: World) -> None:
    late = key(world)
    late.write("old")
    before = world.read()["metadata"]
    key(world).write("new")
    patch = {
        "metadata": {"uid": before["uid"], "resourceVersion": before["resourceVersion"]},
        "data": {"train.json": "older"},
    }
    path = f"/api/v1/namespaces/{world.namespace}/configmaps/{world.name}"
    status, _ = world.access().request("PATCH", path, patch)
    assert status == 409
    assert world.read()["data"]["train.json"] == "new"


def a_config_map_of_a_newer_job_of_the_same_name_is_left_alone(world: World) -> None:
    train = key(world)
    train.write("one")
    world.recreate(world.stranger)
    with pytest.raises(ReportNotWrittenError, match="another object of the same name") as caught:
        train.write("two")
    assert caught.value.hopeless
    assert not world.read().get("data")


def one_that_was_made_anew_for_the_same_job_is_written(world: World) -> None:
    train = key(world)
    train.write("one")
    world.recreate(world.owner)
    train.write("two")
    assert world.read()["data"] == {"train.json": "two"}


def one_that_is_gone_is_hopeless(world: World) -> None:
    world.delete()
    with pytest.raises(ReportNotWrittenError, match="not found") as caught:
        key(world).write("one")
    assert caught.value.hopeless


def a_token_that_is_not_taken_may_be_renewed(world: World) -> None:
    world.spoil_token()
    with pytest.raises(ReportNotWrittenError, match="401") as caught:
        key(world).write("one")
    assert not caught.value.hopeless


def a_full_report_is_taken(world: World) -> None:
    text = json.dumps({"text": "\u65e5" * 21_000}, ensure_ascii=False)
    assert 63_000 < len(text.encode()) < 64 * 1024
    key(world).write(text)
    assert world.read()["data"]["train.json"] == text


CONTRACT: tuple[Callable[[World], None], ...] = (
    writes_its_own_key_and_no_other,
    another_writer_is_no_obstacle,
    a_late_request_changes_nothing,
    a_config_map_of_a_newer_job_of_the_same_name_is_left_alone,
    one_that_was_made_anew_for_the_same_job_is_written,
    one_that_is_gone_is_hopeless,
    a_token_that_is_not_taken_may_be_renewed,
    a_full_report_is_taken,
)
