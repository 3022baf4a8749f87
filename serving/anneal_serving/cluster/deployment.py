"""The Ray Serve application of a model: one deployment, whose `user_config` names the version."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ray import serve
from ray.serve import metrics
from starlette.types import ASGIApp

from anneal_api.errors import AnnealError, ArtifactInvalid
from anneal_api.spec.serving import Serving
from anneal_serving.cluster.loading import load_version
from anneal_serving.cluster.switch import LoadedVersion, VersionSwitch
from anneal_serving.cluster.wish import Wish
from anneal_serving.ray_meters import RayMeters
from anneal_serving.replica_options import deployment_options, serve_logging
from anneal_serving.requests import Limits


def application(serving: Serving) -> serve.Application:
    """Returns the application of a model.

    Args:
        serving: Replicas, CPUs of each, and tokens of one request.
    """
    limits = Limits(max_tokens=serving.max_batch_tokens)
    as_deployment = serve.deployment(**deployment_options(serving, limits, serve_logging("INFO")))
    return as_deployment(serve.ingress()(Model)).bind(serving)


class Model:
    """A replica: answers with the version that `user_config` names.

    Args:
        serving: CPUs of the replica, and tokens of one request.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._meters = RayMeters()
        self._switch_meter = RaySwitchMeter()
        self._switch = VersionSwitch(self._load, self._switch_meter, log=logging.getLogger("ray.serve"))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return self._switch

    async def reconfigure(self, user_config: Any) -> None:  # noqa: ANN401  # whatever a person wrote there
        """Takes note of the version to serve. Only the first one is waited for.

        Ray calls it before a replica is put into service: then it ends when the model answers.

        Args:
            user_config: See `Wish`.

        Raises:
            ArtifactInvalid: The first version cannot be served: the replica has nothing to answer with.
        """
        try:
            wish = Wish.of(user_config)
        except ArtifactInvalid as error:
            if not self._switch.serves:
                raise
            version = user_config.get("version") if isinstance(user_config, dict) else None
            self._switch.refuse(str(error), version if isinstance(version, int) else None)
            return
        if self._switch.serves:
            self._switch.ask(wish)
            return
        await asyncio.to_thread(self._switch.load_first, wish)

    async def check_health(self) -> None:
        """Tells Ray whether the replica can answer. Ray asks every ten seconds.

        Raises:
            AnnealError: No version was ever named.
        """
        if not self._switch.serves:
            raise AnnealError(
                "The deployment has no user_config, which says which version to serve.",
                where="user_config",
                remedy="Give it version_folder, version and digest (the SHA-256 of manifest.json).",
            )
        self._switch_meter.repeat()

    def _load(self, wish: Wish) -> LoadedVersion:
        return load_version(
            wish,
            threads=self._serving.cpu,
            max_tokens=self._serving.max_batch_tokens,
            meter_for=self._meters.for_version,
            outlook=self._switch.outlook,
        )


class RaySwitchMeter:
    """Notes through Ray which version is wanted and which one serves: they differ while, and where, a switch hangs.

    Ray's exporter drops a gauge that was not set for two of its report intervals (20 s): see `repeat`.
    """

    def __init__(self) -> None:
        self._wanted = metrics.Gauge("anneal_model_version_wanted", "Number of the version that shall serve.")
        self._serving = metrics.Gauge("anneal_model_version_serving", "Number of the version that serves.")
        self._failures = metrics.Counter(
            "anneal_model_switch_failures", "Attempts to load a version that came to nothing."
        )
        self._said: dict[metrics.Gauge, int] = {}

    def wanted(self, version: int) -> None:
        """See `SwitchMeter.wanted`."""
        self._say(self._wanted, version)

    def serving(self, version: int) -> None:
        """See `SwitchMeter.serving`."""
        self._say(self._serving, version)

    def failed(self) -> None:
        """See `SwitchMeter.failed`."""
        self._failures.inc()

    def repeat(self) -> None:
        """Says again what was said last, so that Ray's exporter goes on showing it."""
        for gauge, version in list(self._said.items()):
            gauge.set(version)

    def _say(self, gauge: metrics.Gauge, version: int) -> None:
        self._said[gauge] = version
        gauge.set(version)
