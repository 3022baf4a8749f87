"""The model store: `<store>/<namespace>/<job>-<uid8>/v<N>/`, every version immutable, in a folder or in a bucket."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from anneal_api.errors import ArtifactInvalid
from anneal_api.job import Metadata
from anneal_api.published import MANIFEST_FILE, PublishedFile
from anneal_serving.artifact import Artifact
from anneal_trainer.remote.mirror import Mirror
from anneal_trainer.stages import file_digest

_REMOVED = ".removed"
_LEFT_BEHIND = (f".v*{_REMOVED}", ".v*.partial")


@dataclass(frozen=True, slots=True)
class JobStore:
    """The versions of one job.

    Attributes:
        folder: Where they lie, or, where the store is in a bucket, where those lie that were needed here.
        mirror: Keeps them in a bucket; None: the folder is all there is.
    """

    folder: Path
    mirror: Mirror | None = None

    @classmethod
    def of(cls, store: Path, metadata: Metadata, mirror: Mirror | None = None) -> JobStore:
        """Returns the versions of a job.

        Args:
            store: Root of the store.
            metadata: The job's. The uid keeps a job apart from an earlier one of the same name; outside a cluster
                there is none, and namespace and name stand for it.
            mirror: Keeps the store in a bucket.
        """
        uid = metadata.uid or hashlib.sha256(f"{metadata.namespace}/{metadata.name}".encode()).hexdigest()
        return cls(store / metadata.namespace / f"{metadata.name}-{uid[:8]}", mirror)

    @property
    def place(self) -> str:
        """Where they lie for everybody: a path, or the uri of a place in a bucket."""
        return str(self.folder) if self.mirror is None else self.mirror.place(self.folder)

    def versions(self) -> list[int]:
        """Returns the numbers of the complete versions, oldest first."""
        if self.mirror is not None:
            found = self.mirror.folders(self.folder, MANIFEST_FILE)
            return sorted(_numbers(name for name, twin in found.items() if twin.whole))
        return sorted(_numbers(path.name for path in self._folders() if (path / MANIFEST_FILE).is_file()))

    def path(self, version: int) -> Path:
        """Returns the folder of a version. In a store in a bucket it may not be here yet."""
        return self.folder / f"v{version}"

    def brought(self, version: int) -> Path:
        """Returns the folder of a version, with the version in it."""
        if self.mirror is not None:
            self.mirror.bring(self.path(version), MANIFEST_FILE)
        return self.path(version)

    def latest(self) -> Artifact | None:
        """Returns the newest version whose files are whole; an incomplete or altered one is passed over."""
        for version in reversed(self.versions()):
            try:
                return Artifact.open(self.brought(version))
            except ArtifactInvalid:
                continue
        return None

    def publish(self, fill: Callable[[Path, int], None]) -> tuple[int, Path]:
        """Adds a version. It appears whole, in one step, or not at all.

        Args:
            fill: Writes the version's files, `manifest.json` last, into the folder it is given; it is told the number.

        Returns:
            The number and the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        while True:
            version = max(self._taken(), default=0) + 1
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
            if self.mirror is not None and not self.mirror.create(self.path(version), MANIFEST_FILE):
                shutil.rmtree(self.path(version))  # the same in the bucket
                continue
            return version, self.path(version)

    def remove(self, version: int) -> None:
        """Removes a version. It is gone in one step: whoever lists the store meets it whole or not at all."""
        if self.mirror is not None:
            self.mirror.remove(self.path(version), MANIFEST_FILE)
            return
        self.path(version).rename(self.folder / f".v{version}{_REMOVED}")

    def sweep(self) -> None:
        """Removes what killed runs left behind, and what is left of removed versions."""
        for pattern in _LEFT_BEHIND:
            for folder in self.folder.glob(pattern):
                shutil.rmtree(folder)
        if self.mirror is not None:
            for name, twin in self.mirror.folders(self.folder, MANIFEST_FILE).items():
                if not twin.whole:
                    self.mirror.remove(self.folder / name)

    def _taken(self) -> list[int]:
        """Returns the numbers of all versions, half-written ones too."""
        names = [path.name for path in self._folders()]
        if self.mirror is not None:
            names += self.mirror.folders(self.folder, MANIFEST_FILE)
        return _numbers(names)

    def _folders(self) -> list[Path]:
        return list(self.folder.glob("v*"))


def _numbers(names: Iterable[str]) -> list[int]:
    return [int(name[1:]) for name in names if name.startswith("v") and name[1:].isdigit()]


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
