"""Settings come from the environment, and every mistake in it is named."""

from __future__ import annotations

from dataclasses import fields

import pytest

from anneal_api.errors import ManifestInvalid
from anneal_operator.controller.settings_from_env import PREFIX, ProcessSettings, read_settings, variables
from anneal_operator.settings import Settings

IMAGE = {f"{PREFIX}IMAGE": "anneal:1"}


def test_what_is_not_set_has_its_default() -> None:
    settings, process = read_settings(IMAGE | {"PATH": "/bin"})
    assert settings == Settings(image="anneal:1")
    assert process == ProcessSettings()


def test_reads_every_kind_of_value() -> None:
    settings, process = read_settings(
        IMAGE
        | {
            f"{PREFIX}STORE": "s3://models",
            f"{PREFIX}STORE_SECRET": "models-s3",
            f"{PREFIX}NAMESPACES": "a, b,",
            f"{PREFIX}MAX_ATTEMPTS": "7",
            f"{PREFIX}BACKOFF_SECONDS": "0.5",
            f"{PREFIX}POD_OVERRIDES": '{"priorityClassName": "low"}',
            f"{PREFIX}PROBE_PORT": "9000",
            f"{PREFIX}LOG_LEVEL": "debug",
        }
    )
    assert (settings.store, settings.store_secret) == ("s3://models", "models-s3")
    assert settings.namespaces == ("a", "b")
    assert settings.max_attempts == 7
    assert settings.backoff_seconds == 0.5
    assert settings.pod_overrides == {"priorityClassName": "low"}
    assert (process.probe_port, process.log_level) == (9000, "debug")


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({}, "IMAGE"),
        (IMAGE | {f"{PREFIX}MAX_ATEMPTS": "3"}, "MAX_ATEMPTS"),
        (IMAGE | {f"{PREFIX}MAX_ATTEMPTS": "many"}, "MAX_ATTEMPTS"),
        (IMAGE | {f"{PREFIX}POD_OVERRIDES": "[1]"}, "POD_OVERRIDES"),
        (IMAGE | {f"{PREFIX}POD_OVERRIDES": "{"}, "POD_OVERRIDES"),
        (IMAGE | {f"{PREFIX}LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        (IMAGE | {f"{PREFIX}STORE_SECRET": "s3"}, "STORE_SECRET"),
        (IMAGE | {f"{PREFIX}STORE_SECRET": "s3", f"{PREFIX}STORE": "pvc://models"}, "STORE_SECRET"),
    ],
)
def test_names_each_mistake(given: dict[str, str], where: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        read_settings(given)
    assert [problem.where for problem in caught.value.problems] == [PREFIX + where]


def test_names_all_mistakes_at_once() -> None:
    with pytest.raises(ManifestInvalid) as caught:
        read_settings({f"{PREFIX}WORKERS": "x", f"{PREFIX}NOPE": "y"})
    assert len(caught.value.problems) == 3


def test_every_setting_has_a_variable_with_a_meaning() -> None:
    names = {field.name for kind in (Settings, ProcessSettings) for field in fields(kind)}
    assert {name.removeprefix(PREFIX).lower() for name in variables()} == names
    assert all(variables().values())
