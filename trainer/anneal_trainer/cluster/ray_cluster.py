"""The Ray cluster that a train pod finds itself in."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from anneal_api.errors import ResourceUnavailable
from anneal_trainer.engine.plan import WorkerGroup

_SETTINGS = {
    # A checkpoint counts as kept at the controller's next look: look often, so that a crash loses little.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # A worker that waits for the others must not wait for ever.
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "1800",
    # Pods of workers come when there is room for them, and load PyTorch from a cold disk.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
}


@contextmanager
def ray_cluster(group: WorkerGroup) -> Iterator[None]:
    """Connects to the Ray that runs already, at `RAY_ADDRESS` or on this machine, and leaves it running.

    Ray Train waits for the workers by itself.

    Args:
        group: The workers that training will ask for.

    Raises:
        ResourceUnavailable: There is no Ray.
    """
    del group
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address="auto")
    except ConnectionError as error:
        raise ResourceUnavailable(
            f"There is no Ray cluster to train on: {error}",
            where="RAY_ADDRESS",
            remedy="Start this part as a job of a Ray cluster; the operator does so with a RayJob.",
        ) from error
    # Ray put its own handler in place, which ends the process without stopping the training.
    signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        ray.shutdown()
