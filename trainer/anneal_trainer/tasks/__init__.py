"""What a task adds to the loop: its head, its loss, its metrics. One module a task."""

from __future__ import annotations

from anneal_api.tasks import Task
from anneal_trainer.tasks.base import TrainingTask
from anneal_trainer.tasks.text_classification import TextClassification


def training_task(task: Task) -> TrainingTask:
    """Returns what the loop needs to know about a task.

    Raises:
        KeyError: The task cannot be trained; validation refuses such a manifest before.
    """
    known: dict[Task, TrainingTask] = {Task.TEXT_CLASSIFICATION: TextClassification()}
    return known[task]
