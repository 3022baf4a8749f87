"""The simulator takes RayJobs where the real KubeRay takes them; `tests/e2e/test_kuberay.py` asks that one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cluster.apiserver import ApiServer
from kuberay_contract import CASES, Case, holds, rayjob
from kuberay_simulator import KubeRaySimulator, install_kuberay_crds

from anneal_operator.cluster.kinds import CONFIG_MAP, RAY_JOB
from anneal_operator.resources.names import JOB_LABEL

pytestmark = pytest.mark.integration

_POD = {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "ray", "image": "anneal:none"}]}}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_case_of_the_contract_holds(apiserver: ApiServer, namespace: str, case: Case) -> None:
    install_kuberay_crds(apiserver)
    board = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{case.name}-g1-a1"}}
    assert apiserver.request("POST", CONFIG_MAP.path(namespace), board)[0] == 201

    def ask(method: str, name: str, body: dict[str, Any] | None) -> dict[str, Any] | None:
        path = RAY_JOB.path(namespace, "" if method == "POST" else name)
        status, answer = apiserver.request(method, path, body)
        assert status in {200, 201, 404}, answer
        return None if status == 404 else answer

    async def scenario() -> None:
        simulator = KubeRaySimulator(
            apiserver,
            namespace,
            pace=0.3,
            fails=lambda labels: "UserCode" if labels[JOB_LABEL] == "fails" else None,
            held={"prepare": asyncio.Event()},
        )
        async with simulator.running():
            await asyncio.to_thread(holds, case, ask, rayjob(case, _POD))

    asyncio.run(scenario())
