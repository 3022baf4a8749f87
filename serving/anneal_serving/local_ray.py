"""A Ray of this process's own, that only this machine can reach."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray._private import ray_constants, services

from anneal_api.errors import ResourceUnavailable
from anneal_api.system_errors import unavailable
from anneal_serving.environment_paths import make_paths_absolute
from anneal_serving.ray_folder import ray_folder
from anneal_serving.signal_handlers import handlers_kept

_START_SECONDS = 120.0

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Without it Ray listens on every interface: it replaces 127.0.0.1 by the machine's own address. It is
    # named for the systems where Ray sets it by itself, and works on Linux too.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # How long a busy machine may take to start Ray's first process.
    "RAY_gcs_server_port_wait_time_s": f"{_START_SECONDS:.0f}",
}

_OF_ANOTHER_RAY = (
    "RAY_ADDRESS",
    "RAY_API_SERVER_ADDRESS",
    "RAY_NAMESPACE",
    "RAY_JOB_ID",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
    "RAY_RUNTIME_ENV",
    "RAY_RUNTIME_ENV_HOOK",
    "RAY_REDIS_ADDRESS",
    "RAY_external_storage_namespace",
    "RAY_gcs_storage",
    "RAY_gcs_storage_path",
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING",
)
"""Variables that lead to a Ray that runs already, to its records, or to the job in it that this process is part of."""


def start_local_ray(*, cpus: int) -> None:
    """Starts a Ray with all its ports on 127.0.0.1, whichever other Ray there is. Stop it with `stop_local_ray`.

    Args:
        cpus: CPUs that tasks and actors may ask for; they may be more than the machine has.

    Raises:
        ResourceUnavailable: The machine does not let it start.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    make_paths_absolute(os.environ)
    if not _home_can_be_written():
        # The key to this Ray, which it would otherwise write into the home folder; it fails where it cannot.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    folder = ray_folder(os.environ)
    # Ray reads the variables when it is imported, which is over; the processes that it starts read them anew.
    ray_constants.ENABLE_RAY_CLUSTER = False
    ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False  # it would copy the current folder for the workers
    try:
        with _apart_from_another_ray(), _patience(), handlers_kept():
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(folder),
            )
    except SystemExit as error:  # Ray's answer to SIGTERM, as long as it starts
        raise KeyboardInterrupt from error
    except Exception as error:  # of any class, a bare Exception among them
        with handlers_kept():
            ray.shutdown()
        raise unavailable(error) or ResourceUnavailable(
            f"Ray did not start: {_last_line(error)}.",
            where=f"RAY_TMPDIR: {folder.parent}",
            remedy=f"Run again where the machine was busy. Ray's logs below {folder}/session_latest/logs have the "
            "cause; RAY_TMPDIR moves its sockets and logs to another folder.",
        ) from error


def stop_local_ray() -> None:
    """Stops the Ray that this process started."""
    with handlers_kept():
        ray.shutdown()


@contextmanager
def _apart_from_another_ray() -> Iterator[None]:
    """Hides another Ray from this one and from the processes that it starts, which are there when this returns."""
    hidden = {name: os.environ.pop(name) for name in _OF_ANOTHER_RAY if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _home_can_be_written() -> bool:
    try:
        (Path.home() / ".ray").mkdir(exist_ok=True)
    except (OSError, RuntimeError):
        return False
    return os.access(Path.home() / ".ray", os.W_OK)


@contextmanager
def _patience() -> Iterator[None]:
    """Gives Ray's node time to come up: half a minute, all that Ray leaves it, is too little on a busy machine."""
    look: Callable[..., object] = services.get_node
    deadline = time.monotonic() + _START_SECONDS

    def get_node(*arguments: object) -> object:
        while True:
            try:
                return look(*arguments)
            except RuntimeError:  # it is not there yet
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)

    services.get_node = get_node
    try:
        yield
    finally:
        services.get_node = look


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__
