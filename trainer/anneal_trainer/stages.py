"""Stages whose results are kept under the content hash of their inputs.

A stage runs again only if its inputs changed: its part of the spec, the data's digest, the base model's revision, the
outputs of the stages before it, or its own revision number (raised when its code changes what it produces). The
version of the whole program is not an input, or an upgrade would train everything again.

A stage writes into `<key>.partial`, which survives a crash so that it can go on there, and becomes `<key>` by one
rename once it is whole. Where the machines of a job share no disk, the results have a twin in a bucket.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from anneal_api.errors import ResourceUnavailable
from anneal_trainer.remote.lease import StillHeld
from anneal_trainer.remote.mirror import Mirror

LOCK_FILE = "lock"
"""Held by the run that is at work; beside the stages."""

RECORD_FILE = "stage.json"
"""What a result says of itself; written last."""

_KEPT_PER_STAGE = 3
_CHUNK = 1 << 20
_LOCK_LOOK_SECONDS = 0.5
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@dataclass(frozen=True, slots=True)
class Stage:
    """What identifies a stage's result.

    Attributes:
        name: Name of the stage.
        revision: Raised when the stage's code changes what it produces.
        inputs: Everything else that its result depends on; plain JSON.
    """

    name: str
    revision: int
    inputs: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Content hash of the inputs, 16 hex digits."""
        text = json.dumps([self.name, self.revision, self.inputs], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class StageResult:
    """A stage that is done.

    Attributes:
        name: Name of the stage.
        key: Content hash of its inputs.
        folder: What it made.
        digest: Content hash of what it made; an input of the stages after it.
        reused: Whether an earlier run made it.
        seconds: How long it took when it ran.
    """

    name: str
    key: str
    folder: Path
    digest: str
    reused: bool
    seconds: float


class StageFolder:
    """Keeps the results of one job's stages.

    Args:
        root: The job's work folder.
        mirror: Keeps a twin of it in a bucket; None: the folder is all there is.
    """

    def __init__(self, root: Path, mirror: Mirror | None = None) -> None:
        self.root = root
        self.mirror = mirror

    @contextmanager
    def locked(self, *, wait_seconds: float = 0.0) -> Iterator[None]:
        """Holds the folder against a second run of the same job, on every machine that shares the file system.

        Args:
            wait_seconds: How long to wait for another run to end.

        Raises:
            StillHeld: Another run holds it.
            ResourceUnavailable: The file system or the bucket knows no locks, or cannot be reached.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        if self.mirror is not None:
            with self.mirror.locked(
                self.root / LOCK_FILE, wait_seconds=wait_seconds, lost=_stop_this_process
            ):
                yield
            return
        with (self.root / LOCK_FILE).open("a+") as lock:
            deadline = time.monotonic() + wait_seconds
            while not self._take(lock):
                if time.monotonic() >= deadline:
                    lock.seek(0)
                    raise StillHeld(
                        f"Another run of this job is at work (process {lock.read().strip() or 'unknown'}).",
                        where=str(self.root),
                        remedy="Wait for it, stop it, or give this run a folder of its own with --work-dir.",
                    )
                time.sleep(_LOCK_LOOK_SECONDS)
            lock.truncate(0)
            lock.write(f"{os.getpid()} on {socket.gethostname()}")
            lock.flush()
            yield

    def _take(self, lock: IO[str]) -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise ResourceUnavailable(
                "The file system of the work folder knows no locks, which keep two runs of a job apart.",
                where=str(self.root),
                remedy="Use a volume with a POSIX file system: a local disk, NFSv4, CephFS, or the like.",
            ) from error
        return True

    def clear(self) -> None:
        """Forgets every result, half-done ones too."""
        shutil.rmtree(self.root / "stages", ignore_errors=True)

    def find(self, stage: Stage) -> StageResult | None:
        """Returns the stage's result if an earlier run made it and its files are still what they were."""
        return self.recall(stage.name, stage.key)

    def recall(self, name: str, key: str) -> StageResult | None:
        """Returns the result that is kept under a key, if its files are still what they were.

        Args:
            name: Name of the stage.
            key: Its key when it ran, for whoever does not know its inputs any more.
        """
        folder = self._folder(name, key)
        if self.mirror is not None:
            self.mirror.bring(folder, RECORD_FILE)
        record = _read_record(folder)
        if record is None or record["files"] != file_digests(folder):
            return None
        os.utime(folder)
        return StageResult(name, key, folder, record["digest"], True, record["seconds"])

    def complete(self, stage: Stage, build: Callable[[Path], None]) -> StageResult:
        """Returns the stage's result, from an earlier run where it still holds.

        Args:
            stage: What is asked for.
            build: Makes the result in the folder it is given, which may hold what a killed run left there.
        """
        found = self.find(stage)
        if found is not None:
            return found
        folder = self._folder(stage.name, stage.key)
        shutil.rmtree(folder, ignore_errors=True)
        partial = folder.with_name(f"{folder.name}.partial")
        partial.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        build(partial)
        seconds = time.monotonic() - started
        files = file_digests(partial)
        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        record = {"stage": asdict(stage), "files": files, "digest": digest, "seconds": seconds}
        (partial / RECORD_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
        partial.rename(folder)
        if self.mirror is not None:
            self.mirror.keep(folder, RECORD_FILE)
            self.mirror.remove(partial)  # what it kept there on its way
        self._drop_old(stage)
        return StageResult(stage.name, stage.key, folder, digest, False, seconds)

    def forget(self, result: StageResult) -> None:
        """Removes a result, so that its stage runs again."""
        shutil.rmtree(result.folder, ignore_errors=True)
        if self.mirror is not None:
            self.mirror.remove(result.folder, RECORD_FILE)

    def keep_file(self, path: Path) -> None:
        """Lets the job's other machines see a file that is not a stage's."""
        if self.mirror is not None:
            self.mirror.keep_file(path)

    def bring_file(self, path: Path) -> None:
        """Makes a file that is not a stage's what the job's other machines have made of it."""
        if self.mirror is not None:
            self.mirror.bring_file(path)

    def _folder(self, name: str, key: str) -> Path:
        return self.root / "stages" / name / key

    def _drop_old(self, stage: Stage) -> None:
        parent = self.root / "stages" / stage.name
        folders = sorted(parent.iterdir(), key=lambda path: path.stat().st_mtime)
        for folder in folders[:-_KEPT_PER_STAGE]:
            shutil.rmtree(folder, ignore_errors=True)
        if self.mirror is not None:
            twins = self.mirror.folders(parent, RECORD_FILE)
            for name in sorted(twins, key=lambda name: twins[name].modified)[:-_KEPT_PER_STAGE]:
                self.mirror.remove(parent / name, RECORD_FILE)


def _stop_this_process() -> None:
    """Ends it as an eviction would: whoever took over goes on from what is kept."""
    os.kill(os.getpid(), signal.SIGTERM)


def _read_record(folder: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return record


def file_digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file below a folder, by relative path; a stage's own record is left out."""
    return {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != RECORD_FILE
    }


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
