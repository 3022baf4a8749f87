"""The CRDs and the source of the KubeRay that the operator is built for, from the Go module cache.

go mod download github.com/ray-project/kuberay/ray-operator@v1.6.1
"""

from __future__ import annotations

import copy
import functools
import os
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

MODULE = "github.com/ray-project/kuberay/ray-operator"
VERSION = "v1.6.1"


def kuberay_folder() -> Path:
    """Returns the folder of the module; skips the test where it is not, but in CI, which gets it."""
    gopath = os.environ.get("GOPATH", str(Path.home() / "go")).split(os.pathsep)[0]
    cache = os.environ.get("GOMODCACHE", f"{gopath}/pkg/mod")
    folder = Path(cache) / f"{MODULE}@{VERSION}"
    if not folder.is_dir() and os.environ.get("CI") == "true":
        subprocess.run(["go", "mod", "download", f"{MODULE}@{VERSION}"], check=True)
    if not folder.is_dir():
        pytest.skip(f"NOT CHECKED against KubeRay's CRDs: run `go mod download {MODULE}@{VERSION}`")
    return folder


def schema_errors(body: dict[str, Any]) -> list[str]:
    """Returns what the API server would not take in a RayJob or RayService, or would silently drop."""
    return _errors(_strict(_crd_schema(f"{body['kind'].lower()}s")), body)


def pod_template_errors(template: dict[str, Any]) -> list[str]:
    """Returns what is no part of a pod template. KubeRay's CRDs have the whole schema of one."""
    spec = _crd_schema("rayjobs")["properties"]["spec"]["properties"]
    return _errors(
        _strict(spec["rayClusterSpec"]["properties"]["headGroupSpec"]["properties"]["template"]), template
    )


def _errors(schema: dict[str, Any], body: object) -> list[str]:
    found = jsonschema.Draft202012Validator(schema).iter_errors(body)
    return [f"{error.json_path}: {error.message}" for error in found]


@functools.cache
def _crd_schema(plural: str) -> dict[str, Any]:
    text = (kuberay_folder() / f"config/crd/bases/ray.io_{plural}.yaml").read_text(encoding="utf-8")
    crd = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    version = next(each for each in crd["spec"]["versions"] if each["name"] == "v1")
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def _strict(schema: Any) -> Any:
    """Returns a structural schema as a JSON schema that refuses the fields that the API server would drop."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    result = {name: _strict(value) for name, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string") is True:
        result["type"] = ["integer", "string"]
    return copy.copy(result)
