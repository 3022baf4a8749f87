"""What a bucket's settings mean, and what its errors are called; how it is read is shown on a real object store."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from anneal_api.errors import AnnealError, ResourceUnavailable
from anneal_api.uris import LocationError
from anneal_serving.buckets import Bucket, Purpose, RemoteFile, fetched_folder
from anneal_trainer.engine.bucket_storage import file_system


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
def test_an_endpoint_is_an_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)
    with pytest.raises(LocationError, match="is no address") as caught:
        Bucket("s3://data/reviews", Purpose.DATA)
    assert "https://" in caught.value.remedy
    with pytest.raises(LocationError, match="is no address"):
        file_system({"AWS_ENDPOINT_URL": address})


def refused(code: str, status: int) -> ClientError:
    said = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(said, "HeadObject")


@pytest.mark.parametrize(
    ("raised", "kind", "what", "remedy"),
    [
        (refused("AccessDenied", 403), LocationError, "may not be read", "AWS_SECRET_ACCESS_KEY"),
        (refused("403", 403), LocationError, "may not be read", "AWS_SECRET_ACCESS_KEY"),
        (refused("NoSuchBucket", 404), LocationError, "nothing at 's3://data/reviews'", "bucket"),
        (refused("301", 301), LocationError, "another region", "AWS_REGION"),
        (refused("AuthorizationHeaderMalformed", 400), LocationError, "another region", "AWS_REGION"),
        (refused("SlowDown", 503), ResourceUnavailable, "SlowDown", "try again"),
        (
            EndpointConnectionError(endpoint_url="http://minio:9000"),
            ResourceUnavailable,
            "http://minio:9000",
            "AWS_ENDPOINT_URL",
        ),
    ],
    ids=["denied", "denied-without-words", "missing", "redirected", "region", "busy", "network"],
)
def test_what_went_wrong_is_explained(
    bucket: Bucket, raised: Exception, kind: type[Exception], what: str, remedy: str
) -> None:
    with pytest.raises(kind) as caught, bucket.explained():
        raise raised
    assert isinstance(caught.value, LocationError | AnnealError)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert "Secret" not in caught.value.remedy


def test_a_full_disk_is_no_fault_of_the_bucket(bucket: Bucket) -> None:
    with pytest.raises(OSError, match="No space"), bucket.explained():
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("purpose", list(Purpose))
def test_who_has_a_secret_is_sent_to_it(monkeypatch: pytest.MonkeyPatch, purpose: Purpose) -> None:
    monkeypatch.setenv(f"{purpose}AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv(f"{purpose}AWS_SECRET_ACCESS_KEY", "secret")
    bucket = Bucket("s3://data/reviews", purpose)
    with pytest.raises(LocationError) as caught, bucket.explained():
        raise refused("AccessDenied", 403)
    assert f"in the Secret of spec.{purpose.name.lower()}.secretRef" in caught.value.remedy


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "a\0b"])
def test_no_name_leads_out_of_the_folder(bucket: Bucket, tmp_path: Path, name: str) -> None:
    file = RemoteFile(name, f"reviews/{name}", 1, "etag")
    with pytest.raises(LocationError, match="none for a file on a disk"):
        bucket.fetch([file], tmp_path)
    with pytest.raises(LocationError):
        fetched_folder(bucket, [file], tmp_path / "cache")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
