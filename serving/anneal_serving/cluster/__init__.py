"""Serves a published model inside a Ray cluster and switches its versions in place.

`anneal_serving.cluster:build` is the import path that a Ray Serve configuration names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from anneal_api.errors import ManifestInvalid, Problem
from anneal_api.spec.serving import Serving

if TYPE_CHECKING:
    from ray import serve

__all__ = ["build"]


def build(args: dict[str, Any]) -> serve.Application:
    """Returns the application of a model, for the `import_path` of a Ray Serve configuration.

    Its one deployment is called `model`. Which version it serves comes from the deployment's `user_config`, see
    `wish.Wish`; a new one there is loaded in place, without a restart. All other options of a deployment can be
    set in the configuration too, and win over what follows from `args`. Other `args` restart every replica, other
    options and another `user_config` do not.

    Args:
        args: The job's `spec.serving`: `replicas`, `cpu`, `maxBatchTokens`; what is absent has its default.

    Raises:
        ManifestInvalid: The arguments are not a `spec.serving`.
    """
    try:
        serving = Serving.model_validate(args)
    except ValidationError as error:
        raise ManifestInvalid(
            "The application's arguments are not those of `spec.serving`.",
            where="args",
            remedy="Give replicas, cpu and maxBatchTokens, or nothing.",
            problems=[
                Problem(f"{fault['msg']}.", ".".join(map(str, fault["loc"])))
                for fault in error.errors(include_url=False, include_input=False)
            ],
        ) from error
    from anneal_serving.cluster.deployment import application  # noqa: PLC0415  # Ray Serve: seconds

    return application(serving)
