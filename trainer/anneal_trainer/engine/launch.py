"""Runs a training on Ray Train and brings the trained model home."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ray
import ray.train
import torch
from ray.actor import ActorHandle
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from anneal_api.errors import AnnealError, Interrupted, Reason, TrainingFailed
from anneal_serving.signal_handlers import handlers_kept
from anneal_trainer.engine.checkpoint import MODEL_FOLDER, load_state
from anneal_trainer.engine.failures import classify
from anneal_trainer.engine.plan import CheckpointStorage, TrainingPlan, WorkerGroup
from anneal_trainer.engine.progress import Progress, ProgressBoard
from anneal_trainer.engine.state import TrainingState

_POLL_SECONDS = 0.5
_RESTARTS = 2
"""A lost worker is replaced this many times; each time training goes on from the newest checkpoint."""


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A finished training.

    Attributes:
        folder: The best weights as a Hugging Face model.
        state: How training went.
    """

    folder: Path
    state: TrainingState


class RayWorkers:
    """The worker group of Ray Train, seen from one of its processes."""

    def __init__(self, board: ActorHandle[Any]) -> None:
        context = ray.train.get_context()
        self._rank: int = context.get_world_rank()
        self._world_size: int = context.get_world_size()
        self._device = get_device()
        self._board = board

    @property
    def rank(self) -> int:
        """Number of this process."""
        return self._rank

    @property
    def world_size(self) -> int:
        """How many processes there are."""
        return self._world_size

    @property
    def device(self) -> torch.device:
        """The GPU that Ray gave to this process, or the CPU."""
        return self._device

    @contextmanager
    def resumed(self) -> Iterator[Path | None]:
        """See `Workers.resumed`."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            yield None
            return
        # Read where it lies, or from a copy that goes again: one that stays has the size of model and optimizer.
        with checkpoint.as_directory() as folder:
            yield Path(folder)

    def save(self, write: Callable[[Path], None], *, metrics: dict[str, float]) -> None:
        """See `Workers.save`. Ray counts a checkpoint as kept a moment after this returns, at its next poll.

        Raises:
            TrainingFailed: There is no room for it, in every process: a new worker would only meet the full disk again.
        """
        if self._rank != 0:
            self._unless_full(lambda: None)
            self._unless_full(lambda: ray.train.report(metrics))
            return
        with tempfile.TemporaryDirectory(prefix="anneal-checkpoint-") as folder:
            self._unless_full(lambda: write(Path(folder)))
            checkpoint = Checkpoint.from_directory(folder)
            self._unless_full(lambda: ray.train.report(metrics, checkpoint=checkpoint))

    def _unless_full(self, act: Callable[[], None]) -> None:
        """Does something in every process, and ends it in all of them where rank 0 met a full disk.

        After each step of its own: in a report Ray lets all processes wait for each other.
        """
        full: TrainingFailed | None = None
        try:
            act()
        except OSError as error:
            full = classify(error)
            if full.reason is not Reason.DISK_FULL:
                raise
        if self._world_size > 1:
            told = [full]
            torch.distributed.broadcast_object_list(told, src=0, device=self.device)
            (full,) = told
        if full is not None:
            raise full

    def show(self, progress: Progress) -> None:
        """See `Workers.show`."""
        self._board.write.remote(progress)


def _train_worker(config: dict[str, Any]) -> AnnealError | None:
    # Ray's controller and the driver load this module too, and need no model library.
    from anneal_trainer.engine.loop import Trainer  # noqa: PLC0415

    if config["bring"] is not None:
        config["bring"]()  # where it fails, Ray starts the workers anew, for the others wait already
    try:
        Trainer(config["plan"], RayWorkers(config["board"])).run()
    except AnnealError as error:
        # Every worker meets such an error at the same step, and a new attempt would meet it again.
        return error
    return None


def run_training(
    plan: TrainingPlan,
    group: WorkerGroup,
    *,
    name: str,
    storage: CheckpointStorage,
    home: Path,
    show: Callable[[Progress], None],
    bring: Callable[[], None] | None = None,
) -> TrainedModel:
    """Trains on Ray Train, which must be running, and puts the best model into a folder.

    Args:
        plan: What to train.
        group: What to train on.
        name: Name of the run: the same name and storage go on from the newest checkpoint.
        storage: Where checkpoints go.
        home: Where the trained model goes.
        show: Called with the newest progress about twice a second.
        bring: Called in each worker first: makes the folders that the plan names; None: they are there.

    Raises:
        TrainingFailed: Training broke, and restarting it did not help.
        Interrupted: A person stopped it.
    """
    # Beside the driver: on a worker's machine it would be lost with the worker, and nobody would hear of its successor.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(num_cpus=0)(ProgressBoard)
    board: ActorHandle[Any] = actor.options(scheduling_strategy=here).remote()
    trainer = TorchTrainer(
        _train_worker,  # type: ignore[arg-type]  # typed as if it returned nothing
        train_loop_config={"plan": plan, "board": board, "bring": bring},
        scaling_config=ScalingConfig(
            num_workers=group.processes,
            use_gpu=group.gpus_per_worker > 0,
            resources_per_worker=group.resources_per_process,
        ),
        run_config=RunConfig(
            name=name,
            storage_path=storage.path,
            storage_filesystem=_file_system(storage),
            failure_config=FailureConfig(max_failures=_RESTARTS),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
    )
    with _shown(board, show), handlers_kept():
        try:
            result: Any = trainer.fit()  # typed as the Result of Ray Train's first version
        except (KeyboardInterrupt, SystemExit) as error:  # Ray answers Ctrl-C with the latter
            raise Interrupted(
                "Training was stopped.",
                remedy="Run the same command again: it goes on from its last checkpoint.",
            ) from error
        except ray.train.TrainingFailedError as error:
            raise classify(error) from error
    if isinstance(result.return_value, AnnealError):
        raise result.return_value
    if result.checkpoint is None:
        raise TrainingFailed("Training ended without a checkpoint.", remedy="Run it again with --fresh.")
    with result.checkpoint.as_directory() as folder:
        state = load_state(Path(folder))
        shutil.copytree(Path(folder) / MODEL_FOLDER, home, dirs_exist_ok=True)
    return TrainedModel(home, state)


def _file_system(storage: CheckpointStorage) -> Any:  # noqa: ANN401  # pyarrow has no types
    if storage.bucket is None:
        return None
    from anneal_trainer.engine.bucket_storage import file_system  # noqa: PLC0415  only for buckets

    return file_system(storage.bucket)


@contextmanager
def _shown(board: ActorHandle[Any], show: Callable[[Progress], None]) -> Iterator[None]:
    """Reads the board from a thread of its own while the main thread, which gets the signals, waits for Ray."""
    ended = threading.Event()

    def read() -> Progress | None:
        try:
            return cast("Progress | None", ray.get(board.read.remote(), timeout=5))
        except (ray.exceptions.RayError, ConnectionError):
            return None

    def poll() -> None:
        while not ended.wait(_POLL_SECONDS):
            progress = read()
            if progress is not None:
                show(progress)

    thread = threading.Thread(target=poll, name="training-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=10)
