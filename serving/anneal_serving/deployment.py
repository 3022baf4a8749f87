"""Serves a published model with Ray Serve: on this machine, on one address."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import socket
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import HTTPOptions
from ray.serve.exceptions import RayServeException
from starlette.types import ASGIApp

from anneal_api.errors import AnnealError, ResourceUnavailable
from anneal_api.spec.serving import Serving
from anneal_serving.app import build_app
from anneal_serving.artifact import Artifact, latest_version
from anneal_serving.local_ray import start_local_ray, stop_local_ray
from anneal_serving.loopback import LOOPBACK, listen_locally
from anneal_serving.model_info import ModelInfo
from anneal_serving.ray_folder import ray_folder
from anneal_serving.ray_meters import RayMeters
from anneal_serving.replica_options import deployment_options, serve_logging
from anneal_serving.requests import Limits

_APPLICATION = "anneal"
_READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A model that is being served, until `stop`.

    Attributes:
        host: The address that it answers on.
        port: The port.
        version: Job and number, for example `reviews/v3`.
        owns_ray: Whether Ray was started for it.
    """

    host: str
    port: int
    version: str
    owns_ray: bool

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    def stop(self) -> None:
        """Lets the requests in work finish, then stops serving."""
        # Ray Serve had not started, or what ended this process has ended Ray's too.
        with contextlib.suppress(RayServeException, RayError, RuntimeError, ConnectionError, TimeoutError):
            serve.delete(_APPLICATION)
        if self.owns_ray:
            stop_local_ray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def serve_artifact(
    folder: Path, *, host: str = LOOPBACK, port: int = 8000, serving: Serving | None = None
) -> RunningModel:
    """Serves a published model and returns when it has answered.

    Args:
        folder: A version's folder, or a job's: then its latest version.
        host: The address to answer on.
        port: The port to answer on; 0 for a free one.
        serving: Replicas, CPUs of each, and the tokens of one request.

    Returns:
        The running model; stop it with `stop`, or use it as a context.

    Raises:
        ArtifactInvalid: The model is incomplete, altered or cannot answer.
        ResourceUnavailable: The port is taken.
        AnnealError: The server did not come up.
    """
    serving = serving or Serving()
    artifact = Artifact.open(latest_version(folder.resolve()))
    artifact.predictor().close()  # a model that cannot answer says why here, and only in a log from a replica
    port = _usable_port(host, port)
    owns_ray = not ray.is_initialized()
    if owns_ray:
        start_local_ray(cpus=max(serving.replicas.max * serving.cpu, os.cpu_count() or 1))
    running = RunningModel(host, port, artifact.version, owns_ray)
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options=HTTPOptions(host=host, port=port),
            logging_config=serve_logging(),
        )
        serve.run(
            _application(artifact, serving),
            name=_APPLICATION,
            route_prefix="/",
            logging_config=serve_logging(),
        )
        _wait_until_ready(running)
    except RuntimeError as error:
        running.stop()
        raise AnnealError(
            f"The server did not come up: {str(error).rstrip('.')}.",
            where=str(artifact.folder),
            remedy=f"Ray's logs below {ray_folder(os.environ)}/session_latest/logs/serve have the cause.",
        ) from error
    except BaseException:
        running.stop()
        raise
    return running


def _application(artifact: Artifact, serving: Serving) -> serve.Application:
    folder, version = artifact.folder, artifact.version
    limits = Limits(max_tokens=serving.max_batch_tokens)

    def build() -> ASGIApp:
        listen_locally()
        opened = Artifact.open(folder)
        predictor = opened.predictor(threads=serving.cpu)
        meter = RayMeters().for_version(version)
        return build_app(predictor, ModelInfo.of(opened), limits, meters=[meter])

    as_deployment = serve.deployment(**deployment_options(serving, limits, serve_logging()))
    return as_deployment(serve.ingress(build)()).bind()


def _usable_port(host: str, port: int) -> int:
    """Returns the port, or a free one for 0. Ray itself would only log that a port is taken."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ResourceUnavailable(
                f"Port {port} of {host} cannot be used: {error.strerror}.",
                remedy="Stop what uses it, or name another port.",
            ) from error
        free: int = probe.getsockname()[1]
        return free


def _wait_until_ready(running: RunningModel) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection(running.host, running.port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == HTTPStatus.OK:
                return
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise RuntimeError(f"no answer from {running.url}/health/ready within {_READY_SECONDS:.0f} seconds")
