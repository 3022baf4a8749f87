"""What training processes read and where they put checkpoints, on machines that may share no disk."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anneal_serving.buckets import Purpose, appear, settings_of
from anneal_trainer.base_model import BaseModel
from anneal_trainer.engine.plan import CheckpointStorage
from anneal_trainer.model_files import model_files
from anneal_trainer.remote.mirror import Mirror
from anneal_trainer.stages import RECORD_FILE, StageFolder

_BASE_WHOLE = "config.json"


@dataclass(frozen=True, slots=True)
class Bringer:
    """Brings folders to the machine of whoever calls it, from their twins in a bucket.

    Attributes:
        mirror: The folders' root and its twin.
        folders: Each with the file without which it does not exist.
    """

    mirror: Mirror
    folders: tuple[tuple[Path, str], ...]

    def __call__(self) -> None:
        """Brings them.

        Raises:
            FileNotFoundError: One is not in the bucket any more.
            ResourceUnavailable: The bucket cannot be reached.
        """
        for folder, whole in self.folders:
            if not self.mirror.bring(folder, whole):
                raise FileNotFoundError(f"{self.mirror.place(folder)} is not there any more")


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """What the processes of a training need beside the plan.

    Attributes:
        base: Folder of the base model, as each of them sees it.
        bring: Called in each of them first: makes the folders that the plan names; None: they see them already.
        checkpoints: Where checkpoints go.
    """

    base: Path
    bring: Callable[[], None] | None
    checkpoints: CheckpointStorage

    @classmethod
    def of(cls, stages: StageFolder, *, prepared: Path, base: BaseModel, checkpoints: Path) -> TrainingInputs:
        """Returns what a training needs.

        Args:
            stages: The job's work folder.
            prepared: Result of the stage that prepared the rows, in it.
            base: The base model.
            checkpoints: Folder for checkpoints, in it.

        Raises:
            ResourceUnavailable: The job's bucket cannot be reached.
        """
        mirror = stages.mirror
        if mirror is None:
            return cls(base.folder, None, CheckpointStorage(str(checkpoints.absolute())))
        folders = [(prepared, RECORD_FILE)]
        folder = base.folder
        if folder.is_relative_to(mirror.root):
            # It was downloaded to this machine alone. From here it goes to the bucket once, whatever the hub does.
            folder = stages.root / "base" / hashlib.sha256(base.revision.encode()).hexdigest()[:16]
            folders.append((folder, _BASE_WHOLE))
            if not mirror.bring(folder, _BASE_WHOLE):
                appear(folder, lambda partial: _link(base.folder, partial))
                mirror.keep(folder, _BASE_WHOLE)
        place = mirror.place(checkpoints).partition("://")[2]
        return cls(
            folder, Bringer(mirror, tuple(folders)), CheckpointStorage(place, settings_of(Purpose.STORE))
        )


def _link(folder: Path, target: Path) -> None:
    for path in model_files(folder):
        try:
            os.link(path.resolve(), target / path.name)
        except OSError:
            shutil.copyfile(path, target / path.name)
