"""The operator's settings, from environment variables: each field of `Settings` and `ProcessSettings` is one.

`max_attempts` is `ANNEAL_OPERATOR_MAX_ATTEMPTS`. Lists are separated by commas, objects are JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from anneal_api.errors import ManifestInvalid, Problem
from anneal_api.uris import scheme_of
from anneal_operator.settings import Settings

PREFIX = "ANNEAL_OPERATOR_"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What concerns the operator's process and no job."""

    __pydantic_config__: ClassVar = ConfigDict(use_attribute_docstrings=True)

    lease_name: str = "anneal-operator"
    """Name of the Lease that lets one operator run at a time."""
    lease_namespace: str = ""
    """Its namespace; empty: the operator's own."""
    pod_uid: str = ""
    """UID of the operator's pod: its next container need not wait for the Lease of the one before."""
    workers: int = 8
    """Jobs that are looked at at the same time."""
    metrics_port: int = 8080
    """Port of `/metrics`; 0: none."""
    probe_port: int = 8081
    """Port of `/healthz` and `/readyz`; 0: none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """`debug`, `info`, `warning` or `error`."""


def read_settings(environment: Mapping[str, str]) -> tuple[Settings, ProcessSettings]:
    """Returns the settings that the environment asks for.

    Args:
        environment: Environment variables. Those that begin with `ANNEAL_OPERATOR_` are read.

    Raises:
        ManifestInvalid: A variable is unknown, missing or cannot be read.
    """
    known = variables()
    given = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
    problems: list[Problem] = []
    settings = _read(Settings, given, problems)
    process = _read(ProcessSettings, given, problems)
    problems += [
        Problem("There is no such setting.", name, f"Use one of {', '.join(sorted(known))}.")
        for name in sorted(given.keys() - known.keys())
    ]
    if settings is not None and settings.store_secret and scheme_of(settings.store) != "s3":
        what = f"The Secret is for a store in a bucket, and {PREFIX}STORE is in none."
        problems.append(
            Problem(what, f"{PREFIX}STORE_SECRET", "Remove it, or write `s3://BUCKET/PREFIX` there.")
        )
    if problems or settings is None or process is None:
        raise ManifestInvalid("The operator's settings cannot be used.", problems=problems)
    return settings, process


def variables() -> dict[str, str]:
    """Returns the name of every variable, and what it means."""
    return {
        _variable(name): schema["description"]
        for kind in (Settings, ProcessSettings)
        for name, schema in TypeAdapter(kind).json_schema()["properties"].items()
    }


def _read(kind: type[T], given: Mapping[str, str], problems: list[Problem]) -> T | None:
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # a dataclass
    texts = {name: given[_variable(name)] for name in names if _variable(name) in given}
    try:
        return TypeAdapter(kind).validate_python(texts)
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False):
            name = str(error["loc"][0])
            if name in texts:
                what, remedy = f"`{texts[name]}` cannot be read: {error['msg']}.", "Mend it."
            else:
                what, remedy = "It is not set.", "Set it."
            problems.append(Problem(what, _variable(name), remedy))
        return None


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"
