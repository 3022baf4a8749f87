"""What Ray Serve is told to run: one application, one deployment, and which version it answers with.

The version travels in `user_config`, which Ray Serve hands to running replicas: another version of the same image is
loaded in place. Import path and arguments never change, because a change there restarts every replica.
"""

from __future__ import annotations

import json
from typing import Any

from anneal_api.job import FineTuneJobSpec
from anneal_api.spec.serving import Serving
from anneal_api.status import VersionStatus
from anneal_operator.resources import places
from anneal_operator.settings import Settings

APPLICATION = "anneal"
"""Name of the application, in Ray Serve and in a RayService's status."""

DEPLOYMENT = "model"
"""Name of the deployment."""

IMPORT_PATH = "anneal_serving.cluster:build"
"""What builds the application."""

PORT = 8000
"""Port that every node of the Ray cluster answers on."""


def serve_config(spec: FineTuneJobSpec, serving: Serving, version: VersionStatus, settings: Settings) -> str:
    """Returns `serveConfigV2` of a RayService, as YAML (in its JSON form, where quotes are never a question)."""
    config = {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": PORT},  # noqa: S104  # a pod's own network
        "logging_config": {"encoding": "JSON", "log_level": "INFO", "enable_access_log": False},
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                "args": {},
                "deployments": [
                    {
                        "name": DEPLOYMENT,
                        **_replicas(serving),
                        "ray_actor_options": {"num_cpus": serving.cpu},
                        "user_config": {
                            "version_folder": places.version_folder(spec, version, settings),
                            "version": version.version,
                            "digest": version.digest,
                            "max_batch_tokens": serving.max_batch_tokens,
                            "threads": serving.cpu,
                        },
                    }
                ],
            }
        ],
    }
    return json.dumps(config, indent=2)


def replica_range(serving: Serving) -> tuple[int, int]:
    """Returns fewest and most replicas."""
    return serving.replicas.min, max(serving.replicas.min, serving.replicas.max)


def _replicas(serving: Serving) -> dict[str, Any]:
    fewest, most = replica_range(serving)
    if fewest == most:
        return {"num_replicas": fewest}
    return {
        "autoscaling_config": {
            "min_replicas": fewest,
            "max_replicas": most,
            "target_ongoing_requests": 2 * serving.cpu,
        },
    }
