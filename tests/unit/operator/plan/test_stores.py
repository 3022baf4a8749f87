"""What runs or serves stays in the store that it began in, whatever the operator's own store becomes."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from model_cluster import SPEC, ModelCluster

from anneal_operator.settings import Settings

WITHOUT_STORE = {name: part for name, part in SPEC.items() if name != "store"}
FIRST = Settings(image="anneal/runtime:1", store="pvc://models/anneal")
OTHERS = [
    Settings(image="anneal/runtime:1", store="pvc://models/elsewhere"),
    Settings(image="anneal/runtime:1", store="pvc://other"),
    Settings(image="anneal/runtime:1", store="s3://bucket/prefix", store_secret="bucket"),
    Settings(image="anneal/runtime:1", store=""),
]


def begun(phase: str, spec: dict[str, Any] | None = None) -> ModelCluster:
    cluster = ModelCluster(spec or WITHOUT_STORE, FIRST)
    cluster.go(until=phase)
    return cluster


def stores(cluster: ModelCluster) -> set[str]:
    """Returns every place that a workload was told of, and every claim that it mounts."""
    made = [cluster.objects[place] for place in cluster.created if place in cluster.objects]
    text = json.dumps([body.get("spec") for body in made])
    known = ("pvc/models/anneal", "models/anneal", "elsewhere", "pvc/other", "pvc://other", "s3://bucket")
    return {place for place in known if place in text}


@pytest.mark.parametrize("settings", OTHERS, ids=["path", "claim", "bucket", "none"])
def test_another_store_of_the_operator_moves_no_service(settings):
    cluster = begun("Ready")
    service = copy.deepcopy(cluster.objects["RayService", "reviews"]["spec"])
    cluster.settings = settings
    cluster.go(3)
    assert cluster.status["phase"] == "Ready"
    assert cluster.objects["RayService", "reviews"]["spec"] == service


@pytest.mark.parametrize("settings", OTHERS, ids=["path", "claim", "bucket", "none"])
@pytest.mark.parametrize("phase", ["Preparing", "Training", "Finishing"])
def test_it_moves_no_attempt_and_none_that_follows_it(settings, phase):
    cluster = begun(phase)
    cluster.settings = settings
    cluster.work()
    cluster.work()
    if phase == "Training":
        cluster.fail("Collective")
    cluster.go(until="Ready")
    assert stores(cluster) == {"pvc/models/anneal", "models/anneal"}
    assert cluster.status["versions"][0]["store"] == {
        "uri": "pvc://models/anneal",
        "secretName": "",
        "fromOperator": True,
    }


def test_the_next_version_is_numbered_and_measured_where_the_last_one_lies():
    cluster = begun("Ready")
    cluster.settings = OTHERS[1]
    cluster.edit(training={"epochs": 9})
    cluster.go(until="Ready")
    assert cluster.status["servedVersion"] == "v2"
    assert stores(cluster) == {"pvc/models/anneal", "models/anneal"}


def test_a_manifest_that_names_another_store_moves_the_next_version_alone():
    cluster = begun("Ready", SPEC)
    service = copy.deepcopy(cluster.objects["RayService", "reviews"]["spec"])
    cluster.edit(store={"uri": "pvc://other/place"}, training={"epochs": 9})
    cluster.go(until="Training")
    cluster.settle()
    assert cluster.objects["RayService", "reviews"]["spec"] == service, "the first version is where it was"
    cluster.go(until="Ready")
    assert cluster.status["versions"][-1]["store"]["uri"] == "pvc://other/place"
    assert "pvc/other/place" in json.dumps(cluster.objects["RayService", "reviews"]["spec"])


def test_a_job_that_was_made_before_has_its_store_recorded():
    cluster = begun("Ready")
    cluster.job["status"]["versions"][0].pop("store")
    cluster.job["status"]["run"].pop("store")
    cluster.settle()
    cluster.settings = OTHERS[1]
    service = copy.deepcopy(cluster.objects["RayService", "reviews"]["spec"])
    cluster.go(3)
    assert cluster.objects["RayService", "reviews"]["spec"] == service


def test_the_clean_up_empties_the_store_that_the_job_has_used():
    cluster = begun("Ready", {**WITHOUT_STORE, "retention": {"onDelete": "Delete"}})
    cluster.settings = OTHERS[1]
    cluster.delete_job()
    spec = json.dumps(cluster.go_until_made("Job", "reviews-cleanup")["spec"])
    assert "pvc://models/anneal" in spec
    assert "other" not in spec
