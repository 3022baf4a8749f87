"""Reads files out of S3 buckets: data, a base model, or a published version at `s3://BUCKET/KEY`.

On one machine AWS's usual settings count: `AWS_*` variables, `~/.aws`, the machine's own identity. In a pod, what a
Secret of the job says comes in variables that begin with what it is for, so that data, model and store may have keys
of their own; where there are none, the usual settings count as well.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from anneal_api.errors import ResourceUnavailable
from anneal_api.uris import LocationError

_Item = TypeVar("_Item")

AT_ONCE = 8
"""Files that travel at the same time."""

ATTEMPTS = 5
CONNECT_SECONDS = 10
"""How often a request is tried, and how long a connection may take."""

_READ_SECONDS = 60
_DENIED = {
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_MISSING = {"NoSuchBucket", "NoSuchKey"}
_OF_ANOTHER_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect"}
_REDIRECTIONS = {HTTPStatus.MOVED_PERMANENTLY, HTTPStatus.TEMPORARY_REDIRECT}


class Purpose(StrEnum):
    """What a bucket is for: the begin of the variables with the credentials for it."""

    DATA = "ANNEAL_DATA_"
    MODEL = "ANNEAL_MODEL_"
    STORE = "ANNEAL_STORE_"

    @property
    def secret_field(self) -> str:
        """The field of the manifest that names the Secret."""
        return f"spec.{self.name.lower()}.secretRef"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in a bucket.

    Attributes:
        name: Its path below the place that was asked for.
        key: Its key in the bucket.
        bytes: Its size.
        etag: What changes with its content.
        modified: When it was written, by the store's clock; None where it was not listed.
    """

    name: str
    key: str
    bytes: int
    etag: str
    modified: datetime | None = None


class Bucket:
    """A place in a bucket, to read from.

    Args:
        uri: `s3://BUCKET/KEY`: a file, or a folder of files.
        purpose: What it is for.

    Attributes:
        uri: The place, without slashes at its end.
        key: The key of the place; empty: the whole bucket.

    Raises:
        LocationError: The uri names no bucket, or the endpoint is no address.
    """

    def __init__(self, uri: str, purpose: Purpose) -> None:
        self.uri = uri.rstrip("/")
        self._name, _, key = uri.partition("://")[2].strip("/").partition("/")
        if not self._name:
            raise LocationError(f"'{uri}' names no bucket.", "Write s3://BUCKET/KEY.")
        self.key = key.strip("/")
        self._purpose = purpose
        self._secret = settings_of(purpose)
        self._client = _client(self._secret or os.environ)

    def files(self, below: str = "") -> list[RemoteFile]:
        """Returns the file at the place, or all files below it, sorted by name; none where there is nothing.

        Args:
            below: Only those below this path; their names still start at the place.

        Raises:
            LocationError: The bucket may not be read, or there is none.
            ResourceUnavailable: It cannot be reached.
        """
        with self.explained():
            if self.key and not below:
                found = self._file()
                if found is not None:
                    return [found]
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._name, Prefix=self._key_of(below and f"{below}/")
            )
            start = len(self._key_of(""))
            entries = [entry for page in pages for entry in page.get("Contents", ())]
        return [
            RemoteFile(
                entry["Key"][start:], entry["Key"], entry["Size"], entry["ETag"], entry["LastModified"]
            )
            for entry in sorted(entries, key=lambda entry: entry["Key"])
            if not entry["Key"].endswith("/")  # what consoles make where a person makes a folder
        ]

    def fetch(self, files: Sequence[RemoteFile], folder: Path, *, below: str = "") -> None:
        """Brings files into a folder, under their names.

        Args:
            files: Some of `files`.
            folder: Where they go.
            below: Start of their names to leave out.

        Raises:
            LocationError: A file has gone or changed, or its name is none for a disk.
            ResourceUnavailable: The bucket cannot be reached any more.
            OSError: The folder cannot be written to.
        """
        targets = [_inside(folder, file, below) for file in files]
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        at_once(self._fetch, zip(files, targets, strict=True))

    def _file(self) -> RemoteFile | None:
        from botocore.exceptions import ClientError  # noqa: PLC0415  slow to import

        try:
            head = self._client.head_object(Bucket=self._name, Key=self.key)
        except ClientError as error:
            if _status(error) == HTTPStatus.NOT_FOUND:
                return None
            raise
        return RemoteFile(self.key.rpartition("/")[2], self.key, head["ContentLength"], head["ETag"])

    def _fetch(self, pair: tuple[RemoteFile, Path]) -> None:
        file, target = pair
        with self.explained():
            self._client.download_file(self._name, file.key, str(target))
        if target.stat().st_size != file.bytes:
            raise LocationError(
                f"'{self.uri}' was changed while it was read: {file.name} has another size.",
                "Start it again when nobody writes there.",
            )

    def _key_of(self, name: str) -> str:
        return f"{self.key}/{name}" if self.key else name

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns what the client raises into what a person can act on; errors of the disk stay what they are."""
        from boto3.exceptions import Boto3Error  # noqa: PLC0415  slow to import
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError  # noqa: PLC0415
        from urllib3.exceptions import HTTPError  # noqa: PLC0415

        try:
            yield
        except (ClientError, BotoCoreError, Boto3Error, HTTPClientError, HTTPError) as error:
            raise self._explanation(error) from error

    def _explanation(self, error: Exception) -> LocationError | ResourceUnavailable:
        code, status = _code(error), _status(error)
        if code in _DENIED or status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return LocationError(
                f"'{self.uri}' may not be {self._used} with these credentials.",
                f"Check the key and what it may do ({self._rights}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                f"{self._where()}.",
            )
        if code in _OF_ANOTHER_REGION or status in _REDIRECTIONS:
            return LocationError(f"'{self.uri}' lies in another region.", f"Set AWS_REGION{self._where()}.")
        if code in _MISSING or status == HTTPStatus.NOT_FOUND:
            return LocationError(
                f"There is nothing at '{self.uri}'.", "Check the names of the bucket and the key."
            )
        return ResourceUnavailable(
            f"'{self.uri}' cannot be reached: {_last_line(error)}.",
            remedy=f"Check the network, and AWS_ENDPOINT_URL{self._where()} where it is not Amazon's; then try again.",
        )

    _used = "read"
    _rights = "list and read"

    def _where(self) -> str:
        return f" in the Secret of {self._purpose.secret_field}" if self._secret else ""


def settings_of(purpose: Purpose) -> dict[str, str]:
    """Returns what the job's Secret says, in the style of AWS; empty where it has none for this purpose."""
    return {
        name.removeprefix(purpose.value): value
        for name, value in os.environ.items()
        if name.startswith(f"{purpose.value}AWS_") and value
    }


def endpoint_of(settings: Mapping[str, str]) -> str:
    """Returns the address of a store that is not Amazon's; empty where none is named.

    Raises:
        LocationError: It is no address.
    """
    endpoint = settings.get("AWS_ENDPOINT_URL_S3") or settings.get("AWS_ENDPOINT_URL") or ""
    if endpoint:
        address = urlsplit(endpoint)
        if address.scheme not in {"http", "https"} or not address.netloc:
            raise LocationError(
                f"AWS_ENDPOINT_URL is no address: '{endpoint}'.",
                "Write it with its scheme: https://minio.example:9000.",
            )
    return endpoint


def region_of(settings: Mapping[str, str]) -> str | None:
    """Returns the region of the store; None: it is looked for as AWS's tools do."""
    region = settings.get("AWS_REGION") or settings.get("AWS_DEFAULT_REGION")
    return region or (
        "us-east-1" if endpoint_of(settings) else None
    )  # what stores beside Amazon's take for any


def fetched_folder(bucket: Bucket, files: Sequence[RemoteFile], cache: Path) -> Path:
    """Returns a folder with files of a bucket; what was brought before and has not changed since is not brought again.

    Args:
        bucket: Where they lie.
        files: The files.
        cache: Keeps such folders.

    Raises:
        LocationError: See `Bucket.fetch`.
        ResourceUnavailable: See `Bucket.fetch`.
        OSError: The cache cannot be written to.
    """
    identity = "\n".join(f"{bucket.uri} {file.name} {file.bytes} {file.etag}" for file in files)
    folder = cache / hashlib.sha256(identity.encode()).hexdigest()[:32]
    if not folder.is_dir():
        appear(folder, lambda partial: bucket.fetch(files, partial))
    return folder


def appear(folder: Path, fill: Callable[[Path], None]) -> None:
    """Makes a folder that appears whole, by one rename; where another process was faster, its one counts.

    Args:
        folder: The folder, which is not there.
        fill: Writes what belongs into it.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    fill(partial)
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(partial)


def at_once(act: Callable[[_Item], None], items: Iterable[_Item]) -> None:
    """Does something with several items at the same time; the first error is raised when all have ended."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(act, items):
            pass


def _client(settings: Mapping[str, str]) -> Any:  # noqa: ANN401  # boto3 makes its clients at run time
    """Returns access to S3 as settings in the style of AWS say; the rest is looked for as AWS's tools do."""
    import boto3  # noqa: PLC0415  slow to import
    from botocore import UNSIGNED  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    endpoint = endpoint_of(settings)
    session = boto3.Session(
        aws_access_key_id=settings.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=settings.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=settings.get("AWS_SESSION_TOKEN") or None,
        region_name=region_of(settings),
    )
    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=2 * AT_ONCE,
        # Stores beside Amazon's seldom know its newer checksums, and seldom have a name for each bucket.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if endpoint else None,
    )
    if session.get_credentials() is None:
        config = config.merge(Config(signature_version=UNSIGNED))  # a public bucket answers everybody
    return session.client("s3", endpoint_url=endpoint or None, config=config)


def _inside(folder: Path, file: RemoteFile, below: str) -> Path:
    path = PurePosixPath(file.name)
    if path.is_absolute() or ".." in path.parts or "\0" in file.name:
        raise LocationError(
            f"The name of '{file.key}' is none for a file on a disk.", "Copy it under another name."
        )
    return folder / (path.relative_to(below) if below else path)


def _code(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    code: str = response.get("Error", {}).get("Code", "")
    return code


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None) or {}
    status: int | None = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
