"""The operator's settings, from environment variables: each field of `Settings` and `ProcessSettings` is one.

`max_attempts` is `ANNEAL_OPERATOR_MAX_ATTEMPTS`. Lists are separated by commas, objects are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, TypeVar

from anneal_api.errors import ManifestInvalid, Problem
from anneal_api.uris import scheme_of
from anneal_operator.settings import Settings

PREFIX = "ANNEAL_OPERATOR_"

T = TypeVar("T")

_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """What concerns the operator's process and no job.

    Attributes:
        lease_name: Name of the Lease that lets one operator run at a time.
        lease_namespace: Its namespace; empty: the operator's own.
        pod_uid: UID of the operator's pod: its next container need not wait for the Lease of the one before.
        workers: Jobs that are looked at at the same time.
        metrics_port: Port of `/metrics`; 0: none.
        probe_port: Port of `/healthz` and `/readyz`; 0: none.
        log_level: `debug`, `info`, `warning` or `error`.
    """

    lease_name: str = "anneal-operator"
    lease_namespace: str = ""
    pod_uid: str = ""
    workers: int = 8
    metrics_port: int = 8080
    probe_port: int = 8081
    log_level: str = "info"


def read_settings(environment: Mapping[str, str]) -> tuple[Settings, ProcessSettings]:
    """Returns the settings that the environment asks for.

    Args:
        environment: Environment variables. Those that begin with `ANNEAL_OPERATOR_` are read.

    Raises:
        ManifestInvalid: A variable is unknown, missing or cannot be read.
    """
    problems: list[Problem] = []
    given = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
    settings = _read(Settings, given, problems)
    process = _read(ProcessSettings, given, problems)
    known = variables()
    problems += [
        Problem("There is no such setting.", name, f"Use one of {', '.join(sorted(known))}.")
        for name in sorted(given.keys() - known.keys())
    ]
    if process is not None and process.log_level not in _LEVELS:
        problems.append(
            Problem("There is no such level.", f"{PREFIX}LOG_LEVEL", f"Use one of {', '.join(_LEVELS)}.")
        )
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
        _variable(field): _meaning(kind, field.name)
        for kind in (Settings, ProcessSettings)
        for field in fields(kind)
    }


def _read(kind: type[T], given: Mapping[str, str], problems: list[Problem]) -> T | None:
    values: dict[str, Any] = {}
    before = len(problems)
    for field in fields(kind):  # type: ignore[arg-type]  # a dataclass
        name = _variable(field)
        if name not in given:
            if field.default is MISSING and field.default_factory is MISSING:
                problems.append(Problem("It is not set.", name, "Set it."))
            continue
        try:
            values[field.name] = _parsed(str(field.type), given[name])
        except ValueError as error:
            problems.append(Problem(f"`{given[name]}` cannot be read: {error}.", name, "Mend it."))
    return kind(**values) if len(problems) == before else None


def _parsed(kind: str, text: str) -> Any:  # noqa: ANN401  # a value of any field
    match kind:
        case "str":
            return text
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "tuple[str, ...]":
            return tuple(item.strip() for item in text.split(",") if item.strip())
        case "dict[str, Any]":
            value = json.loads(text)
            if not isinstance(value, dict):
                raise ValueError("it must be a JSON object")
            return value
    raise AssertionError(f"settings of type {kind} cannot come from the environment")


def _variable(field: Field[Any]) -> str:
    return f"{PREFIX}{field.name.upper()}"


def _meaning(kind: type, name: str) -> str:
    lines = iter((kind.__doc__ or "").splitlines())
    for line in lines:
        if line.strip().startswith(f"{name}: "):
            return line.strip().removeprefix(f"{name}: ")
    raise AssertionError(f"{kind.__name__}.{name} is not documented")
