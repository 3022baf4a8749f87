"""A Ray that only this machine can reach."""

from __future__ import annotations

import logging
import os

import ray
from ray._private import ray_constants

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Without it Ray listens on every interface: it replaces 127.0.0.1 by the machine's own address. It is
    # named for the systems where Ray sets it by itself, and works on Linux too.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def start_local_ray(*, cpus: int) -> None:
    """Starts Ray with all its ports on 127.0.0.1. Stop it with `ray.shutdown()`.

    Args:
        cpus: CPUs that tasks and actors may ask for; they may be more than the machine has.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    # Ray reads the variable when it is imported, which is over; the processes that it starts read it anew.
    ray_constants.ENABLE_RAY_CLUSTER = False
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
