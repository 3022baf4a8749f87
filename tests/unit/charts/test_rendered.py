"""What the chart renders, file by file: a change of it has to be seen in review."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from helm_chart import (
    CASES,
    CHART,
    CRD_FILE,
    GOLDEN,
    INSTALL_MANIFEST,
    ROOT,
    HelmError,
    golden,
    helm,
    install_manifest,
    objects,
    render,
)
from ruamel.yaml import YAML

from .conftest import Rendered

STALE = "stale: run `make manifests` and look at the difference"


def named(found: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Returns the one object of a kind and name."""
    [body] = [body for body in found if body["kind"] == kind and body["metadata"]["name"] == name]
    return body


@pytest.mark.parametrize("case", CASES)
def test_golden(helm_program: Path, case: str) -> None:
    assert golden(helm_program, case) == (GOLDEN / f"{case}.yaml").read_text(), STALE


def test_there_is_no_golden_without_a_case() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


def test_the_install_manifest_is_the_chart(helm_program: Path) -> None:
    assert install_manifest(helm_program) == INSTALL_MANIFEST.read_text(), STALE


def test_the_install_manifest_stands_alone() -> None:
    text = INSTALL_MANIFEST.read_text()
    found = objects(text)
    assert "helm" not in text.lower().replace("helm test", "")
    assert found[0]["kind"] == "Namespace"
    namespace = found[0]["metadata"]["name"]
    assert {body["metadata"].get("namespace", namespace) for body in found} == {namespace}
    kinds = [body["kind"] for body in found]
    assert kinds.count("CustomResourceDefinition") == 1
    assert "Pod" not in kinds


@pytest.mark.parametrize("case", CASES)
def test_lint(helm_program: Path, case: str) -> None:
    printed = helm(helm_program, "lint", "--strict", str(CHART), values=CASES[case])
    assert "0 chart(s) failed" in printed
    assert "WARNING" not in printed


@pytest.mark.parametrize("case", CASES)
def test_no_object_is_rendered_twice(rendered: Rendered, case: str) -> None:
    names = [
        (body["kind"], body["metadata"].get("namespace"), body["metadata"]["name"])
        for body in rendered(CASES[case])
    ]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "release", ["a", "x" * 53, "my-anneal-" + "x" * 43], ids=["short", "long", "contains"]
)
@pytest.mark.parametrize("override", ["", "x" * 50], ids=["own", "override"])
def test_names_fit(helm_program: Path, release: str, override: str) -> None:
    values = {**CASES["everything"], "fullnameOverride": override}
    for body in objects(helm(helm_program, "template", release, str(CHART), values=values)):
        # A Service's name is a label of DNS.
        assert len(body["metadata"]["name"]) <= (63 if body["kind"] == "Service" else 253)
        for value in (body["metadata"].get("labels") or {}).values():
            assert len(value) <= 63


def test_crd_is_the_generated_one_word_for_word(rendered: Rendered) -> None:
    generated = YAML(typ="safe").load(CRD_FILE.read_text())
    crd = named(rendered(), "CustomResourceDefinition", "finetunejobs.anneal.dev")
    assert crd["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert crd["metadata"].pop("labels")["app.kubernetes.io/part-of"] == "anneal"
    assert crd == generated


def test_crd_may_go_with_the_release(rendered: Rendered) -> None:
    crd = named(rendered({"crds": {"keep": False}}), "CustomResourceDefinition", "finetunejobs.anneal.dev")
    assert "annotations" not in crd["metadata"]


def test_crd_may_be_left_out(rendered: Rendered) -> None:
    assert "CustomResourceDefinition" not in {body["kind"] for body in rendered({"crds": {"enabled": False}})}


def test_numbers_of_the_crd_stay_whole(helm_program: Path) -> None:
    text = helm(helm_program, "template", "anneal", str(CHART), "--show-only", "templates/crds.yaml")
    assert "e+0" not in text


def test_image_is_pinned_by_digest(rendered: Rendered) -> None:
    digest = f"sha256:{'a' * 64}"
    deployment = named(rendered({"image": {"digest": digest}}), "Deployment", "anneal")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(f"@{digest}")


def test_metrics_service_finds_the_operator_and_no_pod_of_a_job(rendered: Rendered) -> None:
    from anneal_operator.resources.names import labels

    found = rendered()
    selector = named(found, "Service", "anneal-metrics")["spec"]["selector"].items()
    template = named(found, "Deployment", "anneal")["spec"]["template"]["metadata"]["labels"]
    assert selector <= template.items()
    assert not selector <= labels("anneal", "uid", generation=1, attempt=1, part="train").items()


def test_selector_never_changes_with_the_version(rendered: Rendered) -> None:
    deployment = named(rendered(), "Deployment", "anneal")
    assert deployment["spec"]["selector"]["matchLabels"] == {
        "app.kubernetes.io/name": "anneal-operator",
        "app.kubernetes.io/instance": "anneal",
    }
    assert deployment["spec"]["replicas"] == 1
    rolling = {"maxSurge": 1, "maxUnavailable": 0}  # the new one has read everything before the old one goes
    assert deployment["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}


def test_a_second_replica_has_a_budget_and_a_single_one_may_be_evicted(rendered: Rendered) -> None:
    (budget,) = [body for body in rendered({"replicas": 2}) if body["kind"] == "PodDisruptionBudget"]
    assert budget["spec"]["minAvailable"] == 1
    assert named(rendered({"replicas": 2}), "Deployment", "anneal")["spec"]["replicas"] == 2
    assert not [body for body in rendered() if body["kind"] == "PodDisruptionBudget"]


def test_monitor_needs_the_service(helm_program: Path) -> None:
    values = {"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}}
    with pytest.raises(HelmError, match=r"needs metrics\.service\.enabled"):
        render(helm_program, values)


def test_monitor_selects_the_metrics_service(rendered: Rendered) -> None:
    found = rendered(CASES["monitoring"])
    monitor = named(found, "ServiceMonitor", "anneal")
    service = named(found, "Service", "anneal-metrics")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {end["port"] for end in monitor["spec"]["endpoints"]} <= {
        port["name"] for port in service["spec"]["ports"]
    }
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"


def test_versions_are_one() -> None:
    chart = YAML(typ="safe").load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chart["appVersion"] == project["version"]


def test_ray_is_the_version_that_images_are_built_with() -> None:
    values = YAML(typ="safe").load((CHART / "values.yaml").read_text())
    lock = (ROOT / ".ci" / "requirements.lock").read_text().splitlines()
    assert f"ray=={values['runtime']['rayVersion']}" in lock


def test_kuberay_is_the_version_that_is_tested() -> None:
    from cluster.versions import KUBERAY

    version = KUBERAY.removeprefix("v")
    for text in (CHART / "templates" / "NOTES.txt", ROOT / "docs" / "install.md"):
        assert version in text.read_text(), text
