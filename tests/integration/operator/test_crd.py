"""The CustomResourceDefinition on a real API server: accepted, and of one mind with `anneal validate`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.apiserver import ApiServer
from crd_cases import BROKEN, REMOVED, SCHEMA_BROKEN, Broken, changed, good_manifest
from ruamel.yaml import YAML

from anneal_api.crd import PLURAL, custom_resource_definition
from anneal_api.identity import API_VERSION, KIND
from anneal_api.job import FineTuneJob
from anneal_api.status import FineTuneJobStatus
from anneal_api.support import Place
from anneal_api.validation import validate

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("established")]

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_MANIFESTS = Path(__file__).parents[3] / "manifests"
_NAME = custom_resource_definition()["metadata"]["name"]

Manifest = dict[str, Any]
Create = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def established(apiserver: ApiServer) -> dict[str, Any]:
    """Applies the definition, waits until the server serves it, and returns what the server made of it."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{_NAME}"
    query = "?fieldManager=test&force=true&fieldValidation=Strict"
    status, answer = apiserver.request("PATCH", path + query, custom_resource_definition(), media_type=_APPLY)
    assert status in {200, 201}, answer
    deadline = time.monotonic() + 30
    while not _holds(answer, "Established") or apiserver.request("GET", _jobs("default"))[0] != 200:
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)
        answer = apiserver.request("GET", path)[1]
    assert isinstance(answer, dict)
    return answer


@pytest.fixture
def create(apiserver: ApiServer, namespace: str) -> Create:
    """Creates a job in the test's namespace, as strictly as kubectl does; by default it is only tried."""

    def _create(manifest: Manifest, *, dry_run: bool = True) -> tuple[int, Any]:
        query = "?fieldValidation=Strict" + "&dryRun=All" * dry_run
        return apiserver.request("POST", _jobs(namespace) + query, manifest)

    return _create


def _jobs(namespace: str, name: str = "") -> str:
    return f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}{f'/{name}' if name else ''}"


def _holds(definition: dict[str, Any], condition: str) -> bool:
    conditions = definition["status"]["conditions"] or []
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)


def _own_manifests() -> Iterator[Any]:
    for path in sorted(_MANIFESTS.rglob("*.yaml")):
        for document in YAML(typ="safe").load_all(path):
            if isinstance(document, dict) and document.get("kind") == KIND:
                yield pytest.param(document, id=str(path.relative_to(_MANIFESTS)))


def _causes(answer: Any) -> list[tuple[str, str]]:
    return [(cause.get("field", ""), cause["message"]) for cause in answer["details"]["causes"]]


def test_the_server_finds_nothing_wrong_with_it(established: dict[str, Any]) -> None:
    assert _holds(established, "NamesAccepted")
    assert not _holds(established, "NonStructuralSchema")
    # Nothing was dropped or rewritten on the way in.
    ours, theirs = custom_resource_definition()["spec"], established["spec"]
    assert theirs["versions"][0]["schema"] == ours["versions"][0]["schema"]
    assert theirs["names"] == ours["names"]


@pytest.mark.parametrize("manifest", list(_own_manifests()))
def test_our_own_manifests_are_taken_or_refused_as_validate_says(create: Create, manifest: Manifest) -> None:
    status, answer = create(manifest)
    if validate(manifest, Place.CLUSTER).problems:
        # What is for one machine alone names files on its disk.
        assert validate(manifest, Place.MACHINE).problems == ()
        assert status == 422
        assert all("does not have the disk" in message for _, message in _causes(answer))
    else:
        assert status == 201, answer


def test_a_job_is_the_same_after_the_server_has_filled_it_in(create: Create) -> None:
    manifest = good_manifest()
    for part in ("training", "resources", "compression"):
        del manifest["spec"][part]
    sources = {name: {"uri": f"pvc://datasets/{name}.csv"} for name in ("train", "validation", "test")}
    manifest["spec"]["data"] = sources
    status, answer = create(manifest)
    assert status == 201, answer
    assert "split" not in answer["spec"]["data"]
    assert answer["spec"]["training"]["learningRate"] == 2e-5
    checked = validate(answer, Place.CLUSTER)
    assert checked.job is not None, checked.problems
    assert checked.job.spec == FineTuneJob.model_validate(manifest).spec


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_a_broken_manifest_is_refused_with_what_to_do(create: Create, case: Broken) -> None:
    assert create(good_manifest())[0] == 201
    status, answer = create(case.manifest())
    assert status == 422, answer
    told = [field for field, message in _causes(answer) if case.message in message]
    assert told == [case.where], _causes(answer)


@pytest.mark.parametrize("case", SCHEMA_BROKEN, ids=lambda case: case.name)
def test_a_manifest_that_breaks_the_schema_is_refused(create: Create, case: Broken) -> None:
    status, answer = create(case.manifest())
    assert status == 422, answer
    assert any(f.startswith(case.where) and case.message in m for f, m in _causes(answer)), _causes(answer)


def test_an_unknown_field_is_refused(create: Create) -> None:
    status, answer = create(changed(good_manifest(), {"spec.training.learning_rate": 1e-3}))
    assert status == 400
    assert 'unknown field "spec.training.learning_rate"' in answer["message"]


def test_null_is_as_left_out(create: Create) -> None:
    status, answer = create(changed(good_manifest(), {"spec.deadline": None, "spec.training.epochs": None}))
    assert status == 201, answer
    assert "deadline" not in answer["spec"]
    assert answer["spec"]["training"]["epochs"] == 3


def test_open_parts_keep_what_is_in_them(create: Create) -> None:
    parts: dict[str, object] = {
        "spec.data.augment": [{"synonyms": {"rate": 0.1}}],
        "spec.tuning": {"trials": 2, "space": {"learningRate": {"logUniform": [1e-5, 1e-4]}}},
        "spec.compression.variants[0].prune": {"heads": 0.3},
    }
    status, answer = create(changed(good_manifest(), parts))
    assert status == 201, answer
    assert answer["spec"]["data"]["augment"] == [{"synonyms": {"rate": 0.1}}]
    assert answer["spec"]["tuning"]["space"] == {"learningRate": {"logUniform": [1e-5, 1e-4]}}
    assert answer["spec"]["compression"]["variants"][0]["prune"] == {"heads": 0.3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec.task": "regression"}, "task cannot be changed"),
        ({"spec.store.uri": "pvc://models/other"}, "store.uri cannot be changed"),
        ({"spec.store": REMOVED}, "store.uri cannot be changed"),
    ],
)
def test_what_versions_have_in_common_cannot_be_edited(
    apiserver: ApiServer, create: Create, namespace: str, changes: dict[str, object], message: str
) -> None:
    status, job = create(good_manifest(), dry_run=False)
    assert status == 201, job
    status, answer = apiserver.request("PUT", _jobs(namespace, "reviews"), changed(job, changes))
    assert status == 422, answer
    assert [message in text for _, text in _causes(answer)] == [True]


def test_a_store_cannot_be_added_later(apiserver: ApiServer, create: Create, namespace: str) -> None:
    _, job = create(changed(good_manifest(), {"spec.store": REMOVED}), dry_run=False)
    edited = changed(job, {"spec.store": {"uri": "pvc://models/other"}})
    status, answer = apiserver.request("PUT", _jobs(namespace, "reviews"), edited)
    assert status == 422, answer
    assert "store.uri cannot be changed" in answer["message"]


def test_the_rest_can_be_edited_and_only_the_spec_counts(
    apiserver: ApiServer, create: Create, namespace: str
) -> None:
    store = {"uri": "s3://models/anneal", "secretRef": {"name": "s3"}}
    _, job = create(changed(good_manifest(), {"spec.store": store}), dry_run=False)
    edits: list[dict[str, object]] = [
        {"spec.training.epochs": 5},
        {"spec.store.secretRef.name": "s3-renewed"},
        {"metadata.labels": {"team": "a"}},
        {"spec.data.split.seed": 7},
    ]
    generations = []
    for edit in edits:
        status, job = apiserver.request("PUT", _jobs(namespace, "reviews"), changed(job, edit))
        assert status == 200, job
        generations.append(job["metadata"]["generation"])
    assert generations == [2, 3, 3, 3]


def _status() -> dict[str, Any]:
    now = "2026-01-02T03:04:05Z"
    condition = {
        "status": "True",
        "reason": "Serving",
        "message": "It answers.",
        "lastTransitionTime": now,
        "observedGeneration": 1,
    }
    status = FineTuneJobStatus.model_validate(
        {
            "observedGeneration": 1,
            "phase": "Ready",
            "reason": "Serving",
            "conditions": [{"type": kind, **condition} for kind in ("Ready", "Valid")],
            "progress": {"percent": 100, "loss": math.nan},
            "score": "f1 0.91",
            "metrics": {"f1": 0.91, "log_loss": math.nan},
            "variants": [
                {"name": "int8", "bytes": 1, "latencyMsP50": 1.5, "score": math.nan, "verdict": "selected"}
            ],
            "servedVersion": "v1",
            "traffic": "v1 100%",
        }
    )
    found = json.loads(status.model_dump_json(exclude_none=True))
    assert isinstance(found, dict)
    return found


def test_a_status_is_written_whole_and_shown_in_columns(
    apiserver: ApiServer, create: Create, namespace: str
) -> None:
    create(good_manifest() | {"status": {"phase": "Ready"}}, dry_run=False)
    assert "status" not in apiserver.request("GET", _jobs(namespace, "reviews"))[1]
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "reviews"}, "status": _status()}
    path = f"{_jobs(namespace, 'reviews')}/status?fieldManager=test&force=true&fieldValidation=Strict"
    status, answer = apiserver.request("PATCH", path, body, media_type=_APPLY)
    assert status == 200, answer
    assert answer["status"] == _status()
    assert answer["status"]["metrics"] == {"f1": 0.91, "log_loss": None}
    assert answer["metadata"]["generation"] == 1
    header, row = apiserver.kubectl("get", "ftj", "-n", namespace).splitlines()
    assert header.split() == [
        *("NAME", "TASK", "PHASE", "PROGRESS", "SCORE", "VERSION", "TRAFFIC", "AGE"),
    ]
    assert row.split()[:9] == [
        "reviews",
        "text-classification",
        "Ready",
        "100",
        "f1",
        "0.91",
        "v1",
        "v1",
        "100%",
    ]
    assert "Serving" in apiserver.kubectl("get", "ftj", "-n", namespace, "-o", "wide")
    assert "reviews" in apiserver.kubectl("get", "anneal", "-n", namespace)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"conditions": [{**_status()["conditions"][0], "status": "Perhaps"}]}, "Unsupported value"),
        ({"conditions": [_status()["conditions"][0]] * 2}, "Duplicate value"),
        ({"conditions": [{"type": "Ready"}]}, "Required value"),
        ({"finishedAt": "yesterday"}, "date-time"),
    ],
)
def test_a_status_out_of_the_contract_is_refused(
    apiserver: ApiServer, create: Create, namespace: str, status: dict[str, Any], message: str
) -> None:
    create(good_manifest(), dry_run=False)
    path = f"{_jobs(namespace, 'reviews')}/status"
    code, answer = apiserver.request("PATCH", path, {"status": status}, media_type=_MERGE)
    assert code == 422, answer
    assert message in answer["message"]


def test_words_of_a_newer_release_are_taken(apiserver: ApiServer, create: Create, namespace: str) -> None:
    """An operator that was rolled back with its CRD must be able to write what it has found."""
    create(good_manifest(), dry_run=False)
    newer = {**_status()["conditions"][0], "type": "SomethingNewer", "reason": "AsWell"}
    status = {"phase": "Flying", "reason": "SomethingNewer", "conditions": [newer]}
    path = f"{_jobs(namespace, 'reviews')}/status"
    code, answer = apiserver.request("PATCH", path, {"status": status}, media_type=_MERGE)
    assert code == 200, answer
    assert answer["status"]["phase"] == "Flying"


def test_every_field_is_explained(apiserver: ApiServer) -> None:
    explained = apiserver.kubectl("explain", "finetunejob.spec.training.batchSize")
    assert "Rows of one optimizer step, over all workers together." in explained
    assert "Scores of the selected variant" in apiserver.kubectl("explain", "ftj.status.metrics")
