"""The training loop, one worker's view of it.

A step has exactly `batchSize` rows over all workers; its loss is summed over micro-batches and divided by the step's
global weight, so that neither the worker count nor the memory budget changes what is learned. Everything random
follows from seed, step and rank: a run that was killed and went on from a checkpoint ends with the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from transformers import PreTrainedModel

from anneal_api.errors import TrainingFailed
from anneal_api.metrics import METRICS
from anneal_serving.codecs import Codec, codec_for
from anneal_trainer.data.prepared import PreparedData, PreparedSplit
from anneal_trainer.engine import checkpoint
from anneal_trainer.engine.batching import (
    by_length,
    epoch_steps,
    micro_batches,
    steps_per_epoch,
    worker_share,
)
from anneal_trainer.engine.determinism import compute_deterministically
from anneal_trainer.engine.dropout import use_cheap_dropout
from anneal_trainer.engine.optimizer import build_optimizer, schedule_factor
from anneal_trainer.engine.plan import TrainingPlan
from anneal_trainer.engine.precision import resolve_precision
from anneal_trainer.engine.progress import Progress
from anneal_trainer.engine.state import TrainingState
from anneal_trainer.engine.workers import Workers
from anneal_trainer.tasks import training_task

_LOGGED_POINTS = 200
"""About as many points has a loss curve."""

_STEPS_PER_CLOCK_LOOK = 10
"""Workers must agree on when to save, which costs a round trip, so the clock is not looked at in every step."""


class Trainer:
    """Trains one model in one worker.

    Args:
        plan: What to train.
        workers: The worker group that this process belongs to.
    """

    def __init__(self, plan: TrainingPlan, workers: Workers) -> None:
        self.plan = plan
        self.training = plan.training
        self.workers = workers
        torch.set_num_threads(plan.threads)
        torch.manual_seed(self.training.seed)
        self.data = PreparedData.open(plan.prepared)
        self.codec: Codec = codec_for(plan.prepared, plan.predictor)
        self.task = training_task(plan.predictor.task)
        self.model: PreTrainedModel = self.task.build_model(
            plan.base, plan.predictor.labels, dropout=self.training.dropout
        )
        if workers.device.type == "cpu":
            use_cheap_dropout(self.model)
        self.model.to(workers.device)  # type: ignore[arg-type]
        self.dtype = resolve_precision(self.training.precision, workers.device)
        compute_deterministically(workers.device, self._compute_once)
        self.network: torch.nn.Module = self.model
        if workers.world_size > 1:
            self.network = torch.nn.parallel.DistributedDataParallel(
                self.model,
                gradient_as_bucket_view=True,
                find_unused_parameters=self._leaves_weights_unused(),
            )
        self.optimizer = build_optimizer(self.model.named_parameters(), self.training)
        self.trained = [weights for weights in self.model.parameters() if weights.requires_grad]
        self.peak_rates = [group["lr"] for group in self.optimizer.param_groups]
        self.per_epoch = steps_per_epoch(len(self.data.train), self.training.batch_size)
        self.total_steps = self.per_epoch * self.training.epochs
        self.log_every = max(1, self.total_steps // _LOGGED_POINTS)
        self.state = TrainingState()
        self.best: checkpoint.Weights | None = None
        self._pending_loss = torch.zeros((), dtype=torch.float64, device=workers.device)
        self._saved_at = time.monotonic()
        self._shown_at = 0.0

    def run(self) -> TrainingState:
        """Trains to the end, from where an earlier process stopped; the last checkpoint holds the best model.

        Raises:
            TrainingFailed: The loss is no longer a finite number.
        """
        self.model.train()  # a pretrained model comes in inference mode
        self._resume()
        self.state.precision = "fp32" if self.dtype is torch.float32 else "bf16"
        self.state.gpu = (
            torch.cuda.get_device_name(self.workers.device) if self.workers.device.type == "cuda" else ""
        )
        while self.state.epochs_scored < self.training.epochs and not self.state.stopped_early:
            epoch = self.state.epochs_scored
            steps = epoch_steps(
                self.data.train.lengths, self.training.batch_size, seed=self.training.seed, epoch=epoch
            )
            for rows in steps[self.state.step - epoch * self.per_epoch :]:
                self._step(rows)
                if self.state.step % _STEPS_PER_CLOCK_LOOK == 0 and self._time_to_save():
                    self._save()
            self._score_epoch()
            self._save()
        self._finish()
        return self.state

    def _resume(self) -> None:
        with self.workers.resumed() as folder:
            if folder is not None:
                self.state, self.best = checkpoint.load_checkpoint(folder, self.model, self.optimizer)
                self.state.resumed_from = self.state.step

    def _step(self, rows: NDArray[np.int64]) -> None:
        started = time.perf_counter()
        rates = self._set_learning_rate()
        self._seed_step()
        train = self.data.train
        weight = self.task.weight(train.labels[rows])
        share = worker_share(rows, rank=self.workers.rank, world_size=self.workers.world_size)
        pieces = list(self._pieces(share, train.lengths))
        for number, piece in enumerate(pieces, start=1):
            with self._gradients_stay_local(number < len(pieces)):
                loss = self._loss_sum(self.network, piece)
                # The worker group averages gradients; the loss is a sum over all workers' rows.
                (loss * (self.workers.world_size / weight)).backward()
            self._pending_loss += loss.detach() / weight
        grad_norm = self._clip_gradients()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state.step += 1
        self.state.loss_steps += 1
        self.state.useful_tokens += int(train.lengths[rows].sum())
        if self.state.step % self.log_every == 0 or self.state.step % self.per_epoch == 0:
            self._log(rates[0], grad_norm)  # waits for a GPU, whose work is a part of the time in steps
        elapsed = time.perf_counter() - started
        self.state.step_seconds += elapsed
        self.state.seconds += elapsed
        self._show()

    def _pieces(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        return micro_batches(rows, lengths, max_tokens=self.training.max_batch_tokens, pads=self.plan.pads)

    def _loss_sum(self, network: torch.nn.Module, rows: NDArray[np.int64]) -> torch.Tensor:
        """Returns the loss summed over training rows that are computed at once."""
        train = self.data.train
        logits = self._forward(network, train, rows)
        targets = torch.as_tensor(train.labels[rows].astype(np.int64), device=self.workers.device)
        return self.task.loss_sum(logits, targets, label_smoothing=self.training.label_smoothing_factor)

    def _compute_once(self) -> None:
        """Computes gradients of a batch, a padded one where there are any, and forgets them."""
        self._gradients_of_longest()
        self.model.zero_grad(set_to_none=True)

    def _gradients_of_longest(self) -> None:
        lengths = self.data.train.lengths
        other = lengths.argmin() if self.plan.pads else lengths.argmax()
        self.model.train()
        self._loss_sum(self.model, np.array([lengths.argmax(), other])).backward()

    def _leaves_weights_unused(self) -> bool:
        """Returns whether some weights get no gradient, as a layer that the head passes by; for those DDP must look."""
        self._gradients_of_longest()
        unused = any(weights.requires_grad and weights.grad is None for weights in self.model.parameters())
        self.model.zero_grad(set_to_none=True)
        anywhere = torch.tensor([int(unused)], device=self.workers.device)
        dist.all_reduce(anywhere)  # which experts a model asks may depend on the worker's dropout
        return bool(anywhere.item())

    def _forward(
        self, network: torch.nn.Module, split: PreparedSplit, rows: NDArray[np.int64]
    ) -> torch.Tensor:
        batch = self.codec.collate([split.ids(int(row)) for row in rows])
        tensors = {
            name: torch.from_numpy(values).to(self.workers.device, non_blocking=True)
            for name, values in batch.items()
        }
        # The Predictor answers in fp32, and validation has to say what it will say.
        low_precision = network.training and self.dtype is not torch.float32
        with torch.autocast(self.workers.device.type, dtype=self.dtype, enabled=low_precision):
            return cast("torch.Tensor", network(**tensors).logits)

    def _gradients_stay_local(self, local: bool) -> AbstractContextManager[Any]:
        if local and isinstance(self.network, torch.nn.parallel.DistributedDataParallel):
            return self.network.no_sync()
        return nullcontext()

    def _set_learning_rate(self) -> list[float]:
        factor = schedule_factor(
            self.state.step,
            total_steps=self.total_steps,
            warmup_ratio=self.training.warmup_ratio,
            kind=self.training.lr_scheduler_type,
        )
        rates = [peak * factor for peak in self.peak_rates]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        return rates

    def _seed_step(self) -> None:
        sequence = np.random.SeedSequence([self.training.seed, self.state.step, self.workers.rank])
        torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def _clip_gradients(self) -> torch.Tensor:
        gradients = [weights.grad for weights in self.trained if weights.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.workers.device.type != "cpu" or float(norm) > self.training.max_grad_norm:
            torch.nn.utils.clip_grads_with_norm_(self.trained, self.training.max_grad_norm, norm)
        return norm

    def _gather_loss(self) -> None:
        if self.workers.world_size > 1:
            dist.all_reduce(self._pending_loss)
        self.state.loss_sum += float(self._pending_loss)
        self._pending_loss.zero_()

    def _log(self, learning_rate: float, grad_norm: torch.Tensor) -> None:
        self._gather_loss()
        loss = self.state.loss_sum / self.state.loss_steps
        if not math.isfinite(loss) or not math.isfinite(float(grad_norm)):
            raise TrainingFailed(
                f"The loss is no longer a finite number at step {self.state.step} (loss {loss}, gradient norm "
                f"{float(grad_norm)}).",
                where="spec.training.learningRate",
                remedy=f"Lower it (it is {self.training.learning_rate:g}) or raise spec.training.warmupRatio.",
            )
        self.state.loss_curve.append(
            {
                "step": self.state.step,
                "epoch": self.state.step / self.per_epoch,
                "loss": loss,
                "learning_rate": learning_rate,
                "grad_norm": float(grad_norm),
            }
        )
        self.state.loss_sum, self.state.loss_steps = 0.0, 0

    def validation_logits(self) -> NDArray[np.float32]:
        """Returns the model's outputs for the validation rows, [rows, labels], in order. All workers share the work."""
        split = self.data.validation
        mine = by_length(split.lengths, range(self.workers.rank, len(split), self.workers.world_size))
        logits = np.zeros((len(split), len(self.plan.predictor.labels)), dtype=np.float32)
        self.model.eval()
        with torch.inference_mode():
            for piece in self._pieces(mine, split.lengths):
                logits[piece] = self._forward(self.model, split, piece).float().cpu().numpy()
        self.model.train()
        if self.workers.world_size > 1:
            everyone = torch.from_numpy(logits).to(self.workers.device)
            dist.all_reduce(everyone)  # each row is zero everywhere but at the worker that computed it
            logits = everyone.cpu().numpy()
        return logits

    def _score_epoch(self) -> None:
        started = time.perf_counter()
        metrics = self.task.metrics(self.validation_logits(), self.data.validation.labels)
        metric = METRICS[self.plan.predictor.task][self.plan.selection_metric]
        score = metrics[metric.name]
        stopping = self.training.early_stopping
        least_gain = stopping.min_delta if stopping else 0.0
        best = self.state.best_score is None or metric.gain(score, self.state.best_score) > least_gain
        self.state.epochs_scored += 1
        if best:
            self.state.best_epoch, self.state.best_score = self.state.epochs_scored, score
            self.state.epochs_without_gain = 0
            if self.workers.rank == 0:
                self.best = checkpoint.copied(self.model.state_dict())
        else:
            self.state.epochs_without_gain += 1
        self.state.stopped_early = (
            stopping is not None
            and self.state.epochs_without_gain >= stopping.patience
            and self.state.epochs_scored < self.training.epochs
        )
        self.state.epochs.append(
            {"epoch": self.state.epochs_scored, "step": self.state.step, "metrics": metrics, "best": best}
        )
        self.state.seconds += time.perf_counter() - started
        self._show(now=True)

    def _time_to_save(self) -> bool:
        due = time.monotonic() - self._saved_at >= self.training.checkpoint.every_minutes * 60
        if self.workers.world_size == 1:
            return due
        verdict = torch.tensor([int(due)], device=self.workers.device)
        dist.broadcast(verdict, src=0)
        return bool(verdict.item())

    def _write_checkpoint(self, folder: Path) -> None:
        checkpoint.save_checkpoint(folder, self.state, self.model.state_dict(), self.optimizer, self.best)

    def _save(self) -> None:
        self._gather_loss()
        self.workers.save(self._write_checkpoint, metrics=self._shown_metrics())
        self._saved_at = time.monotonic()

    def _finish(self) -> None:
        def write(folder: Path) -> None:
            self._write_checkpoint(folder)
            if self.best is not None:
                self.model.load_state_dict(self.best)
            text = self.model.config.get_text_config()
            in_training = text.pad_token_id  # stands in where the model has none, or it would take no batches
            text.pad_token_id = self.plan.pad_token_id
            self.model.save_pretrained(folder / checkpoint.MODEL_FOLDER)
            text.pad_token_id = in_training

        self.workers.save(write, metrics=self._shown_metrics())

    def _shown_metrics(self) -> dict[str, float]:
        scores = self.state.epochs[-1]["metrics"] if self.state.epochs else {}
        return {"step": float(self.state.step), **{name: float(value) for name, value in scores.items()}}

    def _show(self, *, now: bool = False) -> None:
        if self.workers.rank != 0 or (not now and time.monotonic() - self._shown_at < 0.5):  # noqa: PLR2004
            return
        self._shown_at = time.monotonic()
        state = self.state
        per_step = state.step_seconds / max(1, state.step)
        self.workers.show(
            Progress(
                step=state.step,
                total_steps=self.total_steps,
                epoch=state.step / self.per_epoch,
                loss=state.loss_curve[-1]["loss"] if state.loss_curve else None,
                tokens_per_second=state.useful_tokens / max(1e-9, state.step_seconds),
                eta_seconds=per_step * (self.total_steps - state.step),
                scores=state.epochs[-1]["metrics"] if state.epochs else {},
                resumed_from=state.resumed_from,
            )
        )
