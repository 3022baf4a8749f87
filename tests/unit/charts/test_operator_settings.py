"""The operator understands the environment that the chart gives it: all of it, and as it was meant."""

from __future__ import annotations

from typing import Any

from helm_chart import CASES, NAMESPACE

from anneal_operator.controller.settings_from_env import ProcessSettings, read_settings, variables
from anneal_operator.settings import Settings

from .conftest import Rendered


def container(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the operator's container."""
    [deployment] = [body for body in found if body["kind"] == "Deployment"]
    [container_] = deployment["spec"]["template"]["spec"]["containers"]
    return container_  # type: ignore[no-any-return]


def environment(found: list[dict[str, Any]]) -> dict[str, str]:
    """Returns the container's variables, with a made-up value for what comes from the pod itself."""
    return {entry["name"]: entry.get("value", "from-the-pod") for entry in container(found)["env"]}


def test_every_setting_is_set(rendered: Rendered) -> None:
    assert set(environment(rendered())) == set(variables())


def test_defaults_are_the_operators_own(rendered: Rendered) -> None:
    settings, process = read_settings(environment(rendered()))
    assert settings == Settings(image="anneal/runtime:0.1.0")
    assert process == ProcessSettings(
        lease_namespace=NAMESPACE, pod_uid="from-the-pod", probe_port=8080, metrics_port=8081
    )


def test_values_arrive(rendered: Rendered) -> None:
    settings, process = read_settings(environment(rendered(CASES["everything"])))
    assert settings == Settings(
        image=f"registry.example.com:5000/ml/runtime:0.1.0@sha256:{'1' * 64}",
        image_pull_policy="IfNotPresent",
        image_pull_secrets=("registry", "mirror"),
        store="s3://models/anneal",
        store_secret="models-s3",
        namespaces=("team-a", "team-b"),
        head_resources={
            "requests": {"cpu": "200m", "memory": "2Gi"},
            "limits": {"cpu": "2", "memory": "8Gi"},
        },
        step_resources={
            "requests": {"cpu": 1, "memory": "1Gi"},
            "limits": {"cpu": "2", "memory": "4Gi"},
        },
        serving_resources={"requests": {"memory": "1Gi"}, "limits": {"memory": "6Gi"}},
        pod_overrides={"priorityClassName": "batch", "dnsConfig": {"options": [{"name": "ndots"}]}},
        max_attempts=2,
        backoff_seconds=2.5,
        max_backoff_seconds=20.0,
        heartbeat_seconds=120.0,
        start_seconds=1800.0,
        max_restarts=3,
        unready_seconds=1_000_000.0,
    )
    assert (process.workers, process.log_level) == (16, "debug")


def test_ports_are_those_of_the_probes(rendered: Rendered) -> None:
    _, process = read_settings(environment(rendered()))
    operator = container(rendered())
    ports = {port["name"]: port["containerPort"] for port in operator["ports"]}
    assert ports == {"probes": process.probe_port, "metrics": process.metrics_port}
    paths = {
        operator[probe]["httpGet"]["path"]: operator[probe]["httpGet"]["port"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert paths == {"/healthz": "probes", "/readyz": "probes"}


def test_a_service_cannot_pass_for_a_setting(rendered: Rendered) -> None:
    """A release called anneal-operator makes a Service whose variable would be ANNEAL_OPERATOR_METRICS_PORT."""
    [deployment] = [body for body in rendered() if body["kind"] == "Deployment"]
    assert deployment["spec"]["template"]["spec"]["enableServiceLinks"] is False
