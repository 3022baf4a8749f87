"""Where a run reads and writes. Every place is absolute, for Ray's processes stand in another folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from anneal_api.errors import ManifestInvalid, ResourceUnavailable
from anneal_api.job import FineTuneJob
from anneal_api.uris import LocationError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:$")


@dataclass(frozen=True, slots=True)
class RunPlaces:
    """The places of a run, all of them absolute.

    Attributes:
        base_folder: What the manifest's relative paths start from: the folder that it was named in.
        work: Root of the folders in which stages keep their results.
        store: Root of the model store.
        store_setting: The option or the path in the spec that chose the store.
    """

    base_folder: Path
    work: Path
    store: Path
    store_setting: str

    @classmethod
    def of(cls, job: FineTuneJob, file: Path, *, work_dir: Path, store: Path | None) -> RunPlaces:
        """Returns the places of a run.

        Args:
            job: The job.
            file: The manifest, as it was named.
            work_dir: The folder of `--work-dir`.
            store: The folder of `--store`; None: the manifest's, or the one in the work folder.

        Raises:
            ManifestInvalid: `spec.store.uri` names no folder.
            ResourceUnavailable: The current folder is gone.
        """
        base_folder = _absolute(file, "FILE").parent
        work_dir = _absolute(work_dir, "--work-dir")
        if store is not None:
            chosen, setting = _absolute(store, "--store"), "--store"
        elif job.spec.store is not None:
            chosen, setting = _store_of_manifest(job.spec.store.uri, base_folder), "spec.store.uri"
        else:
            chosen, setting = work_dir / "store", "--work-dir"
        return cls(base_folder, work_dir / "work", chosen, setting)


def looks_like_uri(folder: Path) -> bool:
    """Returns whether what should be a folder was given as a uri; `Path` takes two slashes for one."""
    return len(folder.parts) > 1 and _SCHEME.match(folder.parts[0]) is not None


def _store_of_manifest(uri: str, base_folder: Path) -> Path:
    from anneal_trainer.data.locations import local_path

    try:
        return local_path(uri, base_folder=base_folder)
    except LocationError as error:
        raise ManifestInvalid(error.what, where="spec.store.uri", remedy=error.remedy) from error


def _absolute(path: Path, setting: str) -> Path:
    try:
        # A shell leaves the `~` of `--store=~/models` alone.
        return path.expanduser().absolute()
    except FileNotFoundError as error:
        raise ResourceUnavailable(
            "The current folder does not exist any more.",
            where=f"{setting}: {path}",
            remedy="Change into a folder that exists.",
        ) from error
    except RuntimeError as error:
        raise ResourceUnavailable(
            "There is no such home folder.", where=f"{setting}: {path}", remedy="Write the path out."
        ) from error
