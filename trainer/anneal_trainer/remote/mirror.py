"""A folder of this machine with a twin in a bucket.

What is made here goes there once it is whole, and what another machine made comes from there when it is asked for.
Folders are whole or not there at all: one file of each, which the caller names, is written last and read first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from anneal_api.errors import ResourceUnavailable
from anneal_api.uris import LocationError
from anneal_serving.buckets import Purpose, RemoteFile, appear
from anneal_trainer.remote.lease import Patience, lease
from anneal_trainer.remote.writable_bucket import WritableBucket

_CLAIM_FILE = ".claimed"  # keeps whoever else would write the same folder away


@dataclass(frozen=True, slots=True)
class Twin:
    """A folder in the bucket.

    Attributes:
        modified: When something was last written there, by the store's clock.
        whole: Whether the file that is written last is there.
    """

    modified: datetime
    whole: bool


class Mirror:
    """A folder and its twin. It travels to other processes, where it opens the bucket anew.

    Every method raises `ResourceUnavailable` where the bucket cannot be reached or used.

    Args:
        root: The folder.
        uri: Its twin: `s3://BUCKET/PREFIX`.
        patience: How long holders of locks and those who wait for them give each other.
    """

    def __init__(self, root: Path, uri: str, *, patience: Patience | None = None) -> None:
        self.root = root
        self.uri = uri.rstrip("/")
        self._patience = patience

    def __reduce__(self) -> tuple[type[Mirror], tuple[Path, str]]:
        return Mirror, (self.root, self.uri)

    @cached_property
    def _bucket(self) -> WritableBucket:
        return WritableBucket(self.uri, Purpose.STORE)

    def place(self, path: Path) -> str:
        """Returns the uri of a path's twin."""
        return f"{self.uri}/{self._name(path)}"

    def keep(self, folder: Path, whole: str) -> None:
        """Writes a folder to its twin.

        Args:
            folder: A folder below the root.
            whole: The file that is written last.
        """
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        last = folder / whole
        with self._usable():
            self._bucket.write((self._name(path), path) for path in files if path != last)
            self._bucket.write([(self._name(last), last)])

    def create(self, folder: Path, whole: str) -> bool:
        """Writes a folder to its twin unless there is one already; returns whether it was written.

        Args:
            folder: A folder below the root.
            whole: The file that is written last.
        """
        claim = f"{self._name(folder)}/{_CLAIM_FILE}"
        with self._usable():
            if (
                self._bucket.create(claim, b"") is None
                or self.folders(folder.parent, whole)[folder.name].whole
            ):
                return False
        self.keep(folder, whole)
        with self._usable():
            self._bucket.remove([claim])
        return True

    def bring(self, folder: Path, whole: str) -> bool:
        """Makes a folder from its twin, where it is not here; returns whether it is here then.

        Args:
            folder: A folder below the root.
            whole: The file without which the twin does not exist.
        """
        if folder.is_dir():
            return True
        name = self._name(folder)
        with self._usable():
            files = self._bucket.files(name)
            if not any(file.name == f"{name}/{whole}" for file in files):
                return False
            appear(folder, lambda partial: self._bucket.fetch(files, partial, below=name))
        return True

    def keep_file(self, path: Path) -> None:
        """Writes a file to its twin."""
        with self._usable():
            self._bucket.write([(self._name(path), path)])

    def bring_file(self, path: Path) -> bool:
        """Makes a small file what its twin is; returns whether there is one."""
        with self._usable():
            found = self._bucket.read(self._name(path))
        if found is None:
            path.unlink(missing_ok=True)
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        partial.write_bytes(found.content)
        partial.replace(path)
        return True

    def folders(self, parent: Path, whole: str) -> dict[str, Twin]:
        """Returns the folders in a folder's twin by name.

        Args:
            parent: A folder below the root.
            whole: The file that is written last.
        """
        found: dict[str, Twin] = {}
        for file in self._files(parent):
            name, _, inside = file.name.removeprefix(f"{self._name(parent)}/").partition("/")
            if inside and file.modified:
                before = found.get(name) or Twin(file.modified, whole=False)
                found[name] = Twin(max(before.modified, file.modified), whole=before.whole or inside == whole)
        return found

    def remove(self, folder: Path, whole: str = "") -> None:
        """Removes a folder's twin, and the folder.

        Args:
            folder: A folder below the root.
            whole: The file to remove before all others: without it there is no folder for whoever looks.
        """
        first = f"{self._name(folder)}/{whole}" if whole else ""
        with self._usable():
            if first:
                self._bucket.remove([first])
            self._bucket.remove(file.name for file in self._files(folder) if file.name != first)
        shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def locked(self, path: Path, *, wait_seconds: float, lost: Callable[[], None]) -> Iterator[None]:
        """Holds a name against every process that uses the same twin.

        Args:
            path: The name, a path below the root.
            wait_seconds: How long to wait for another holder.
            lost: Called from another thread if somebody took it over.
        """
        with ExitStack() as stack:
            with self._usable():
                stack.enter_context(
                    lease(
                        self._bucket,
                        self._name(path),
                        wait_seconds=wait_seconds,
                        lost=lost,
                        patience=self._patience,
                    )
                )
            yield

    def _files(self, folder: Path) -> list[RemoteFile]:
        with self._usable():
            return self._bucket.files(self._name(folder))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except LocationError as error:
            raise ResourceUnavailable(error.what, where="spec.store", remedy=error.remedy) from error
