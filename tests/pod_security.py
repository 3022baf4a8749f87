"""The *restricted* Pod Security Standard, as a check of a pod's spec.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/ (the fields that a pod on Linux can set).
"""

from __future__ import annotations

from typing import Any

_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
_PROFILES = {"RuntimeDefault", "Localhost"}


def restricted_violations(spec: dict[str, Any]) -> list[str]:
    """Returns what is wrong with a pod's spec, one sentence each."""
    pod = spec.get("securityContext") or {}
    found = [f"{field} is set" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= _VOLUMES:
            found.append(f"the volume {volume['name']} is a {', '.join(kinds)}")
    if pod.get("sysctls"):
        found.append("sysctls are set")
    containers = [
        *spec.get("initContainers", []),
        *spec.get("containers", []),
        *spec.get("ephemeralContainers", []),
    ]
    for container in containers:
        found += [f"{container['name']}: {problem}" for problem in _container(container, pod)]
    return found


def _container(container: dict[str, Any], pod: dict[str, Any]) -> list[str]:
    own = container.get("securityContext") or {}
    merged = {**pod, **own}
    found = []
    if own.get("privileged"):
        found.append("privileged")
    if own.get("allowPrivilegeEscalation") is not False:
        found.append("allowPrivilegeEscalation is not false")
    if merged.get("runAsNonRoot") is not True:
        found.append("runAsNonRoot is not true")
    if merged.get("runAsUser") == 0:
        found.append("runAsUser is 0")
    if (merged.get("seccompProfile") or {}).get("type") not in _PROFILES:
        found.append("seccompProfile is neither RuntimeDefault nor Localhost")
    capabilities = own.get("capabilities") or {}
    if "ALL" not in capabilities.get("drop", []):
        found.append("capabilities are not all dropped")
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        found.append("capabilities are added")
    if any("hostPort" in port for port in container.get("ports", [])):
        found.append("a hostPort is set")
    if own.get("procMount", "Default") != "Default":
        found.append("procMount is set")
    return found
