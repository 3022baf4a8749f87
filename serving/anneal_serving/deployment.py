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
from ray.serve import metrics
from ray.serve._private import replica
from ray.serve.config import AutoscalingConfig, BackpressureConfig, HTTPOptions
from ray.serve.exceptions import RayServeException
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp

from anneal_api.errors import AnnealError, ResourceUnavailable
from anneal_api.spec.serving import Serving
from anneal_serving.app import build_app
from anneal_serving.artifact import Artifact, latest_version
from anneal_serving.local_ray import start_local_ray
from anneal_serving.meters import SECONDS_BUCKETS
from anneal_serving.model_info import ModelInfo
from anneal_serving.requests import Limits

_APPLICATION = "anneal"
_LOOPBACK = "127.0.0.1"
# Requests that Ray lets into a replica beyond those that the app answers: health checks, pages, and predictions
# that the app turns away in its own words. Past these Ray turns requests away in its words.
_ROOM_FOR_OTHERS = 384
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
        with contextlib.suppress(RayServeException):  # Ray Serve had not started
            serve.delete(_APPLICATION)
        if self.owns_ray:
            ray.shutdown()

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
    folder: Path, *, host: str = _LOOPBACK, port: int = 8000, serving: Serving | None = None
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
            logging_config=_logging(),
        )
        serve.run(
            _application(artifact, serving),
            name=_APPLICATION,
            route_prefix="/",
            logging_config=_logging(),
        )
        _wait_until_ready(running)
    except RuntimeError as error:
        running.stop()
        raise AnnealError(
            f"The server did not come up: {str(error).rstrip('.')}.",
            where=str(artifact.folder),
            remedy="Ray's logs below /tmp/ray/session_latest/logs/serve have the cause.",
        ) from error
    except BaseException:
        running.stop()
        raise
    return running


def _application(artifact: Artifact, serving: Serving) -> serve.Application:
    folder, version = artifact.folder, artifact.version
    limits = Limits(max_tokens=serving.max_batch_tokens)

    def build() -> ASGIApp:
        _listen_locally()
        opened = Artifact.open(folder)
        predictor = opened.predictor(threads=serving.cpu)
        return build_app(predictor, ModelInfo.of(opened), limits, meters=[RayMeter(version)])

    fewest, most = serving.replicas.min, max(serving.replicas.min, serving.replicas.max)
    as_deployment = serve.deployment(
        name="model",
        num_replicas=fewest if fewest == most else None,
        autoscaling_config=None
        if fewest == most
        else AutoscalingConfig(
            min_replicas=fewest, max_replicas=most, target_ongoing_requests=2 * serving.cpu
        ),
        max_ongoing_requests=limits.max_in_progress + _ROOM_FOR_OTHERS,
        max_queued_requests=limits.max_in_progress,
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1),
        ray_actor_options={"num_cpus": serving.cpu},
        max_constructor_retry_count=2,
        logging_config=_logging(),
    )
    return as_deployment(serve.ingress(build)()).bind()


def _listen_locally() -> None:
    """Makes the replica in this process listen on 127.0.0.1 only.

    Ray opens a port of each replica for other deployments on every interface, and unpickles what comes there.
    """
    bind = vars(replica)["add_port_to_grpc_server"]

    def bind_locally(server: object, address: str) -> int:
        port: int = bind(server, address.replace("[::]", _LOOPBACK))
        return port

    vars(replica)["add_port_to_grpc_server"] = bind_locally


def _logging() -> LoggingConfig:
    return LoggingConfig(log_level="WARNING", enable_access_log=False)


class RayMeter:
    """Counts through Ray, whose metrics endpoint has the numbers of all replicas.

    Args:
        version: The model's version, the label `model_version` of every series.
    """

    def __init__(self, version: str) -> None:
        self._requests = metrics.Counter(
            "anneal_requests",
            "Requests answered.",
            tag_keys=("route", "status", "model_version"),  # type: ignore[arg-type]  # Ray says tuple[str]
        )
        self._seconds = metrics.Histogram(
            "anneal_request_seconds",
            "Time to answer a request, in seconds.",
            boundaries=list(SECONDS_BUCKETS),
            tag_keys=("route", "model_version"),  # type: ignore[arg-type]  # Ray says tuple[str]
        )
        self._rows = metrics.Counter("anneal_rows", "Texts answered.", tag_keys=("model_version",))
        for metric in (self._requests, self._seconds, self._rows):
            metric.set_default_tags({"model_version": version})  # Ray adds to the dictionary it gets

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """See `Meter.count_request`."""
        self._requests.inc(tags={"route": route, "status": str(status)})
        self._seconds.observe(seconds, tags={"route": route})

    def count_rows(self, rows: int) -> None:
        """See `Meter.count_rows`."""
        self._rows.inc(rows)


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
