"""The chart as Helm renders it, and the files that are made from it.

PYTHONPATH=tests python -m helm_chart       # writes manifests/install.yaml and the goldens anew (`make manifests`)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from cluster.binaries import binary, built
from cluster.progress import ClusterError
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
CHART = ROOT / "charts" / "anneal"
CRD_FILE = CHART / "files" / "crds" / "anneal.dev_finetunejobs.yaml"
INSTALL_MANIFEST = ROOT / "manifests" / "install.yaml"
GOLDEN = Path(__file__).parent / "unit" / "charts" / "golden"
RELEASE = "anneal"
NAMESPACE = "anneal-system"
OLDEST_KUBERNETES = "1.29.0"
"""The oldest that the chart takes. A helm built without a release's flags believes in one that is older still."""

_HEADER = """\
# anneal, for `kubectl apply --server-side -f`: the chart with its defaults, in the namespace anneal-system.
# Written by `make manifests`: edit charts/anneal instead.
apiVersion: v1
kind: Namespace
metadata:
  name: anneal-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""
# True of what Helm installed, and only of that.
_ONLY_HELM = ("app.kubernetes.io/managed-by: Helm", "helm.sh/chart: ")


class HelmError(Exception):
    """Helm refused; its words."""


def find_helm(*, build: bool) -> Path | None:
    """Returns the helm to use: `$HELM`, the one that the tests' cluster is made with, or the PATH's.

    Args:
        build: Build it where there is none.

    Raises:
        ClusterError: It cannot be built.
    """
    if chosen := os.environ.get("HELM"):
        return Path(chosen)
    if found := built("helm"):
        return found
    if found_ := shutil.which("helm"):
        return Path(found_)
    return binary("helm") if build else None


def helm(
    program: Path,
    *arguments: str,
    values: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Runs helm and returns what it prints.

    Args:
        program: Helm.
        arguments: Its arguments.
        values: Values beside the chart's own.
        environment: More environment variables: which cluster it speaks to.

    Raises:
        HelmError: It failed.
    """
    text = None
    if arguments[0] in {"template", "lint"}:
        arguments = (*arguments, "--kube-version", OLDEST_KUBERNETES)
    if values is not None:
        stream = StringIO()
        YAML(typ="safe").dump(dict(values), stream)
        text = stream.getvalue()
        arguments = (*arguments, "--values", "-")
    done = subprocess.run(
        [program, *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | dict(environment or {}),
    )
    if done.returncode != 0:
        raise HelmError(done.stderr.strip() + done.stdout.strip())
    return done.stdout


def render(program: Path, values: Mapping[str, Any] | None = None, *more: str) -> str:
    """Returns what the chart comes to, as YAML."""
    return helm(
        program, "template", RELEASE, str(CHART), "--namespace", NAMESPACE, *more, values=values or {}
    )


def objects(text: str) -> list[dict[str, Any]]:
    """Returns the objects of a YAML stream."""
    return [body for body in YAML(typ="safe").load_all(text) if body]


def install_manifest(program: Path) -> str:
    """Returns what `manifests/install.yaml` has to be."""
    # Nothing here outlives `kubectl delete -f`, whatever the annotation says: so it is left out.
    rendered = render(program, {"crds": {"keep": False}}, "--no-hooks")
    lines = (line for line in rendered.splitlines() if not line.strip().startswith(_ONLY_HELM))
    return _HEADER + "\n".join(lines) + "\n"


CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "namespaced": {
        "watchNamespaces": ["team-a", "team-b"],
        "store": "pvc://models/anneal",
    },
    "monitoring": {
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "kube-prometheus-stack"}}},
    },
    "everything": {
        "fullnameOverride": "fine-tuning",
        "image": {
            "repository": "registry.example.com:5000/ml/operator",
            "tag": "1.2.3",
            "digest": f"sha256:{'0' * 64}",
            "pullPolicy": "Always",
        },
        "imagePullSecrets": [{"name": "registry"}],
        "runtime": {
            "image": {"repository": "registry.example.com:5000/ml/runtime", "digest": f"sha256:{'1' * 64}"},
            "imagePullSecrets": ["registry", "mirror"],
            "podOverrides": {"priorityClassName": "batch", "dnsConfig": {"options": [{"name": "ndots"}]}},
            "headResources": {"limits": {"memory": "8Gi"}},
            "stepResources": {"requests": {"cpu": 1}},
            "servingResources": {"limits": {"memory": "6Gi"}},
        },
        "store": "s3://models/anneal",
        "storeSecret": "models-s3",
        "watchNamespaces": ["team-a", "team-b"],
        "retries": {"maxAttempts": 2, "backoffSeconds": 2.5, "maxBackoffSeconds": 20, "maxRestarts": 3},
        "timeouts": {"startSeconds": 1800, "heartbeatSeconds": 120, "unreadySeconds": 1000000},
        "replicas": 2,
        "strategy": {"type": "Recreate"},
        "workers": 16,
        "logLevel": "debug",
        "serviceAccount": {"annotations": {"example.com/role": "anneal"}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]
                }
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
            }
        ],
        "priorityClassName": "system-cluster-critical",
        "podAnnotations": {"example.com/owner": "ml-platform"},
        "podLabels": {"example.com/team": "ml-platform"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy.example.com:3128"}],
        "metrics": {
            "service": {"annotations": {"example.com/scrape": "true"}},
            "serviceMonitor": {
                "enabled": True,
                "interval": "15s",
                "scrapeTimeout": "5s",
                "labels": {"release": "prometheus"},
            },
        },
        "networkPolicies": {
            "enabled": True,
            "apiServer": {"cidrs": ["10.0.0.1/32", "fd00::1/128"], "ports": [6443]},
            "clients": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}},
            ],
            "monitoring": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}},
            ],
            "egress": [
                {
                    "to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}],
                    "ports": [{"port": 443, "protocol": "TCP"}],
                }
            ],
        },
    },
}
"""Values by name of the case: what a golden file holds. `everything` sets every value that is no free-form object."""


def golden(program: Path, case: str) -> str:
    """Returns what a golden file has to be. The CRD has a file of its own."""
    return render(program, {**CASES[case], "crds": {"enabled": False}})


def main(arguments: Sequence[str]) -> int:
    """Writes everything that is made from the chart anew."""
    if arguments:
        print("no arguments are known", file=sys.stderr)
        return 2
    try:
        program = find_helm(build=True)
        assert program is not None
        INSTALL_MANIFEST.write_text(install_manifest(program))
        for case in CASES:
            (GOLDEN / f"{case}.yaml").write_text(golden(program, case))
    except (ClusterError, HelmError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
