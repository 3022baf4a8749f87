"""A place in an S3 bucket that is written to: whole files, and small ones on a condition."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from anneal_api.errors import ResourceUnavailable
from anneal_api.uris import LocationError
from anneal_serving.buckets import Bucket, at_once

_REMOVED_AT_ONCE = 1000  # what one request of S3 takes
_REFUSED = {HTTPStatus.PRECONDITION_FAILED, HTTPStatus.CONFLICT}
_UNKNOWN = {HTTPStatus.NOT_IMPLEMENTED}


@dataclass(frozen=True, slots=True)
class Content:
    """What a small file held when it was read.

    Attributes:
        content: Its bytes.
        etag: What changes with its content.
    """

    content: bytes
    etag: str


class WritableBucket(Bucket):
    """A place in a bucket, to read from and to write to; names of files start at the place."""

    _used = "used"
    _rights = "list, read, write and delete"

    def write(self, files: Iterable[tuple[str, Path]]) -> None:
        """Writes files, whatever was there.

        Args:
            files: Name and source of each.

        Raises:
            LocationError: The bucket may not be written to, or there is none.
            ResourceUnavailable: It cannot be reached.
        """
        at_once(self._write, files)

    def create(self, name: str, content: bytes) -> str | None:
        """Writes a small file if there is none of its name; returns its etag, or None where there is one.

        Raises:
            LocationError: See `write`.
            ResourceUnavailable: See `write`; or the store knows no conditions.
        """
        return self._put(name, content, IfNoneMatch="*")

    def replace(self, name: str, content: bytes, etag: str) -> str | None:
        """Writes a small file if it is still the one with this etag; returns the new etag, or None where it is not.

        Raises:
            LocationError: See `write`.
            ResourceUnavailable: See `write`; or the store knows no conditions.
        """
        return self._put(name, content, IfMatch=etag)

    def read(self, name: str) -> Content | None:
        """Returns what a small file holds; None where there is none.

        Raises:
            LocationError: See `write`.
            ResourceUnavailable: See `write`.
        """
        from botocore.exceptions import ClientError  # noqa: PLC0415  slow to import

        with self.explained():
            try:
                answer = self._client.get_object(Bucket=self._name, Key=self._key_of(name))
            except ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchKey":
                    return None
                raise
            return Content(answer["Body"].read(), answer["ETag"])

    def remove(self, names: Iterable[str]) -> None:
        """Removes files; that some are gone already is success.

        Raises:
            LocationError: See `write`.
            ResourceUnavailable: See `write`.
        """
        keys = [{"Key": self._key_of(name)} for name in names]
        for start in range(0, len(keys), _REMOVED_AT_ONCE):
            some = {"Objects": keys[start : start + _REMOVED_AT_ONCE], "Quiet": True}
            with self.explained():
                answer = self._client.delete_objects(Bucket=self._name, Delete=some)
            for failure in answer.get("Errors", ()):
                raise LocationError(
                    f"'{self.uri}/{failure['Key'].removeprefix(self._key_of(''))}' cannot be removed: "
                    f"{failure['Message'].rstrip('.')}.",
                    f"Check what the key may do ({self._rights}).",
                )

    def _write(self, file: tuple[str, Path]) -> None:
        name, source = file
        with self.explained():
            self._client.upload_file(str(source), self._name, self._key_of(name))

    def _put(self, name: str, content: bytes, **condition: str) -> str | None:
        from botocore.exceptions import ClientError  # noqa: PLC0415  slow to import

        with self.explained():
            try:
                answer = self._client.put_object(
                    Bucket=self._name, Key=self._key_of(name), Body=content, **condition
                )
            except ClientError as error:
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status in _REFUSED or error.response["Error"]["Code"] == "NoSuchKey":
                    return None
                if status in _UNKNOWN:
                    raise knows_no_conditions(self.uri) from error
                raise
        etag: str = answer["ETag"]
        return etag


def knows_no_conditions(uri: str) -> ResourceUnavailable:
    """Returns the error for a store in which two writers cannot be kept apart."""
    return ResourceUnavailable(
        "This object store does not heed conditions of writes (If-None-Match and If-Match), which keep two pods of a "
        "job apart.",
        where=uri,
        remedy="Use one that does (Amazon S3, MinIO, Ceph 20), or a store on a PersistentVolumeClaim.",
    )
