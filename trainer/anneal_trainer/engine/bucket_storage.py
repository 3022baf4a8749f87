"""How Ray Train reaches a bucket with checkpoints: through a file system of Arrow."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pyarrow import fs  # type: ignore[import-untyped]

from anneal_serving.buckets import ATTEMPTS, CONNECT_SECONDS, endpoint_of, region_of


def file_system(settings: Mapping[str, str]) -> fs.S3FileSystem:
    """Returns access to S3; what the settings leave open is looked for as AWS's tools do.

    Args:
        settings: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION` or
            `AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`; empty: those of the environment.

    Raises:
        LocationError: The endpoint is no address.
    """
    settings = settings or os.environ
    options: dict[str, Any] = {}
    if settings.get("AWS_ACCESS_KEY_ID") and settings.get("AWS_SECRET_ACCESS_KEY"):
        options |= {
            "access_key": settings["AWS_ACCESS_KEY_ID"],
            "secret_key": settings["AWS_SECRET_ACCESS_KEY"],
            "session_token": settings.get("AWS_SESSION_TOKEN") or None,
        }
    endpoint = endpoint_of(settings)
    if endpoint:
        address = urlsplit(endpoint)
        options |= {"scheme": address.scheme, "endpoint_override": address.netloc}
    if region := region_of(settings):
        options["region"] = region
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        options["tls_ca_file_path"] = bundle
    retry = fs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
    return fs.S3FileSystem(retry_strategy=retry, connect_timeout=CONNECT_SECONDS, **options)
