"""What a training is, and what it runs on: plain values that travel to any process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anneal_api.published import PredictorConfig
from anneal_api.spec.training import Training


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """One training.

    Attributes:
        base: Folder of the base model.
        prepared: Folder of the tokenized splits and the tokenizer.
        predictor: Task, labels and codec; the loop's batches are made by the codec that later serves.
        training: The manifest's part.
        selection_metric: Metric that picks the best epoch.
        threads: CPU threads of one process.
        pads: Whether rows of different lengths may be computed together, padded; else only rows of the same length are.
        pad_token_id: That of the saved model's configuration.
    """

    base: Path
    prepared: Path
    predictor: PredictorConfig
    training: Training
    selection_metric: str
    threads: int
    pads: bool = True
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        """Refuses relative paths: the processes that train stand in a folder of Ray's."""
        for folder in (self.base, self.prepared):
            if not folder.is_absolute():
                raise ValueError(f"'{folder}' means something else in another process.")


@dataclass(frozen=True, slots=True)
class CheckpointStorage:
    """Where checkpoints go, reached by every process.

    Attributes:
        path: A folder, or `BUCKET/KEY`.
        bucket: Settings that open the bucket, in the style of AWS, where it is one; empty: AWS's usual ones.
            None: it is a folder.
    """

    path: str
    bucket: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Refuses a relative folder, as `TrainingPlan` does."""
        if self.bucket is None and not Path(self.path).is_absolute():
            raise ValueError(f"'{self.path}' means something else in another process.")


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """What a training runs on.

    Attributes:
        workers: Processes, or pods with one process per GPU.
        gpus_per_worker: GPUs of one worker.
        cpus_per_worker: CPUs of one worker.
    """

    workers: int
    gpus_per_worker: int
    cpus_per_worker: int

    @property
    def processes(self) -> int:
        """Training processes: one per GPU, or one per worker on CPU."""
        return self.workers * max(1, self.gpus_per_worker)

    @property
    def threads_per_process(self) -> int:
        """CPU threads of one training process: the processes of a worker share its CPUs."""
        return max(1, self.cpus_per_worker // max(1, self.gpus_per_worker))

    @property
    def resources_per_process(self) -> dict[str, float]:
        """What one training process asks Ray for.

        All processes of a worker have to find room in it: with fewer CPUs than GPUs they ask for a GPU alone.
        """
        if not self.gpus_per_worker:
            return {"CPU": self.cpus_per_worker}
        return {"CPU": self.cpus_per_worker // self.gpus_per_worker, "GPU": 1}
