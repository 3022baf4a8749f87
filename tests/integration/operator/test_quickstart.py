"""`kubectl apply --server-side -k manifests/quickstart`, against a real API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cluster.apiserver import ApiServer
from operator_world import install_crd
from ruamel.yaml import YAML

from anneal_api.job import FineTuneJob
from anneal_api.support import Place
from anneal_api.validation import validate

pytestmark = pytest.mark.integration

_FOLDER = Path(__file__).parents[3] / "manifests" / "quickstart"
_DATA = ("train.csv", "validation.csv", "test.csv")
_YAML = YAML(typ="safe")


@pytest.fixture(scope="module")
def rendered(apiserver: ApiServer) -> dict[str, dict[str, Any]]:
    """What kustomize makes of it, by kind."""
    documents = list(_YAML.load_all(apiserver.kubectl("kustomize", str(_FOLDER))))
    assert len(documents) == 3
    return {document["kind"]: document for document in documents}


def test_the_data_come_along_whole(rendered: dict[str, dict[str, Any]]) -> None:
    body = rendered["ConfigMap"]
    assert body["metadata"]["name"] == "reviews-data"
    assert body["data"] == {name: (_FOLDER / name).read_text(encoding="utf-8") for name in _DATA}


def test_the_job_differs_from_that_for_one_machine_only_in_places_and_requests(
    rendered: dict[str, dict[str, Any]],
) -> None:
    assert validate(rendered["FineTuneJob"], Place.CLUSTER).problems == ()
    plain = _YAML.load(_FOLDER / "finetunejob.yaml")
    assert validate(plain, Place.MACHINE).problems == ()
    on_cluster, here = (
        FineTuneJob.model_validate(document).spec.model_dump(by_alias=True)
        for document in (rendered["FineTuneJob"], plain)
    )
    differing = {name for name in here if here[name] != on_cluster[name]}
    assert differing == {"store", "data", "resources", "serving"}
    assert on_cluster["data"] == here["data"] | {
        name.removesuffix(".csv"): here["data"][name.removesuffix(".csv")]
        | {"uri": f"configmap://reviews-data/{name}"}
        for name in _DATA
    }
    claim = rendered["PersistentVolumeClaim"]["metadata"]["name"]
    assert on_cluster["store"]["uri"] == f"pvc://{claim}/store"


def test_the_server_takes_all_of_it(apiserver: ApiServer, namespace: str) -> None:
    install_crd(apiserver)
    apply = ("-n", namespace, "apply", "--server-side", "-k", str(_FOLDER))
    assert apiserver.kubectl(*apply, "--dry-run=server").count("serverside-applied") == 3
    apiserver.kubectl(*apply)
    assert apiserver.kubectl(*apply, "--show-managed-fields=false").count("serverside-applied") == 3
    left = apiserver.kubectl("-n", namespace, "delete", "--wait=false", "-k", str(_FOLDER))
    assert left.count("deleted") == 3
