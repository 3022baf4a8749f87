"""What a bucket's settings mean, and what its errors are called; how it is read is shown on a real object store."""

from __future__ import annotations

from pathlib import Path

import pytest

from anneal_api.errors import AnnealError, ResourceUnavailable
from anneal_trainer.buckets import Bucket, Purpose, RemoteFile, fetched_folder, file_system
from anneal_trainer.data.locations import LocationError


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def bucket() -> Bucket:
    return Bucket("s3://data/reviews", Purpose.DATA)


@pytest.mark.parametrize("uri", ["s3://", "s3:///"])
def test_a_place_has_a_bucket(uri: str) -> None:
    with pytest.raises(LocationError, match="names no bucket"):
        Bucket(uri, Purpose.DATA)


@pytest.mark.parametrize("address", ["minio:9000", "ftp://minio", "https://"])
def test_an_endpoint_is_an_address(address: str) -> None:
    with pytest.raises(LocationError, match="is no address") as caught:
        file_system({"AWS_ENDPOINT_URL": address})
    assert "https://" in caught.value.remedy


@pytest.mark.parametrize(
    ("said", "kind", "what", "remedy"),
    [
        (
            "When reading information for key 'r' in bucket 'data': AWS Error ACCESS_DENIED during HeadObject "
            "operation: No response body.",
            LocationError,
            "may not be read",
            "AWS_SECRET_ACCESS_KEY",
        ),
        (
            "When listing objects under key 'r' in bucket 'data': AWS Error NO_SUCH_BUCKET during ListObjectsV2 "
            "operation: The specified bucket does not exist",
            LocationError,
            "nothing at 's3://data/reviews'",
            "bucket",
        ),
        (
            "When reading information for key 'r' in bucket 'data': AWS Error UNKNOWN (HTTP status 301) during "
            "HeadObject operation: No response body.",
            LocationError,
            "another region",
            "AWS_REGION",
        ),
        (
            "When listing objects under key 'r' in bucket 'data': AWS Error NETWORK_CONNECTION during ListObjectsV2 "
            "operation: curlCode: 6, Could not resolve hostname",
            ResourceUnavailable,
            "Could not resolve hostname",
            "AWS_ENDPOINT_URL",
        ),
    ],
    ids=["denied", "missing", "region", "network"],
)
def test_what_went_wrong_is_explained(
    bucket: Bucket, said: str, kind: type[Exception], what: str, remedy: str
) -> None:
    with pytest.raises(kind) as caught, bucket._explained():
        raise OSError(said)
    assert isinstance(caught.value, LocationError | AnnealError)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert "Secret" not in caught.value.remedy


@pytest.mark.parametrize(("purpose", "field"), [(Purpose.DATA, "spec.data"), (Purpose.MODEL, "spec.model")])
def test_who_has_a_secret_is_sent_to_it(
    monkeypatch: pytest.MonkeyPatch, purpose: Purpose, field: str
) -> None:
    monkeypatch.setenv(f"{purpose}AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv(f"{purpose}AWS_SECRET_ACCESS_KEY", "secret")
    bucket = Bucket("s3://data/reviews", purpose)
    with pytest.raises(LocationError) as caught, bucket._explained():
        raise OSError("AWS Error ACCESS_DENIED during HeadObject operation: No response body.")
    assert f"in the Secret of {field}.secretRef" in caught.value.remedy


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "a\0b"])
def test_no_name_leads_out_of_the_folder(bucket: Bucket, tmp_path: Path, name: str) -> None:
    file = RemoteFile(name, f"data/reviews/{name}", 1, 0)
    with pytest.raises(LocationError, match="none for a file on a disk"):
        bucket.fetch([file], tmp_path)
    with pytest.raises(LocationError):
        fetched_folder(bucket, [file], tmp_path / "cache")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
