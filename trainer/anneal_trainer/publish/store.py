"""The model store: `<store>/<namespace>/<job>-<uid8>/v<N>/`, every version immutable."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anneal_api.errors import ArtifactInvalid
from anneal_api.job import Metadata
from anneal_api.published import MANIFEST_FILE, PublishedFile
from anneal_serving.artifact import Artifact
from anneal_trainer.stages import file_digest


@dataclass(frozen=True, slots=True)
class JobStore:
    """The versions of one job.

    Attributes:
        folder: Where they lie.
    """

    folder: Path

    @classmethod
    def of(cls, store: Path, metadata: Metadata) -> JobStore:
        """Returns the versions of a job.

        Args:
            store: Root of the store.
            metadata: The job's. The uid keeps a job apart from an earlier one of the same name; outside a cluster
                there is none, and namespace and name stand for it.
        """
        uid = metadata.uid or hashlib.sha256(f"{metadata.namespace}/{metadata.name}".encode()).hexdigest()
        return cls(store / metadata.namespace / f"{metadata.name}-{uid[:8]}")

    def versions(self) -> list[int]:
        """Returns the numbers of the complete versions, oldest first."""
        return sorted(
            int(path.name[1:])
            for path in self.folder.glob("v*")
            if path.name[1:].isdigit() and (path / MANIFEST_FILE).is_file()
        )

    def path(self, version: int) -> Path:
        """Returns the folder of a version."""
        return self.folder / f"v{version}"

    def latest(self) -> Artifact | None:
        """Returns the newest version whose files are whole; an incomplete or altered one is passed over."""
        for version in reversed(self.versions()):
            try:
                return Artifact.open(self.path(version))
            except ArtifactInvalid:
                continue
        return None

    def publish(self, fill: Callable[[Path, int], None]) -> tuple[int, Path]:
        """Adds a version. It appears whole, by one rename, or not at all.

        Args:
            fill: Writes the version's files, `manifest.json` last, into the folder it is given; it is told the number.

        Returns:
            The number and the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            taken = [int(path.name[1:]) for path in self.folder.glob("v*") if path.name[1:].isdigit()]
            version = max(taken, default=0) + 1
            partial = self.folder / f".v{version}.{os.getpid()}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            fill(partial, version)
            for path in partial.rglob("*"):
                if path.is_file():
                    path.chmod(0o444)
            try:
                partial.rename(self.path(version))
            except OSError:
                if not self.path(version).exists():
                    raise
                shutil.rmtree(partial, ignore_errors=True)  # another run was faster: take the next number
                continue
            return version, self.path(version)


def published_files(folder: Path) -> list[PublishedFile]:
    """Returns the record of every file below a version's folder but its manifest."""
    return [
        PublishedFile.model_validate(
            {
                "path": path.relative_to(folder).as_posix(),
                "bytes": path.stat().st_size,
                "sha256": file_digest(path),
            }
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_FILE
    ]
