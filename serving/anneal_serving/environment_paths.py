"""Paths in the environment, made to mean the same in every process."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

PATH_VARIABLES = (
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_ASSETS_CACHE",
    "HF_DATASETS_CACHE",
    "HF_MODULES_CACHE",
    "HF_TOKEN_PATH",
    "HF_XET_CACHE",
    "TRANSFORMERS_CACHE",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "TORCH_HOME",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_DIR",
    "TMPDIR",
    "TEMP",
    "TMP",
    "RAY_TMPDIR",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NETRC",
)
"""Variables that name one file or folder, and that a process of Ray reads too."""


def make_paths_absolute(environment: MutableMapping[str, str]) -> None:
    """Makes relative paths in the environment absolute: processes of Ray stand in another folder.

    What begins with `~` or `$` is left to whoever reads it: it means the same everywhere.

    Args:
        environment: Environment variables, changed in place.
    """
    for name in PATH_VARIABLES:
        value = environment.get(name, "")
        if value and not value.startswith(("~", "$", "/")):
            environment[name] = str(Path(value).absolute())
