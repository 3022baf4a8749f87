"""Where a published version lies: in a folder, or in a bucket, from which it is brought to be read."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anneal_api.errors import ArtifactInvalid
from anneal_api.published import MANIFEST_FILE
from anneal_api.uris import LocationError, scheme_of
from anneal_serving.buckets import Bucket, Purpose


@contextmanager
def version_at(place: str) -> Iterator[Path]:
    """Gives the folder of a version while the block runs.

    Args:
        place: The folder, or `s3://BUCKET/KEY`.

    Raises:
        ArtifactInvalid: There is none in the bucket, or it may not be read.
        ResourceUnavailable: The bucket cannot be reached.
    """
    if scheme_of(place) != "s3":
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="anneal-version-") as copy:
        _bring(place, Path(copy))
        yield Path(copy)


def _bring(place: str, folder: Path) -> None:
    try:
        bucket = Bucket(place, Purpose.STORE)
        files = bucket.files()
        if not any(file.name == MANIFEST_FILE for file in files):
            raise LocationError(
                f"There is no published version at '{place}'.", "Publish it again, or name another one."
            )
        bucket.fetch(files, folder)
    except LocationError as error:
        raise ArtifactInvalid(error.what, where=place, remedy=error.remedy) from error
