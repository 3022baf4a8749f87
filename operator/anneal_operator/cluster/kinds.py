"""The kinds of object that the operator reads and writes, and where the API server keeps them."""

from __future__ import annotations

from dataclasses import dataclass

from anneal_api.identity import GROUP, KIND, VERSION
from anneal_operator.resources.names import MANAGER

OURS = f"app.kubernetes.io/managed-by={MANAGER}"
"""Label selector of everything that the operator makes, and of the pods below it."""


def page_query(limit: int, labels: str, fields: str) -> dict[str, str]:
    """Returns the query for the first page of a list.

    Args:
        limit: Most objects in a page.
        labels: Label selector; empty: none.
        fields: Field selector; empty: none.
    """
    chosen = {"labelSelector": labels, "fieldSelector": fields}
    return {"limit": str(limit), **{name: value for name, value in chosen.items() if value}}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object.

    Attributes:
        kind: Its name, as in an object's `kind`.
        group: API group; empty: the core.
        version: Version of the group.
        plural: Its name in a path.
        selector: Label selector of the objects that concern the operator; empty: all.
        optional: Whether a cluster may be without it.
        child: Whether the operator makes such objects for a job.
    """

    kind: str
    group: str
    version: str
    plural: str
    selector: str = OURS
    optional: bool = False
    child: bool = True

    @property
    def api_version(self) -> str:
        """As in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """Path of its group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Returns the path of an object, or of all objects.

        Args:
            namespace: Its namespace; empty: in all namespaces.
            name: Its name; empty: all.
            subresource: `status`; empty: the object itself.
        """
        parts = [self.root]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


FINE_TUNE_JOB = Kind(KIND, GROUP, VERSION, "finetunejobs", selector="", child=False)
CONFIG_MAP = Kind("ConfigMap", "", "v1", "configmaps")
SERVICE_ACCOUNT = Kind("ServiceAccount", "", "v1", "serviceaccounts")
ROLE = Kind("Role", "rbac.authorization.k8s.io", "v1", "roles")
ROLE_BINDING = Kind("RoleBinding", "rbac.authorization.k8s.io", "v1", "rolebindings")
JOB = Kind("Job", "batch", "v1", "jobs")
RAY_JOB = Kind("RayJob", "ray.io", "v1", "rayjobs", optional=True)
RAY_SERVICE = Kind("RayService", "ray.io", "v1", "rayservices", optional=True)
DISRUPTION_BUDGET = Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets")
POD = Kind("Pod", "", "v1", "pods", child=False)
SERVICE = Kind("Service", "", "v1", "services", selector="", child=False)
"""KubeRay makes one for each RayService. Nobody watches them: they are only looked at."""

WATCHED = (
    FINE_TUNE_JOB,
    CONFIG_MAP,
    SERVICE_ACCOUNT,
    ROLE,
    ROLE_BINDING,
    JOB,
    RAY_JOB,
    RAY_SERVICE,
    DISRUPTION_BUDGET,
    POD,
)
"""What the cache holds. Each is listed once and then watched."""

LEASE = Kind("Lease", "coordination.k8s.io", "v1", "leases", selector="", child=False)
EVENT = Kind("Event", "events.k8s.io", "v1", "events", selector="", child=False)
CORE_EVENT = Kind("Event", "", "v1", "events", selector="", child=False)
"""Events under the old name, the only one that selects by the object they are about."""

_BY_NAME = {kind.kind: kind for kind in (*WATCHED, SERVICE)}


def kind_named(name: str) -> Kind:
    """Returns a kind of what a job consists of, or needs the name of, by its name.

    Raises:
        KeyError: The operator does not know such objects.
    """
    return _BY_NAME[name]
