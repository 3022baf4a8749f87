"""The chart's rules are exactly enough: the whole way of a job with no other rights than those."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from cluster.apiserver import ApiServer
from kuberay_simulator import KubeRaySimulator, install_kuberay_crds
from operator_world import Jobs, credentials_of, install_crd, live, run_in_loop, until
from ruamel.yaml import YAML

from anneal_operator.cluster.credentials import Credentials, Token
from anneal_operator.plan.plan import plan

pytestmark = pytest.mark.integration

_RULES = Path(__file__).parents[3] / "charts/anneal/templates/_rules.tpl"
_LEASE_RULES = [
    {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": ["anneal-operator"],
        "verbs": ["get", "update"],
    },
]


def chart_rules() -> list[dict[str, Any]]:
    """Returns the rules of the chart's template, which is YAML but for a few words."""
    text = _RULES.read_text(encoding="utf-8")
    body = re.search(r'define "anneal.jobRules" -}}\n(.*?){{- end -}}', text, re.DOTALL)
    assert body is not None
    plain = re.sub(r"{{ include \"anneal.leaseName\" . }}", "anneal-operator", body.group(1))
    rules = YAML(typ="safe", pure=True).load(plain)
    assert isinstance(rules, list)
    return rules


@pytest.fixture
def operator_account(apiserver: ApiServer, namespace: str) -> Credentials:
    """A service account that may do in the namespace what the chart lets the operator do, and nothing else."""
    install_crd(apiserver)
    install_kuberay_crds(apiserver)
    jobs = Jobs(apiserver, namespace)
    rbac = "rbac.authorization.k8s.io/v1"
    made = [
        ("serviceaccounts", {"metadata": {"name": "operator"}}),
        (f"{rbac}/roles", {"metadata": {"name": "operator"}, "rules": chart_rules() + _LEASE_RULES}),
        (
            f"{rbac}/rolebindings",
            {
                "metadata": {"name": "operator"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
                "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
            },
        ),
    ]
    for path, body in made:
        status, answer = jobs.at(path, "POST", body)
        assert status == 201, answer
    status, answer = jobs.at("serviceaccounts/operator/token", "POST", {"spec": {}})
    assert status == 201, answer
    admin = credentials_of(apiserver)
    return Credentials(
        server=admin.server, namespace=namespace, tls=admin.tls, token=Token(answer["status"]["token"])
    )


def test_a_job_goes_its_whole_way_with_the_rights_of_the_chart(
    apiserver: ApiServer, namespace: str, operator_account: Credentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operator_world.credentials_of", lambda _: operator_account)
    jobs = Jobs(apiserver, namespace)

    async def main() -> None:
        async with KubeRaySimulator(apiserver, namespace).running():
            life = live(apiserver, (namespace,), plan=plan)
            await life.ready()
            await asyncio.to_thread(jobs.create)
            await until(lambda: jobs.status().get("phase") == "Ready")
            await asyncio.to_thread(jobs.edit, {"spec": {"retention": {"onDelete": "Delete"}}})
            await until(lambda: bool((jobs.get() or {})["metadata"].get("finalizers")))
            await asyncio.to_thread(jobs.delete)
            await until(lambda: jobs.get() is None)
            text = life.metrics.text().decode()
            assert 'code="403"' not in text
            assert 'result="error"' not in text
            assert len(jobs.events()) > 3
            await life.end()

    run_in_loop(main())
