"""The chart against a real API server: every object is accepted, and the operator's rights are what it needs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.apiserver import ApiServer
from cluster.binaries import binary, built, module_folder
from cluster.progress import ClusterError
from cluster.versions import KUBERAY
from helm_chart import CASES, CHART, INSTALL_MANIFEST, find_helm, helm, objects
from operator_world import Jobs, begun, install_crd, remove_crd, until
from ruamel.yaml import YAML

from anneal_api.attempt import Part
from anneal_api.status import Run
from anneal_operator.cluster.credentials import Credentials, from_kubeconfig
from anneal_operator.cluster.kinds import LEASE, WATCHED
from anneal_operator.controller.settings_from_env import read_settings
from anneal_operator.plan.plan import plan
from anneal_operator.resources.attempt import attempt_objects
from anneal_operator.resources.names import FINALIZER

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300 if built("helm") and built("kubeconform") else 3600),
]

# Kinds of the Prometheus operator are not in a bare cluster.
FOREIGN = {"ServiceMonitor"}
CRD = "finetunejobs.anneal.dev"


@pytest.fixture(scope="session")
def program() -> Path:
    """Helm, built where it is missing."""
    try:
        found = find_helm(build=True)
    except ClusterError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs helm. {error}")
        pytest.skip(f"NOT TESTED, THE CHART ON A REAL API SERVER: {error}")
    assert found is not None
    return found


@pytest.fixture
def teams(apiserver: ApiServer) -> Iterator[tuple[str, str]]:
    """Two namespaces that enforce the restricted Pod Security Standard."""
    names = [f"team-{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for name in names:
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        status, answer = apiserver.request("POST", "/api/v1/namespaces", body)
        assert status == 201, answer
    yield names[0], names[1]
    for name in names:
        apiserver.request("DELETE", f"/api/v1/namespaces/{name}")


def render_text(program: Path, release: str, namespace: str, values: dict[str, Any]) -> str:
    """Returns what the chart comes to in a namespace."""
    return helm(program, "template", release, str(CHART), "--namespace", namespace, values=values)


def render(program: Path, release: str, namespace: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the chart's objects in a namespace, those that a bare cluster knows."""
    found = objects(render_text(program, release, namespace, values))
    return [body for body in found if body["kind"] not in FOREIGN]


def stream(bodies: list[dict[str, Any]]) -> str:
    """Returns objects as kubectl reads them."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies})


@pytest.mark.parametrize("case", CASES)
def test_every_object_is_accepted(
    apiserver: ApiServer, program: Path, teams: tuple[str, str], case: str
) -> None:
    values = dict(CASES[case])
    if "watchNamespaces" in values:
        values["watchNamespaces"] = list(teams)
    found = render(program, "anneal", teams[0], values)
    printed = apiserver.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"),
        *("--output=name", "--filename=-"),
        stdin=stream(found),
    )
    assert len(printed.splitlines()) == len(found)


@pytest.mark.parametrize("case", CASES)
def test_pods_are_admitted_where_only_restricted_ones_are(
    apiserver: ApiServer, program: Path, teams: tuple[str, str], case: str
) -> None:
    """The API server only warns about a Deployment's template; it refuses the pods."""
    found = render(program, "anneal", teams[0], {**CASES[case], "watchNamespaces": list(teams)})
    [deployment] = [body for body in found if body["kind"] == "Deployment"]
    [test] = [body for body in found if body["kind"] == "Pod"]
    template = deployment["spec"]["template"]
    operator = {"apiVersion": "v1", "kind": "Pod", **template}
    operator["metadata"] = {**template["metadata"], "name": "operator", "namespace": teams[0]}
    # A class that no bare cluster has.
    operator["spec"] = {key: value for key, value in template["spec"].items() if key != "priorityClassName"}
    for pod in (operator, test):
        status, answer = apiserver.request("POST", f"/api/v1/namespaces/{teams[0]}/pods?dryRun=All", pod)
        assert status == 201, answer


def test_install_manifest_is_accepted(apiserver: ApiServer) -> None:
    """Object by object: a dry run makes no namespace for the others to lie in."""
    found = objects(INSTALL_MANIFEST.read_text())
    namespace, *others = found
    name = namespace["metadata"]["name"]
    assert apiserver.request("POST", "/api/v1/namespaces", namespace)[0] in {201, 409}
    try:
        printed = apiserver.kubectl(
            *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"),
            *("--output=name", "--filename=-"),
            stdin=stream(others),
        )
    finally:
        apiserver.request("DELETE", f"/api/v1/namespaces/{name}")
    assert len(printed.splitlines()) == len(others)


@pytest.fixture(scope="session")
def schemas(apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The server's own schemas, as kubeconform finds them; closed, so that a field that does not exist is an error."""
    folder = tmp_path_factory.mktemp("schemas")
    _, index = apiserver.request("GET", "/openapi/v3")
    for path, entry in index["paths"].items():
        if not path.startswith(("api/", "apis/")):
            continue
        _, document = apiserver.request("GET", entry["serverRelativeURL"])
        components = document.get("components", {})
        for schema in components.get("schemas", {}).values():
            if schema.get("properties"):
                schema.setdefault("additionalProperties", False)
        for name, schema in components.get("schemas", {}).items():
            for known in schema.get("x-kubernetes-group-version-kind", []):
                group = known["group"].partition(".")[0]
                place = "-".join(part for part in (known["kind"], group, known["version"]) if part)
                content = {"$ref": f"#/components/schemas/{name}", "components": components}
                (folder / f"{place.lower()}.json").write_text(json.dumps(content))
    return f"{folder}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"


def kubeconform(schemas: str, text: str) -> subprocess.CompletedProcess[str]:
    """Runs kubeconform."""
    arguments = ["-strict", "-summary", "-skip", ",".join(FOREIGN), "-schema-location", schemas, "-"]
    return subprocess.run(
        [binary("kubeconform"), *arguments], input=text, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("case", CASES)
def test_kubeconform(program: Path, schemas: str, case: str) -> None:
    done = kubeconform(schemas, render_text(program, "anneal", "anneal-system", CASES[case]))
    assert done.returncode == 0, done.stdout
    assert "Invalid: 0, Errors: 0" in done.stdout


def test_kubeconform_finds_a_field_that_does_not_exist(program: Path, schemas: str) -> None:
    text = render_text(program, "anneal", "anneal-system", {})
    done = kubeconform(schemas, text.replace("revisionHistoryLimit:", "revisionHistoryLimits:"))
    assert "revisionHistoryLimits" in done.stdout
    assert done.returncode == 1


class Operator:
    """The installed operator's account, as the API server sees it."""

    def __init__(self, server: ApiServer, namespace: str, chart: list[dict[str, Any]]) -> None:
        self.server = server
        self.namespace = namespace
        self.user = f"system:serviceaccount:{namespace}:anneal"
        self.everywhere = any(body["kind"] == "ClusterRoleBinding" for body in chart)
        [deployment] = [body for body in chart if body["kind"] == "Deployment"]
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        self.environment = {entry["name"]: entry.get("value", "pod") for entry in container["env"]}

    def may(self, verb: str, group: str, resource: str, namespace: str = "", name: str = "") -> bool:
        """Returns whether it may do something."""
        resource, _, subresource = resource.partition("/")
        wanted = {
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
            "namespace": namespace,
            "name": name,
        }
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": self.user, "resourceAttributes": wanted},
        }
        status, answer = self.server.request("POST", path, body)
        assert status == 201, answer
        return bool(answer["status"]["allowed"])

    def credentials(self, folder: Path) -> Credentials:
        """Returns credentials with a token of the account."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/anneal/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        status, answer = self.server.request("POST", path, request)
        assert status == 201, answer
        kubeconfig = json.loads(self.server.kubeconfig.read_text())
        kubeconfig["users"][0]["user"] = {"token": answer["status"]["token"]}
        file = folder / "kubeconfig"
        file.write_text(json.dumps(kubeconfig))
        return from_kubeconfig(file)

    def create(self, body: dict[str, Any]) -> str:
        """Makes an object in its name and returns what kubectl prints."""
        return self.server.kubectl(
            "create", f"--as={self.user}", "--filename=-", stdin=json.dumps(body), check=False
        )


@pytest.fixture(params=["cluster", "namespaced"])
def operator(
    request: pytest.FixtureRequest, apiserver: ApiServer, program: Path, teams: tuple[str, str]
) -> Iterator[tuple[Operator, str]]:
    """The operator's account with its rights, and a namespace that it watches."""
    watched = [teams[1]] if request.param == "namespaced" else []
    found = render(program, "anneal", teams[0], {"watchNamespaces": watched, "crds": {"enabled": False}})
    rights = [body for body in found if "Role" in body["kind"] or body["kind"] == "ServiceAccount"]
    apiserver.kubectl("apply", "--server-side", "--filename=-", stdin=stream(rights))
    yield Operator(apiserver, teams[0], found), teams[1]
    apiserver.kubectl("delete", "--ignore-not-found", "--filename=-", stdin=stream(rights))


def test_operator_may_do_what_it_does(operator: tuple[Operator, str]) -> None:
    account, namespace = operator
    for kind in WATCHED:
        for verb in ("get", "list", "watch"):
            assert account.may(verb, kind.group, kind.plural, namespace), (verb, kind)
        for verb in ("create", "patch", "delete") if kind.child else ():
            assert account.may(verb, kind.group, kind.plural, namespace), (verb, kind)
    assert account.may("patch", "anneal.dev", "finetunejobs/status", namespace)
    assert account.may("update", "anneal.dev", "finetunejobs/finalizers", namespace)


def test_operator_may_do_nothing_else(operator: tuple[Operator, str]) -> None:
    account, namespace = operator
    for resource in ("secrets", "persistentvolumeclaims", "pods/exec", "pods/log", "services", "pods/attach"):
        for verb in ("get", "list", "create", "delete"):
            looks_before_kuberay_overwrites = (verb, resource) == ("get", "services")
            may = account.may(verb, "", resource, namespace)
            assert may is looks_before_kuberay_overwrites, (verb, resource)
    assert not account.may("create", "", "pods", namespace)
    assert not account.may("create", "anneal.dev", "finetunejobs", namespace)
    assert not account.may("delete", "anneal.dev", "finetunejobs", namespace)
    assert not account.may("update", LEASE.group, LEASE.plural, namespace, "kube-scheduler")
    assert not account.may("list", "", "namespaces")
    assert account.may("get", "", "configmaps", "elsewhere") is account.everywhere


def test_operator_can_grant_an_attempt_its_report_and_no_more(operator: tuple[Operator, str]) -> None:
    account, namespace = operator
    job = {"metadata": {"name": "reviews", "namespace": namespace, "uid": str(uuid.uuid4()), "generation": 1}}
    now = "2026-01-01T00:00:00Z"
    run = Run(generation=1, attempt=1, part=Part.PREPARE, image="image", startedAt=now, partStartedAt=now)
    bodies = [dict(body) for body in attempt_objects(job, run)]
    for body in bodies:
        # There is no such job, and the server collects what an absent owner leaves behind.
        body["metadata"] = {k: v for k, v in body["metadata"].items() if k != "ownerReferences"}
        assert "created" in account.create(body)
    [role] = [body for body in bodies if body["kind"] == "Role"]
    greedy = {
        **role,
        "metadata": {"name": "greedy", "namespace": namespace},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    }
    assert "attempting to grant RBAC permissions not currently held" in account.create(greedy)


@pytest.fixture
def kuberay(apiserver: ApiServer) -> Iterator[None]:
    """KubeRay's kinds, without KubeRay."""
    folder = module_folder("github.com/ray-project/kuberay/ray-operator", KUBERAY) / "config/crd/bases"
    names = ["rayjobs.ray.io", "rayservices.ray.io"]
    for name in names:
        plural = name.partition(".")[0]
        install_crd(apiserver, YAML(typ="safe").load(folder / f"ray.io_{plural}.yaml"))
    yield
    for name in names:
        remove_crd(apiserver, name)


@pytest.mark.usefixtures("kuberay")
def test_operator_lives_on_its_rights_alone(
    operator: tuple[Operator, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the chart's environment and account, from a job's creation to its end, nothing is refused."""
    account, namespace = operator
    install_crd(account.server)
    jobs = Jobs(account.server, namespace)
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        life = begun(account.credentials(tmp_path), *read_settings(account.environment), plan=plan)
        try:
            await life.ready()
            await asyncio.to_thread(jobs.create)
            await until(lambda: "Job/reviews-g1-a1-prepare" in jobs.children())
            await until(lambda: bool(jobs.events()))
            assert jobs.at("rbac.authorization.k8s.io/v1/rolebindings/reviews-reporter")[0] == 200
            # What a watch alone can tell in time: that somebody took a child away.
            gone = {"propagationPolicy": "Background"}
            await asyncio.to_thread(jobs.at, "configmaps/reviews-g1", "DELETE", gone)
            await until(lambda: "ConfigMap/reviews-g1" in jobs.children())
            held = {"spec": {"retention": {"onDelete": "Delete"}}}
            await asyncio.to_thread(jobs.edit, held)
            await until(lambda: FINALIZER in ((jobs.get() or {})["metadata"].get("finalizers") or ()))
        finally:
            await life.end()
        assert 'code="403"' not in life.metrics.text().decode()

    try:
        asyncio.run(scenario())
    finally:
        if jobs.get() is not None:
            jobs.edit({"metadata": {"finalizers": []}})  # nobody is there to honour them
            jobs.delete()
    refused = [text for text in caplog.messages if "403" in text or "orbidden" in text]
    assert refused == []


def test_life_of_a_release(apiserver: ApiServer, program: Path, teams: tuple[str, str]) -> None:
    """Install, upgrade, roll back, uninstall, install again; the CRD outlives all of it."""

    def run(*arguments: str, values: dict[str, Any] | None = None) -> str:
        return helm(
            program,
            *arguments,
            *("--namespace", teams[0], "--kubeconfig", str(apiserver.kubeconfig)),
            values=values,
        )

    def found(kind: str, name: str) -> dict[str, Any]:
        text = apiserver.kubectl("get", kind, name, "--namespace", teams[0], "--output=json")
        return json.loads(text)  # type: ignore[no-any-return]

    # The server is shared, and another test may have brought the CRD.
    run("install", "anneal", str(CHART), "--take-ownership", values={"logLevel": "debug"})
    uid = found("crd", CRD)["metadata"]["uid"]
    run("upgrade", "anneal", str(CHART), "--reset-then-reuse-values", values={"workers": 3})
    [container] = found("deployment", "anneal")["spec"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["ANNEAL_OPERATOR_WORKERS"] == "3"
    assert environment["ANNEAL_OPERATOR_LOG_LEVEL"] == "debug"
    run("rollback", "anneal", "1")
    [container] = found("deployment", "anneal")["spec"]["template"]["spec"]["containers"]
    assert {"name": "ANNEAL_OPERATOR_WORKERS", "value": "8"} in container["env"]
    run("uninstall", "anneal")
    # Not `all`: it has kinds in it that another test installs and removes, and kubectl keeps them in mind.
    kinds = (
        "deployments,replicasets,pods,services,jobs,serviceaccounts,networkpolicies,"
        "roles,rolebindings,clusterroles,clusterrolebindings"
    )
    rest = apiserver.kubectl(
        *("get", kinds, "--namespace", teams[0]),
        *("--selector=app.kubernetes.io/part-of=anneal", "--output=name"),
    )
    assert rest == ""
    assert found("crd", CRD)["metadata"]["uid"] == uid
    run("install", "anneal", str(CHART))
    assert found("crd", CRD)["metadata"]["uid"] == uid
    run("uninstall", "anneal")
