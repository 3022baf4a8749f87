"""Text classification with Hugging Face's Trainer, as a competent reader of its tutorial writes it.

    python -m tests.benchmarks.contestants.hf_trainer --model DIR --train train.csv --validation validation.csv \
        --test test.csv --out result.json [--padding dynamic|max_length|grouped] [--gpu] [--epochs 2] ..

It writes what it measured as JSON: useful tokens per second of training, steps, final loss, scores, test predictions.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)


class _TimeInSteps(TrainerCallback):
    """Adds up the time from a step's begin to its end, and between steps of an epoch: evaluation and saving are
    left out."""

    def __init__(self) -> None:
        self.total = 0.0
        self._since = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        self._since = time.perf_counter()

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        self.total += time.perf_counter() - self._since


class _EndsAtFirstStep(TrainerCallback):
    """Writes down when the first step was done, and ends the process."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        found = {"first_step_at": time.time(), "steps": state.max_steps}
        self._out.write_text(json.dumps(found), encoding="utf-8")
        os._exit(0)


def main() -> None:
    """Trains, scores, writes the measurements."""
    parser = argparse.ArgumentParser()
    for name in ("model", "train", "validation", "test", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--padding", choices=["dynamic", "max_length", "grouped"], default="dynamic")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--warmup", type=float, default=0.1)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--gpu", action="store_true", help="train on a GPU, in bf16")
    parser.add_argument("--first-step", action="store_true", help="end after it, and say when it was")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    set_seed(asked.seed)
    datasets.disable_progress_bars()

    files = {"train": asked.train, "validation": asked.validation, "test": asked.test}
    data = datasets.load_dataset("csv", data_files=files)
    labels = sorted(set(data["train"]["label"]))
    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    full = {"padding": "max_length"} if asked.padding == "max_length" else {}

    def encode(rows: dict[str, Any]) -> dict[str, Any]:
        encoded = tokenizer(rows["text"], truncation=True, max_length=asked.max_length, **full)
        lengths = [sum(mask) for mask in encoded["attention_mask"]]
        return {**encoded, "labels": [labels.index(label) for label in rows["label"]], "length": lengths}

    data = data.map(encode, batched=True, remove_columns=["text", "label"])
    model = AutoModelForSequenceClassification.from_pretrained(asked.model, num_labels=len(labels))
    arguments = TrainingArguments(
        output_dir=str(Path(asked.out).with_suffix("")),
        num_train_epochs=asked.epochs,
        per_device_train_batch_size=asked.batch_size,
        per_device_eval_batch_size=asked.batch_size,
        learning_rate=asked.lr,
        warmup_steps=asked.warmup,
        weight_decay=0.01,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
        logging_steps=20,
        report_to="none",
        disable_tqdm=True,
        use_cpu=not asked.gpu,
        bf16=asked.gpu,
        seed=asked.seed,
        train_sampling_strategy="group_by_length" if asked.padding == "grouped" else "random",
    )

    def accuracy(prediction: Any) -> dict[str, float]:
        return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}

    seconds = _TimeInSteps()
    trainer = Trainer(
        model,
        arguments,
        train_dataset=data["train"],
        eval_dataset=data["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=accuracy,
        callbacks=[seconds, *([_EndsAtFirstStep(Path(asked.out))] if asked.first_step else [])],
    )
    if asked.gpu:
        _warm_up(model, tokenizer)
    result = trainer.train()
    rows_seen = min(result.global_step * asked.batch_size, len(data["train"]) * asked.epochs)
    useful = float(np.mean(data["train"]["length"])) * rows_seen
    answer = trainer.predict(data["test"])
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    Path(asked.out).write_text(
        json.dumps(
            {
                "steps": result.global_step,
                "useful_tokens_per_second": useful / seconds.total,
                "train_seconds": seconds.total,
                "last_losses": losses[-5:],
                "test_accuracy": accuracy(answer)["accuracy"],
                "test_predictions": [labels[index] for index in np.argmax(answer.predictions, axis=-1)],
            }
        ),
        encoding="utf-8",
    )


def _warm_up(model: Any, tokenizer: Any) -> None:
    """Computes gradients once: ours does so before its first step, where CUDA's libraries are then loaded already."""
    batch = tokenizer(["one", "one and another"], padding=True, return_tensors="pt").to(model.device)
    with torch.autocast("cuda", torch.bfloat16):
        model(**batch, labels=torch.zeros(2, dtype=torch.long, device=model.device)).loss.backward()
    model.zero_grad()


if __name__ == "__main__":
    main()
