"""A Ray of this machine's own, for as long as a training lasts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from anneal_serving.local_ray import start_local_ray, stop_local_ray
from anneal_trainer.engine.plan import WorkerGroup
from anneal_trainer.quiet import quiet_libraries

_SETTINGS = {
    # A checkpoint counts as kept at the controller's next look: look often, so that a crash loses little.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # A worker that waits for the others must not wait for ever.
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": "1800",
    # Where a minute is not enough, Ray starts the workers anew, again and again: a busy machine gets ten.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",
}


@contextmanager
def local_ray(group: WorkerGroup) -> Iterator[None]:
    """Starts Ray on 127.0.0.1 with room for a worker group, and stops it. Where this process has one: does nothing.

    Args:
        group: The workers to make room for; they may be more than the machine has cores.
    """
    if ray.is_initialized():
        yield
        return
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    with quiet_libraries():
        start_local_ray(cpus=group.workers * group.cpus_per_worker)
        try:
            yield
        finally:
            stop_local_ray()
