"""The parts of a job's way, each in a process and mostly in a pod of its own.

They find each other's results in the job's work folder, which lies on the store's volume or has a twin in its bucket,
so that every pod of every attempt sees it: `prepare` writes down what it saw of data and model, `train` and `finish`
take that over. Where it does not hold any more, `train` prepares again, which takes a CPU and minutes at most; a lost
training is an error.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path

from anneal_api.attempt import Part, PublishedResult
from anneal_api.errors import ResourceUnavailable
from anneal_api.job import FineTuneJob
from anneal_api.published import MANIFEST_FILE, PublishedModel
from anneal_api.report import TrainingRecord
from anneal_api.schema import parse_quantity
from anneal_trainer.cluster.environment import Folders
from anneal_trainer.cluster.observer import ReportingObserver
from anneal_trainer.cluster.report import Reporter
from anneal_trainer.cluster.work_folder import LOCK_SECONDS, held
from anneal_trainer.data.estimate import Machine, this_machine
from anneal_trainer.engine.plan import WorkerGroup
from anneal_trainer.engine.progress import Progress
from anneal_trainer.environment import usable_cores
from anneal_trainer.outcome import Outcome
from anneal_trainer.pipeline import Pipeline
from anneal_trainer.publish.retention import retain

DEFAULT_CPU = "1"
DEFAULT_MEMORY = "4Gi"
"""What the operator gives to a worker of a job that does not say."""

_logger = logging.getLogger(__name__)


def run_part(
    part: Part,
    job: FineTuneJob,
    folders: Folders,
    *,
    base_folder: Path,
    reporter: Reporter,
    serving: Collection[int] = (),
    lock_seconds: float = LOCK_SECONDS,
) -> PublishedResult | None:
    """Runs a part; what holds already is not run again.

    Args:
        part: Which one.
        job: The job.
        folders: Where it keeps what it makes.
        base_folder: Folder of the manifest.
        reporter: Gets how it goes.
        serving: Versions that serve now: no retention removes them.
        lock_seconds: How long to wait for another pod of the job.

    Returns:
        What came out, from the last part only.

    Raises:
        AnnealError: Something that a person can mend.
    """
    observer = ReportingObserver(reporter)
    pipeline = Pipeline(
        job,
        base_folder=base_folder,
        work=folders.work,
        store=folders.store,
        group=worker_group(job),
        ray_session=_ray_session,
        observer=observer,
        mirror=folders.mirror,
        machine=workers_machine(job),
    )
    with held(pipeline.stages, lock_seconds):
        match part:
            case Part.PREPARE:
                pipeline.prepare()
                return None
            case Part.TRAIN:
                pipeline.train()
                _report_training(pipeline, observer)
                return None
            case Part.FINISH:
                outcome = pipeline.finish()
                _apply_retention(pipeline, outcome, serving)
                return published_result(outcome, folders.store)


def worker_group(job: FineTuneJob) -> WorkerGroup:
    """Returns what the job trains on. Of a part of a CPU Ray counts the whole."""
    resources = job.spec.resources
    cpus = max(1, math.ceil(parse_quantity(resources.cpu or DEFAULT_CPU)))
    return WorkerGroup(
        workers=resources.workers, gpus_per_worker=resources.gpus_per_worker, cpus_per_worker=cpus
    )


def workers_machine(job: FineTuneJob) -> Machine:
    """Returns the workers as one machine: preflight must not judge the training by the pod that it runs in itself."""
    resources, group, here = job.spec.resources, worker_group(job), this_machine()
    memory = int(parse_quantity(resources.memory or DEFAULT_MEMORY)) * group.workers
    share = group.workers * group.cpus_per_worker / usable_cores()
    return Machine(memory_bytes=memory, flops=here.flops * share)


def published_result(outcome: Outcome, store: Path) -> PublishedResult:
    """Returns what the operator is told of a run; `version` is absent where the gate let nothing through.

    Args:
        outcome: What the run came to.
        store: Root of the store.
    """
    report = outcome.report
    path, digest = "", ""
    if outcome.published is not None:
        path = outcome.published.relative_to(store.absolute()).as_posix()
        digest = hashlib.sha256((outcome.published / MANIFEST_FILE).read_bytes()).hexdigest()
    return PublishedResult.model_validate(
        {
            "version": report.version,
            "path": path,
            "digest": digest,
            "leading_metric": report.gate.leading_metric,
            "metrics": report.test.metrics,
            "gate": report.gate,
            "variants": report.variants,
        },
        by_name=True,
    )


def _ray_session(group: WorkerGroup) -> AbstractContextManager[None]:
    from anneal_trainer.cluster.ray_cluster import ray_cluster  # noqa: PLC0415  only training loads Ray

    return ray_cluster(group)


def _report_training(pipeline: Pipeline, observer: ReportingObserver) -> None:
    """Reports where training ended: the last look at its progress may have been a moment before."""
    result = pipeline.results["train"]
    if result.reused:
        return
    record = TrainingRecord.model_validate_json((result.folder / "training.json").read_bytes())
    observer.progressed(
        Progress(
            step=record.steps,
            total_steps=record.planned_steps,
            epoch=float(record.epochs[-1].epoch) if record.epochs else 0.0,
            loss=record.loss_curve[-1].loss if record.loss_curve else None,
            tokens_per_second=record.useful_tokens_per_second,
            eta_seconds=0.0,
            scores=record.epochs[-1].metrics if record.epochs else {},
            resumed_from=record.resumed_from,
        )
    )


def _apply_retention(pipeline: Pipeline, outcome: Outcome, serving: Collection[int]) -> None:
    retention = pipeline.spec.retention
    if retention is None or outcome.published is None:
        return
    newest = PublishedModel.model_validate_json((outcome.published / MANIFEST_FILE).read_bytes())
    protected = {newest.version, newest.incumbent, *serving} - {None}
    try:
        removed = retain(
            pipeline.versions, keep=retention.versions, protected=[v for v in protected if v is not None]
        )
    except (OSError, ResourceUnavailable):
        # The version is published; that an old one is still there harms nobody, and the next run tries again.
        _logger.exception("Older versions could not be removed")
        return
    if removed:
        _logger.info("Removed versions %s: retention.versions is %d", removed, retention.versions)
