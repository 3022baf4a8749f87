"""Text classification with anneal's own stages, from CSV files to test answers.

    python -m tests.benchmarks.contestants.anneal_training --model DIR --train train.csv --validation validation.csv \
        --test test.csv --out result.json [--ray] [--gpu] [--epochs 2] [--batch-size 32] [--lr 1e-4] [--seed 42]

Without `--ray` the training loop runs in this process; with it on Ray Train, as in `anneal run`. It writes the same
figures as `hf_trainer`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from anneal_api.job import FineTuneJob
from anneal_api.report import DataSummary
from anneal_serving.predictor import Predictor
from anneal_trainer import base_model
from anneal_trainer.engine.checkpoint import MODEL_FOLDER
from anneal_trainer.engine.launch import run_training
from anneal_trainer.engine.local_ray import local_ray
from anneal_trainer.engine.loop import Trainer
from anneal_trainer.engine.plan import CheckpointStorage, TrainingPlan, WorkerGroup
from anneal_trainer.engine.progress import Progress
from anneal_trainer.engine.state import TrainingState
from anneal_trainer.engine.workers import SoloWorker
from anneal_trainer.pipeline import Pipeline
from anneal_trainer.stages import StageResult

_METRIC = "accuracy"


class _Silence:
    def started(self, stage: str) -> None:
        """Says nothing."""

    def found(self, summary: DataSummary) -> None:
        """Says nothing."""

    def progressed(self, progress: Progress) -> None:
        """Says nothing."""

    def finished(self, result: StageResult) -> None:
        """Says nothing."""


def main() -> None:
    """Trains, scores, writes the measurements."""
    parser = argparse.ArgumentParser()
    for name in ("model", "train", "validation", "test", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--warmup", type=float, default=0.1)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ray", action="store_true", help="train on Ray Train")
    parser.add_argument("--gpu", action="store_true", help="train on a GPU, in bf16")
    asked = parser.parse_args()

    job = FineTuneJob.model_validate(
        {
            "apiVersion": "anneal.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {"name": "benchmark"},
            "spec": {
                "task": "text-classification",
                "model": {"source": asked.model},
                "data": {
                    name: {"uri": str(Path(getattr(asked, name)).resolve())}
                    for name in ("train", "validation", "test")
                },
                "training": {
                    "epochs": asked.epochs,
                    "batchSize": asked.batch_size,
                    "learningRate": asked.lr,
                    "warmupRatio": asked.warmup,
                    "weightDecay": 0.01,
                    "maxLength": asked.max_length,
                    "seed": asked.seed,
                    "precision": "bf16" if asked.gpu else "auto",
                },
                "evaluation": {"metrics": [_METRIC]},
            },
        }
    )
    group = WorkerGroup(workers=1, gpus_per_worker=int(asked.gpu), cpus_per_worker=asked.threads)
    with tempfile.TemporaryDirectory(prefix="anneal-benchmark-") as scratch:
        folder = Path(scratch)
        pipeline = Pipeline(
            job,
            base_folder=Path.cwd(),
            work=folder / "work",
            store=folder / "store",
            group=group,
            ray_session=local_ray,
            observer=_Silence(),
        )
        pipeline.prepare()
        plan = TrainingPlan(
            base=pipeline.base.folder,
            prepared=pipeline.results["prepare"].folder,
            predictor=pipeline.parent_config,
            training=job.spec.training,
            selection_metric=_METRIC,
            threads=asked.threads,
        )
        session: AbstractContextManager[None] = local_ray(group) if asked.ray else nullcontext()
        with session:
            model, state = _train(plan, group, folder, on_ray=asked.ray)
        base_model.tokenizer_files(pipeline.base, model)
        rows = pipeline.data.test.rows()
        with Predictor.load(model, pipeline.parent_config, threads=asked.threads) as predictor:
            predictions = [answer.label for answer in predictor.predict(rows.texts)]
    right = sum(said == label for said, label in zip(predictions, rows.labels, strict=True))
    Path(asked.out).write_text(
        json.dumps(
            {
                "steps": state.step,
                "useful_tokens_per_second": state.useful_tokens / state.step_seconds,
                "train_seconds": state.step_seconds,
                "last_losses": [point["loss"] for point in state.loss_curve[-5:]],
                "test_accuracy": right / len(rows),
                "test_predictions": predictions,
            }
        ),
        encoding="utf-8",
    )


def _train(
    plan: TrainingPlan, group: WorkerGroup, folder: Path, *, on_ray: bool
) -> tuple[Path, TrainingState]:
    if on_ray:
        trained = run_training(
            plan,
            group,
            name="run",
            storage=CheckpointStorage(str((folder / "checkpoints").absolute())),
            home=folder / "trained",
            show=lambda _: None,
        )
        return trained.folder, trained.state
    device = torch.device("cuda" if group.gpus_per_worker else "cpu")
    worker = SoloWorker(folder / "checkpoints", device=device)
    state = Trainer(plan, worker).run()
    newest = worker.newest()
    assert newest is not None
    return newest / MODEL_FOLDER, state


if __name__ == "__main__":
    main()
