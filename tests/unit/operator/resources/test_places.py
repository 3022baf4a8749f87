from __future__ import annotations

import pytest
from resource_samples import MINIMAL, Sample

from anneal_api.errors import ArtifactInvalid, ManifestInvalid
from anneal_operator.resources import places
from anneal_operator.settings import Settings

WITHOUT_STORE = {name: value for name, value in MINIMAL.items() if name != "store"}
SETTINGS = Settings(image="x", store="pvc://shared")


def test_the_jobs_own_store_comes_first() -> None:
    assert places.store_uri(Sample(MINIMAL).spec, SETTINGS) == "pvc://models/anneal"
    assert places.store_uri(Sample(WITHOUT_STORE).spec, SETTINGS) == "pvc://shared"
    assert places.store_uri(Sample(WITHOUT_STORE).spec, Settings(image="x")) == ""


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("pvc://claim", "/mnt/pvc/claim"),
        ("pvc://claim/", "/mnt/pvc/claim"),
        ("pvc://claim/a//b/./c.csv", "/mnt/pvc/claim/a/b/c.csv"),
        ("PVC://claim/a", "/mnt/pvc/claim/a"),
        ("hf://imdb", "hf://imdb"),
        ("bert-base-uncased", "bert-base-uncased"),
        ("pkg://package/data", "pkg://package/data"),
    ],
)
def test_claims_are_folders_of_pods(uri: str, path: str) -> None:
    assert places.pod_path(uri) == path


@pytest.mark.parametrize(
    "uri", ["pvc://", "pvc:///", "pvc://claim/../other", "pvc://../etc", "pvc://claim/a/.."]
)
def test_no_path_leads_out_of_its_claim(uri: str) -> None:
    with pytest.raises(ManifestInvalid):
        places.pod_path(uri)


@pytest.mark.parametrize("path", ["", "/", "../other/v1", "nlp/../../v1"])
def test_a_reported_version_cannot_lead_out_of_the_store(path: str) -> None:
    sample = Sample(MINIMAL)
    version = sample.version.model_copy(update={"path": path})
    with pytest.raises(ArtifactInvalid):
        places.version_folder(sample.spec, version, SETTINGS)


def test_an_absolute_version_stays_in_the_store() -> None:
    sample = Sample(MINIMAL)
    version = sample.version.model_copy(update={"path": "/etc/passwd"})
    assert places.version_folder(sample.spec, version, SETTINGS) == "/mnt/pvc/models/anneal/etc/passwd"


def test_a_store_elsewhere_is_no_claim() -> None:
    sample = Sample({**MINIMAL, "store": {"uri": "s3://bucket/anneal"}})
    assert places.store_claims(sample.spec, SETTINGS, read_only=True) == ()
    assert [claim.name for claim in places.job_claims(sample.spec, SETTINGS)] == ["datasets"]
    assert places.work_folder(sample.spec, SETTINGS) == "s3://bucket/anneal/.work"


def test_the_config_maps_of_a_job_are_those_with_its_data() -> None:
    sources = {name: {"uri": f"ConfigMap://{name[:5]}/{name}.csv"} for name in ("validation", "test")}
    sample = Sample({**MINIMAL, "data": {"train": {"uri": "configmap://test/train.csv"}, **sources}})
    assert places.job_config_maps(sample.spec) == ("test", "valid")
    assert places.job_config_maps(Sample(MINIMAL).spec) == ()
    assert [claim.name for claim in places.job_claims(sample.spec, SETTINGS)] == ["models"]
