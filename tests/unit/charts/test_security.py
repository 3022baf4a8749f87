"""What the chart's pods and accounts may do: no more than they need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helm_chart import CASES, CHART, NAMESPACE, HelmError, helm, objects, render
from pod_security import restricted_violations

from anneal_api.attempt import Part
from anneal_api.status import Run
from anneal_operator.cluster.kinds import CORE_EVENT, EVENT, FINE_TUNE_JOB, LEASE, SERVICE, WATCHED
from anneal_operator.controller.settings_from_env import read_settings
from anneal_operator.resources import names
from anneal_operator.resources.attempt import attempt_objects

from .conftest import Rendered
from .test_operator_settings import environment

POLICIES = {"networkPolicies": {"enabled": True, "apiServer": {"cidrs": ["10.0.0.1/32"]}}}
WRITES = {"create", "update", "patch", "delete", "deletecollection"}

Rule = dict[str, list[str]]


def pods(found: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the spec of each pod, and of each template of one."""
    for body in found:
        if body["kind"] == "Pod":
            yield body["metadata"]["name"], body["spec"]
        elif "template" in body.get("spec", {}):
            yield body["metadata"]["name"], body["spec"]["template"]["spec"]


def rules(found: list[dict[str, Any]], kind: str, name: str, namespace: str | None = None) -> list[Rule]:
    """Returns the rules of a role."""
    [role] = [
        body
        for body in found
        if (body["kind"], body["metadata"]["name"]) == (kind, name)
        and body["metadata"].get("namespace") == namespace
    ]
    return role["rules"]  # type: ignore[no-any-return]


def allowed(granted: list[Rule], group: str, resource: str) -> set[str]:
    """Returns the verbs that rules allow on all objects of a resource."""
    return {
        verb
        for rule in granted
        if group in rule["apiGroups"] and resource in rule["resources"] and "resourceNames" not in rule
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("case", CASES)
def test_pods_are_restricted(rendered: Rendered, case: str) -> None:
    found = dict(pods(rendered(CASES[case])))
    assert len(found) == 2  # the operator and `helm test`
    for name, spec in found.items():
        assert restricted_violations(spec) == [], name


@pytest.mark.parametrize("case", CASES)
def test_root_file_systems_are_read_only_and_memory_is_bounded(rendered: Rendered, case: str) -> None:
    for _, spec in pods(rendered(CASES[case])):
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]["memory"]


def test_only_the_operator_gets_a_token(rendered: Rendered) -> None:
    found = rendered()
    [account] = [body for body in found if body["kind"] == "ServiceAccount"]
    assert account["automountServiceAccountToken"] is False
    assert {name: spec["automountServiceAccountToken"] for name, spec in pods(found)} == {
        "anneal": True,
        "anneal-test": False,
    }


@pytest.mark.parametrize("case", CASES)
def test_no_role_reaches_further_than_it_says(rendered: Rendered, case: str) -> None:
    for body in rendered(CASES[case]):
        if body["kind"] not in {"Role", "ClusterRole"}:
            continue
        for rule in body["rules"]:
            words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            assert not [word for word in words if "*" in word], rule
            assert not words & {"secrets", "escalate", "bind", "impersonate", "pods/exec", "pods/attach"}, (
                rule
            )
            assert "nonResourceURLs" not in rule


@pytest.mark.parametrize("namespaces", [[], ["team-a"]], ids=["cluster", "namespaced"])
def test_operator_may_do_what_its_kinds_need(rendered: Rendered, namespaces: list[str]) -> None:
    found = rendered({"watchNamespaces": namespaces})
    where = ("Role", "anneal", "team-a") if namespaces else ("ClusterRole", "anneal")
    granted = rules(found, *where)
    for kind in WATCHED:
        verbs = allowed(granted, kind.group, kind.plural)
        assert {"get", "list", "watch"} <= verbs, kind
        # Server-side apply is a patch, and a create where there is nothing yet.
        wanted = (
            {"create", "patch", "delete"} if kind.child else {"patch"} if kind is FINE_TUNE_JOB else set()
        )
        assert verbs & WRITES == wanted, kind
    assert allowed(granted, "anneal.dev", "finetunejobs/status") & WRITES == {"patch"}
    assert allowed(granted, "anneal.dev", "finetunejobs/finalizers") == {"update"}
    assert allowed(granted, CORE_EVENT.group, CORE_EVENT.plural) == {"list"}
    assert allowed(granted, EVENT.group, EVENT.plural) == {"get", "create", "patch"}
    assert allowed(granted, SERVICE.group, SERVICE.plural) == {"get"}


def test_nothing_is_granted_that_no_kind_needs(rendered: Rendered) -> None:
    known = {(kind.group, kind.plural) for kind in WATCHED}
    beside = {
        ("anneal.dev", "finetunejobs/status"),
        ("anneal.dev", "finetunejobs/finalizers"),
        ("", "events"),
        ("", "services"),
        ("events.k8s.io", "events"),
    }
    granted = {
        (group, resource)
        for rule in rules(rendered({"watchNamespaces": ["team-a"]}), "Role", "anneal", "team-a")
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert granted == known | beside


def test_operator_holds_what_it_grants(rendered: Rendered) -> None:
    """Kubernetes refuses a Role whose maker lacks one of its rights."""
    granted = rules(rendered({"watchNamespaces": ["team-a"]}), "Role", "anneal", "team-a")
    job = {"metadata": {"name": "reviews", "namespace": "team-a", "uid": "u", "generation": 1}}
    run = Run(
        generation=1,
        attempt=1,
        part=Part.PREPARE,
        image="image",
        startedAt="2026-01-01T00:00:00Z",
        partStartedAt="2026-01-01T00:00:00Z",
    )
    [role] = [body for body in attempt_objects(job, run) if body["kind"] == "Role"]
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                assert set(rule["verbs"]) <= allowed(granted, group, resource)


def test_namespaced_mode_needs_nothing_of_the_cluster(rendered: Rendered) -> None:
    found = rendered({"watchNamespaces": ["team-a", "team-b"], "crds": {"enabled": False}})
    assert not [body for body in found if body["kind"].startswith(("ClusterRole", "CustomResource"))]
    for kind in ("Role", "RoleBinding"):
        assert {body["metadata"]["namespace"] for body in found if body["kind"] == kind} == {
            "team-a",
            "team-b",
        }


def test_bindings_are_of_the_operators_account(rendered: Rendered) -> None:
    for case in CASES:
        found = rendered(CASES[case])
        [account] = [body["metadata"]["name"] for body in found if body["kind"] == "ServiceAccount"]
        bindings = [body for body in found if body["kind"].endswith("RoleBinding")]
        roles = {(body["kind"], body["metadata"]["name"]) for body in found}
        assert bindings
        for binding in bindings:
            assert binding["subjects"] == [
                {"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}
            ]
            assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in roles


@pytest.mark.parametrize(
    ("watched", "where"),
    [([], NAMESPACE), (["team-a", "team-b"], "team-a"), (["team-a", NAMESPACE], NAMESPACE)],
    ids=["cluster", "elsewhere", "own"],
)
def test_lease_lies_where_the_operator_watches(rendered: Rendered, watched: list[str], where: str) -> None:
    found = rendered({"watchNamespaces": watched})
    _, process = read_settings(environment(found))
    assert process.lease_namespace == where
    making, keeping = rules(found, "Role", "anneal-lease", where)
    assert making == {"apiGroups": [LEASE.group], "resources": [LEASE.plural], "verbs": ["create"]}
    assert keeping == {**making, "resourceNames": [process.lease_name], "verbs": ["get", "update"]}


def test_users_get_the_usual_roles(rendered: Rendered) -> None:
    found = rendered()
    viewer, editor = (rules(found, "ClusterRole", f"anneal-{name}") for name in ("viewer", "editor"))
    assert not allowed(viewer, "anneal.dev", "finetunejobs") & WRITES
    assert allowed(editor, "anneal.dev", "finetunejobs") >= WRITES
    assert not allowed(editor, "anneal.dev", "finetunejobs/status") & WRITES
    assert not [body for body in rendered({"rbac": {"userRoles": False}}) if "viewer" in str(body)]


def test_no_rights_are_made_where_none_are_wanted(rendered: Rendered) -> None:
    found = rendered({"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "mine"}})
    assert not [body for body in found if "Role" in body["kind"] or body["kind"] == "ServiceAccount"]
    assert dict(pods(found))["anneal"]["serviceAccountName"] == "mine"


class TestNetworkPolicies:
    """The optional NetworkPolicies. That a plugin enforces them is for a cluster with one to show."""

    @staticmethod
    def policies(found: list[dict[str, Any]], namespace: str = NAMESPACE) -> list[dict[str, Any]]:
        return [
            body
            for body in found
            if body["kind"] == "NetworkPolicy" and body["metadata"]["namespace"] == namespace
        ]

    @staticmethod
    def about(policies: list[dict[str, Any]], labels: dict[str, str]) -> list[dict[str, Any]]:
        """Returns the policies that select a pod."""

        def selects(selector: dict[str, Any]) -> bool:
            return all(
                labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()
            ) and all(
                each["key"] in labels
                if each["operator"] == "Exists"
                else labels.get(each["key"]) in each["values"]
                for each in selector.get("matchExpressions", [])
            )

        return [body for body in policies if selects(body["spec"]["podSelector"])]

    def openings(self, rendered: Rendered, part: str, way: str) -> list[tuple[str, list[int]]]:
        """Returns who a pod of a part may talk to: the peers as text, with their ports (none: all)."""
        policies = self.about(
            self.policies(rendered({**POLICIES})), names.labels("reviews", "uid", generation=1, part=part)
        )
        found = []
        for policy in policies:
            for rule in policy["spec"].get(way, []):
                peers = rule["to" if way == "egress" else "from"]
                found += [(str(peer), [port["port"] for port in rule.get("ports", [])]) for peer in peers]
        return found

    def test_off_by_default(self, rendered: Rendered) -> None:
        assert not self.policies(rendered())

    def test_needs_the_api_servers_address(self, helm_program: Path) -> None:
        with pytest.raises(HelmError, match=r"kubectl get endpointslice"):
            render(helm_program, {"networkPolicies": {"enabled": True}})

    @pytest.mark.parametrize("part", ["prepare", "train", "finish", "serve", "parity", "cleanup"])
    def test_every_pod_of_a_job_is_closed_first(self, rendered: Rendered, part: str) -> None:
        selected = self.about(self.policies(rendered(POLICIES)), names.labels("reviews", "uid", part=part))
        closed = [body["spec"] for body in selected if set(body["spec"]) == {"podSelector", "policyTypes"}]
        assert [set(spec["policyTypes"]) for spec in closed] == [{"Ingress", "Egress"}]

    def test_ray_pods_have_the_label_too(self) -> None:
        """Pods of Ray clusters go without `app.kubernetes.io/name`; no policy may rely on it."""
        from anneal_operator.resources.ray_clusters import ray_labels

        labels = ray_labels(names.labels("reviews", "uid", part="train"))
        assert {names.JOB_LABEL, names.PART_LABEL} <= labels.keys()

    def test_who_may_come_in(self, rendered: Rendered) -> None:
        ports = {
            part: sorted(str(ports) for _, ports in self.openings(rendered, part, "ingress"))
            for part in ("prepare", "train", "finish", "serve", "parity", "cleanup")
        }
        assert ports == {
            "prepare": [],
            "train": ["[8265]", "[]"],  # KubeRay, the cluster itself
            "finish": [],
            "serve": ["[8000]", "[8000]", "[8265]", "[]"],  # the parity probe, clients, KubeRay, itself
            "parity": [],
            "cleanup": [],
        }

    def test_all_ports_are_open_only_to_the_same_part(self, rendered: Rendered) -> None:
        for part in ("train", "serve"):
            for way in ("ingress", "egress"):
                anywhere = [peer for peer, ports in self.openings(rendered, part, way) if not ports]
                assert anywhere == [str({"podSelector": {"matchLabels": {names.PART_LABEL: part}}})]

    def test_where_pods_may_go(self, rendered: Rendered) -> None:
        api_server = str({"ipBlock": {"cidr": "10.0.0.1/32"}})
        for part in ("prepare", "train", "finish", "serve", "parity", "cleanup"):
            egress = self.openings(rendered, part, "egress")
            assert [ports for peer, ports in egress if "kube-dns" in peer] == [[53, 53]]
            reports = [ports for peer, ports in egress if peer == api_server]
            assert reports == ([] if part in {"parity", "cleanup"} else [[443, 6443]])
        assert not [peer for peer, _ in self.openings(rendered, "train", "egress") if "0.0.0.0/0" in peer]

    def test_operator_reaches_the_api_server_and_nothing_else(self, rendered: Rendered) -> None:
        [policy] = [
            body
            for body in self.policies(rendered(POLICIES))
            if body["metadata"]["name"] == "anneal-operator"
        ]
        assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        peers = [str(peer) for rule in policy["spec"]["egress"] for peer in rule["to"]]
        assert ["kube-dns" in peer or "10.0.0.1/32" in peer for peer in peers] == [True, True]

    def test_they_lie_where_the_jobs_are(self, rendered: Rendered) -> None:
        values = {**POLICIES, "watchNamespaces": ["team-a", "team-b"]}
        found = rendered(values)
        assert {body["metadata"]["name"] for body in self.policies(found)} == {"anneal-operator"}
        assert len(self.policies(found, "team-a")) == len(self.policies(found, "team-b")) == 7
        named = rendered({"networkPolicies": {**POLICIES["networkPolicies"], "namespaces": ["elsewhere"]}})
        assert len(self.policies(named, "elsewhere")) == 7

    def test_monitoring_is_let_in_where_it_is_named(self, rendered: Rendered) -> None:
        found = rendered(CASES["everything"])
        for policy in (*self.policies(found, "team-a"), *self.policies(found)):
            for rule in policy["spec"].get("ingress", []):
                if "monitoring" in str(rule["from"]):
                    [port] = rule["ports"]
                    assert port["port"] in {8080, 8081}

    def test_chart_says_what_it_opens(self) -> None:
        text = (CHART / "values.yaml").read_text()
        for port in ("8265", "8000", "8080", "8081"):
            assert port in text


def test_hook_pod_cannot_be_taken_for_the_operator(helm_program: Path) -> None:
    found = objects(helm(helm_program, "template", "anneal", str(CHART)))
    [service] = [body for body in found if body["kind"] == "Service"]
    [pod] = [body for body in found if body["kind"] == "Pod"]
    assert not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
