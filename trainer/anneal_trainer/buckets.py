"""Reads files out of S3 buckets: data, or a base model at `s3://BUCKET/KEY`.

On one machine AWS's usual settings count: `AWS_*` variables, `~/.aws`, the machine's own identity. In a pod, what a
Secret of the job says comes in variables that begin with what it is for, so that data and model may have keys of
their own; where there are none, the usual settings count as well.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from anneal_api.errors import ResourceUnavailable
from anneal_trainer.data.locations import LocationError

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem  # type: ignore[import-untyped]

_BLOCK = 8 * 2**20
_AT_ONCE = 8
_ATTEMPTS = 5
_CA_BUNDLE = "AWS_CA_BUNDLE"
_AWS_ERROR = re.compile(r"AWS Error (?P<code>\w+)(?: \(HTTP status (?P<status>\d+)\))?")
_DENIED = {
    "ACCESS_DENIED",
    "EXPIRED_TOKEN",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "INVALID_SIGNATURE",
    "MISSING_AUTHENTICATION_TOKEN",
    "SIGNATURE_DOES_NOT_MATCH",
    "UNRECOGNIZED_CLIENT",
}
_MISSING = {"NO_SUCH_BUCKET", "NO_SUCH_KEY", "RESOURCE_NOT_FOUND"}
_OF_ANOTHER_REGION = {"301", "307"}


class Purpose(StrEnum):
    """What a bucket is read for: the begin of the variables with the credentials for it."""

    DATA = "ANNEAL_DATA_"
    MODEL = "ANNEAL_MODEL_"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file in a bucket.

    Attributes:
        name: Its path below the place that was asked for.
        path: `BUCKET/KEY`.
        bytes: Its size.
        modified: When it was written, in nanoseconds since 1970.
    """

    name: str
    path: str
    bytes: int
    modified: int


class Bucket:
    """A place in a bucket.

    Args:
        uri: `s3://BUCKET/KEY`: a file, or a folder of files.
        purpose: What it is read for.

    Attributes:
        place: `BUCKET/KEY`.

    Raises:
        LocationError: The uri names no bucket.
    """

    def __init__(self, uri: str, purpose: Purpose) -> None:
        self._uri = uri
        self.place = uri.partition("://")[2].strip("/")
        if not self.place:
            raise LocationError(f"'{uri}' names no bucket.", "Write s3://BUCKET/KEY.")
        self._purpose = purpose
        self._secret = {
            name.removeprefix(purpose.value): value
            for name, value in os.environ.items()
            if name.startswith(f"{purpose.value}AWS_") and value
        }
        # A bundle of certificates is a file, so it comes by no Secret.
        bundle = {_CA_BUNDLE: os.environ.get(_CA_BUNDLE, "")}
        self._filesystem = file_system(bundle | self._secret if self._secret else os.environ)

    def files(self) -> list[RemoteFile]:
        """Returns the file at the place, or all files below it, sorted by name; none where there is nothing.

        Raises:
            LocationError: The bucket may not be read, or there is none.
            ResourceUnavailable: It cannot be reached.
        """
        from pyarrow import fs  # type: ignore[import-untyped]  # noqa: PLC0415  slow to import

        with self._explained():
            found = self._filesystem.get_file_info(self.place)
            if found.type is not fs.FileType.File:
                below = fs.FileSelector(self.place, allow_not_found=True, recursive=True)
                infos = [info for info in self._filesystem.get_file_info(below) if info.is_file]
                names = [info.path.removeprefix(f"{self.place}/") for info in infos]
                return sorted(map(_remote_file, names, infos), key=lambda file: file.name)
            return [_remote_file(found.base_name, found)]

    def fetch(self, files: Sequence[RemoteFile], folder: Path) -> None:
        """Brings files into a folder, under their names.

        Args:
            files: Some of `files`.
            folder: Where they go.

        Raises:
            LocationError: A file has gone or changed, or its name is none for a disk.
            ResourceUnavailable: The bucket cannot be reached any more.
            OSError: The folder cannot be written to.
        """
        targets = [_inside(folder, file) for file in files]
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(self._fetch, files, targets):
                pass

    def _fetch(self, file: RemoteFile, target: Path) -> None:
        with self._explained():
            source = self._filesystem.open_input_file(file.path)
        with source, target.open("wb") as copy:
            while block := self._read(source):
                copy.write(block)
        if target.stat().st_size != file.bytes:
            raise LocationError(
                f"'{self._uri}' was changed while it was read: {file.name} has another size.",
                "Start it again when nobody writes there.",
            )

    def _read(self, source: Any) -> bytes:  # noqa: ANN401  # pyarrow has no types
        with self._explained():
            block: bytes = source.read(_BLOCK)
        return block

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._explanation(error) from error

    def _explanation(self, error: OSError) -> LocationError | ResourceUnavailable:
        match = _AWS_ERROR.search(str(error))
        code, status = (match["code"], match["status"]) if match else ("", None)
        if code in _DENIED:
            remedy = "Check the key and what it may do (list and read); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            return LocationError(
                f"'{self._uri}' may not be read with these credentials.", f"{remedy}{self._where()}."
            )
        if code in _MISSING or isinstance(error, FileNotFoundError):
            return LocationError(
                f"There is nothing at '{self._uri}'.", "Check the names of the bucket and the key."
            )
        if status in _OF_ANOTHER_REGION:
            return LocationError(f"'{self._uri}' lies in another region.", f"Set AWS_REGION{self._where()}.")
        return ResourceUnavailable(
            f"'{self._uri}' cannot be reached: {_last_line(error)}.",
            remedy=f"Check the network, and AWS_ENDPOINT_URL{self._where()} where it is not Amazon's; then try again.",
        )

    def _where(self) -> str:
        if not self._secret:
            return ""
        field = "spec.data.secretRef" if self._purpose is Purpose.DATA else "spec.model.secretRef"
        return f" in the Secret of {field}"


def file_system(settings: Mapping[str, str]) -> S3FileSystem:
    """Returns access to S3 as variables in the style of AWS say; what they leave open is looked for as AWS's tools do.

    Args:
        settings: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION` or
            `AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, `AWS_CA_BUNDLE`.

    Raises:
        LocationError: The endpoint is no address.
    """
    from pyarrow import fs  # noqa: PLC0415  slow to import

    options: dict[str, Any] = {}
    if settings.get("AWS_ACCESS_KEY_ID") and settings.get("AWS_SECRET_ACCESS_KEY"):
        options |= {
            "access_key": settings["AWS_ACCESS_KEY_ID"],
            "secret_key": settings["AWS_SECRET_ACCESS_KEY"],
            "session_token": settings.get("AWS_SESSION_TOKEN") or None,
        }
    endpoint = settings.get("AWS_ENDPOINT_URL_S3") or settings.get("AWS_ENDPOINT_URL")
    if endpoint:
        address = urlsplit(endpoint)
        if address.scheme not in {"http", "https"} or not address.netloc:
            raise LocationError(
                f"AWS_ENDPOINT_URL is no address: '{endpoint}'.",
                "Write it with its scheme: https://minio.example:9000.",
            )
        options |= {"scheme": address.scheme, "endpoint_override": address.netloc}
    region = settings.get("AWS_REGION") or settings.get("AWS_DEFAULT_REGION")
    if region or endpoint:
        options["region"] = region or "us-east-1"  # what stores beside Amazon's take for any
    if bundle := settings.get(_CA_BUNDLE):
        options["tls_ca_file_path"] = bundle
    retry = fs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS)
    return fs.S3FileSystem(retry_strategy=retry, connect_timeout=10, **options)


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
    identity = "\n".join(f"{file.path} {file.bytes} {file.modified}" for file in files)
    folder = cache / hashlib.sha256(identity.encode()).hexdigest()[:32]
    if not folder.is_dir():
        partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        bucket.fetch(files, partial)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(partial)  # another process was faster
    return folder


def _remote_file(name: str, info: Any) -> RemoteFile:  # noqa: ANN401  # pyarrow has no types
    return RemoteFile(name, info.path, info.size, info.mtime_ns)


def _inside(folder: Path, file: RemoteFile) -> Path:
    path = PurePosixPath(file.name)
    if path.is_absolute() or ".." in path.parts or "\0" in file.name:
        raise LocationError(
            f"The name of '{file.path}' is none for a file on a disk.", "Copy it under another name."
        )
    return folder / path


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
