from __future__ import annotations

import copy
from typing import Any

import pytest
from crd_cases import good_manifest

from anneal_api.suggestions import manifest_fields
from anneal_api.support import CLUSTER_ONLY, LATER, LATER_SCHEMES, SCHEMES, Place
from anneal_api.validation import validate

Manifest = dict[str, Any]

EXAMPLES: dict[str, object] = {
    "spec.model.secretRef": {"name": "hub-token"},
    "spec.store.secretRef": {"name": "s3"},
    "spec.data.secretRef": {"name": "s3"},
    "spec.data.augment": [{"synonyms": {"rate": 0.1}}],
    "spec.data.evalSets": [{"name": "negation", "kind": "edge-case", "uri": "negation.csv"}],
    "spec.data.slices": ["region"],
    "spec.training.parallelism": {"shard": 2},
    "spec.training.lora": {},
    "spec.training.pretrain": {},
    "spec.tuning": {"trials": 4, "space": {"learningRate": {"choice": [1e-5]}}},
    "spec.resources.minWorkers": 1,
    "spec.resources.memory": "16Gi",
    "spec.resources.sharedMemory": "4Gi",
    "spec.resources.nodeSelector": {"gpu": "a100"},
    "spec.resources.tolerations": [{"key": "gpu"}],
    "spec.resources.queue": "team-a",
    "spec.evaluation.gates[].slice": "region",
    "spec.evaluation.gates[].maxGap": 0.05,
    "spec.compression.variants[].prune": {"heads": 0.3},
    "spec.compression.variants[].distill": {"layers": 3},
    "spec.rollout": {},
    "spec.retention": {},
    "spec.deadline": "12h",
    "spec.suspend": True,
}
"""Per field that does nothing somewhere, a value that is well-formed."""


@pytest.fixture
def manifests(manifest: Manifest) -> dict[Place, Manifest]:
    """Per place, a manifest without a fault."""
    return {Place.MACHINE: manifest, Place.CLUSTER: good_manifest()}


def with_value(manifest: Manifest, path: str, value: object) -> Manifest:
    changed = copy.deepcopy(manifest)
    part: Any = changed
    *parents, last = path.split(".")
    for parent in parents:
        name, item, _ = parent.partition("[]")
        part = part[name][0] if item else part.setdefault(name, {"uri": "store"} if name == "store" else {})
    part[last] = value
    if path == "spec.data.secretRef":
        changed["spec"]["data"]["train"] = {"uri": "s3://datasets/reviews.csv"}  # what it opens
    if path == "spec.store.secretRef" and part["uri"] != "store":
        part["uri"] = "s3://models/anneal"  # on one machine a store is in no bucket
    return changed


def test_every_field_that_does_nothing_somewhere_has_an_example() -> None:
    assert set(EXAMPLES) == {*LATER, *CLUSTER_ONLY}
    assert not set(LATER) & set(CLUSTER_ONLY)


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize("path", sorted(LATER))
def test_a_field_of_later_is_refused(manifests: dict[Place, Manifest], path: str, place: Place) -> None:
    problems = validate(with_value(manifests[place], path, EXAMPLES[path]), place).problems
    told = {problem.where: problem for problem in problems}
    problem = told[path.replace("[]", "[0]")]
    assert "not supported yet" in problem.what
    assert problem.remedy


@pytest.mark.parametrize("path", sorted(CLUSTER_ONLY))
def test_a_field_of_clusters_is_refused_on_a_machine_only(
    manifests: dict[Place, Manifest], path: str
) -> None:
    name = path.rpartition(".")[2]
    (problem,) = validate(with_value(manifests[Place.MACHINE], path, EXAMPLES[path])).problems
    assert problem.where == path
    assert problem.what == f"`{name}` means nothing on one machine."
    assert problem.remedy.startswith("Remove it")
    assert problem.remedy.endswith(", or apply the manifest to a cluster.")
    on_cluster = with_value(manifests[Place.CLUSTER], path, EXAMPLES[path])
    assert validate(on_cluster, Place.CLUSTER).problems == ()


@pytest.mark.parametrize("place", Place)
@pytest.mark.parametrize("path", sorted(path for path in EXAMPLES if "[]" not in path))
def test_a_field_at_its_default_is_accepted(
    manifests: dict[Place, Manifest], path: str, place: Place
) -> None:
    if place is Place.MACHINE and path.startswith("spec.store"):
        manifests[place]["spec"]["store"] = {"uri": "store"}
    default = manifest_fields()[path].default
    written = {} if path == "spec.training.parallelism" else default
    if written is None:  # as left out
        return
    assert validate(with_value(manifests[place], path, written), place).problems == ()


@pytest.mark.parametrize("place", Place)
def test_a_task_of_later_is_refused_once(manifests: dict[Place, Manifest], place: Place) -> None:
    manifests[place]["spec"]["task"] = "summarization"
    problems = validate(manifests[place], place).problems
    assert [problem.where for problem in problems] == ["spec.task"]
    assert "not supported yet" in problems[0].what


def with_place(manifest: Manifest, path: str, uri: str) -> Manifest:
    if path == "spec.data.validation.uri":
        del manifest["spec"]["data"]["split"]["validation"]
    if path == "spec.data.test.uri":
        del manifest["spec"]["data"]["split"]["test"]
    if path == "spec.model.source":
        manifest["spec"]["model"].pop("revision", None)
    return with_value(manifest, path, uri)


@pytest.mark.parametrize(
    ("path", "scheme", "place"),
    [
        (path, scheme, place)
        for path, places in sorted(SCHEMES.items())
        for place in Place
        for scheme in (*sorted(LATER_SCHEMES), "GS")
        if scheme.lower() not in places[place]
    ],
)
def test_a_place_of_later_is_refused(
    manifests: dict[Place, Manifest], path: str, scheme: str, place: Place
) -> None:
    problems = validate(with_place(manifests[place], path, f"{scheme}://bucket/reviews"), place).problems
    assert [problem.where for problem in problems] == [path]
    assert "not supported yet" in problems[0].what
    assert ("pvc://CLAIM/PATH" in problems[0].remedy) == (place is Place.CLUSTER)


@pytest.mark.parametrize("path", sorted(set(SCHEMES) - {"spec.store.uri"}))
@pytest.mark.parametrize("uri", ["s3://datasets/reviews", "S3://my.bucket-2"])
def test_data_and_model_may_lie_in_a_bucket(manifests: dict[Place, Manifest], path: str, uri: str) -> None:
    for place, manifest in manifests.items():
        assert validate(with_place(manifest, path, uri), place).problems == ()


@pytest.mark.parametrize("uri", ["s3://models/anneal", "S3://my.bucket-2"])
def test_a_store_may_lie_in_a_bucket_on_a_cluster_only(manifests: dict[Place, Manifest], uri: str) -> None:
    on_cluster = with_place(manifests[Place.CLUSTER], "spec.store.uri", uri)
    assert validate(on_cluster, Place.CLUSTER).problems == ()
    (problem,) = validate(with_place(manifests[Place.MACHINE], "spec.store.uri", uri)).problems
    assert problem.where == "spec.store.uri"
    assert problem.what == "On one machine data and models may lie in a bucket, but not the store."
    assert problem.remedy == "Use a path on this machine, or apply the manifest to a cluster."


@pytest.mark.parametrize("path", sorted(SCHEMES))
def test_a_claim_is_a_place_of_clusters(manifests: dict[Place, Manifest], path: str) -> None:
    uri = "pvc://claim/reviews"
    assert validate(with_place(manifests[Place.CLUSTER], path, uri), Place.CLUSTER).problems == ()
    (problem,) = validate(with_place(manifests[Place.MACHINE], path, uri)).problems
    assert problem.where == path
    assert "on a cluster" in problem.what


@pytest.mark.parametrize("path", sorted(SCHEMES))
def test_a_config_map_is_a_place_of_data_on_clusters(manifests: dict[Place, Manifest], path: str) -> None:
    uri = "configmap://reviews/train.csv"
    on_cluster = validate(with_place(manifests[Place.CLUSTER], path, uri), Place.CLUSTER).problems
    (on_machine,) = validate(with_place(manifests[Place.MACHINE], path, uri)).problems
    assert on_machine.where == path
    if path.startswith("spec.data."):
        assert on_cluster == ()
        assert "on a cluster" in on_machine.what
    else:
        assert "not known here" in on_machine.what
        assert [problem.what for problem in on_cluster] == [on_machine.what]


@pytest.mark.parametrize("path", sorted(SCHEMES))
@pytest.mark.parametrize("uri", ["./reviews", "/data/reviews", "file:///data/reviews", "a/b/c", "~/reviews"])
def test_a_disk_is_a_place_of_machines(manifests: dict[Place, Manifest], path: str, uri: str) -> None:
    assert validate(with_place(manifests[Place.MACHINE], path, uri)).problems == ()
    (problem,) = validate(with_place(manifests[Place.CLUSTER], path, uri), Place.CLUSTER).problems
    assert problem.where == path
    assert "does not have the disk" in problem.what
    assert "pvc://CLAIM/PATH" in problem.remedy
    assert ("pkg://" in problem.remedy) == (path != "spec.store.uri")
    assert "s3://BUCKET/" in problem.remedy
    assert ("configmap://NAME/FILE" in problem.remedy) == path.startswith("spec.data.")


@pytest.mark.parametrize("source", ["bert-base-uncased", "google-bert/bert-base-uncased", "pkg://bert/model"])
def test_a_model_of_the_hub_or_the_image_is_for_both(manifests: dict[Place, Manifest], source: str) -> None:
    for place, manifest in manifests.items():
        assert validate(with_place(manifest, "spec.model.source", source), place).problems == ()


def test_a_rule_is_not_told_beside_what_the_place_refuses_anyway(manifests: dict[Place, Manifest]) -> None:
    broken = with_value(manifests[Place.CLUSTER], "spec.data.train.uri", "file://reviews.csv")
    (problem,) = validate(broken, Place.CLUSTER).problems
    assert "does not have the disk" in problem.what
