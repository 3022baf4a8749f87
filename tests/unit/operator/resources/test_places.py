from __future__ import annotations

import pytest
from resource_samples import MINIMAL, Sample

from anneal_api.errors import ArtifactInvalid, ManifestInvalid
from anneal_operator.resources import places
from anneal_operator.settings import Settings

WITHOUT_STORE = {name: value for name, value in MINIMAL.items() if name != "store"}
SETTINGS = Settings(image="x", store="pvc://shared")
SHARED_BUCKET = Settings(image="x", store="s3://shared", store_secret="of-the-operator")


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
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("S3://bucket/a//b.c/", "s3://bucket/a/b.c"),
        ("hf://imdb", "hf://imdb"),
        ("bert-base-uncased", "bert-base-uncased"),
        ("pkg://package/data", "pkg://package/data"),
    ],
)
def test_claims_are_folders_of_pods_and_the_rest_stays_where_it_is(uri: str, path: str) -> None:
    assert places.pod_path(uri) == path


@pytest.mark.parametrize(
    "uri",
    [
        *("pvc://", "pvc:///", "pvc://claim/../other", "pvc://../etc", "pvc://claim/a/.."),
        *("s3://", "s3:///", "s3://bucket/../other", "s3://bucket/a/./b"),
    ],
)
def test_no_path_leads_out_of_its_claim_or_bucket(uri: str) -> None:
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


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("s3://bucket/anneal", "s3://bucket/anneal/nlp/reviews-1a2b3c4d/v4"),
        ("S3://bucket//a//b/", "s3://bucket/a/b/nlp/reviews-1a2b3c4d/v4"),
        ("s3://bucket", "s3://bucket/nlp/reviews-1a2b3c4d/v4"),
    ],
)
def test_a_store_in_a_bucket_is_no_claim_and_pods_work_on_a_copy_of_it(uri: str, folder: str) -> None:
    sample = Sample({**MINIMAL, "store": {"uri": uri}})
    assert places.store_claims(sample.spec, SETTINGS, read_only=True) == ()
    assert [claim.name for claim in places.job_claims(sample.spec, SETTINGS)] == ["datasets"]
    assert places.work_folder(sample.spec, SETTINGS) == "/home/anneal/store/.work"
    assert places.version_folder(sample.spec, sample.version, SETTINGS) == folder


@pytest.mark.parametrize(
    ("store", "settings", "secret"),
    [
        ({"uri": "S3://own/a", "secretRef": {"name": "own"}}, SHARED_BUCKET, "own"),
        ({"uri": "s3://own/a"}, SHARED_BUCKET, ""),
        ({"uri": "pvc://models/anneal"}, SHARED_BUCKET, ""),
        (None, SHARED_BUCKET, "of-the-operator"),
        (None, Settings(image="x", store="s3://shared"), ""),
        (None, Settings(image="x", store="pvc://shared", store_secret="of-no-bucket"), ""),
    ],
    ids=["own", "own without", "own claim", "operator's", "operator's without", "operator's claim"],
)
def test_a_secret_opens_the_store_that_it_is_for_and_no_other(
    store: dict[str, object] | None, settings: Settings, secret: str
) -> None:
    spec = WITHOUT_STORE if store is None else {**MINIMAL, "store": store}
    assert places.store_secret(Sample(spec).spec, settings) == secret


def test_the_config_maps_of_a_job_are_those_with_its_data() -> None:
    sources = {name: {"uri": f"ConfigMap://{name[:5]}/{name}.csv"} for name in ("validation", "test")}
    sample = Sample({**MINIMAL, "data": {"train": {"uri": "configmap://test/train.csv"}, **sources}})
    assert places.job_config_maps(sample.spec) == ("test", "valid")
    assert places.job_config_maps(Sample(MINIMAL).spec) == ()
    assert [claim.name for claim in places.job_claims(sample.spec, SETTINGS)] == ["models"]
