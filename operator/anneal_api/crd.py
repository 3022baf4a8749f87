"""The CustomResourceDefinition of the FineTuneJob, made of the models: `anneal crd` prints it."""

from __future__ import annotations

from typing import Any

from anneal_api.crd_rules import CEL_RULES
from anneal_api.crd_schema import Schema, structural
from anneal_api.identity import GROUP, KIND, VERSION
from anneal_api.job import FineTuneJob, FineTuneJobSpec
from anneal_api.status import FineTuneJobStatus

SINGULAR = "finetunejob"
PLURAL = "finetunejobs"
SHORT_NAME = "ftj"

_COLUMNS: tuple[tuple[str, str, str, str], ...] = (
    ("Task", "string", ".spec.task", "What the model is asked to do."),
    ("Phase", "string", ".status.phase", "What goes on, in one word for people."),
    ("Progress", "integer", ".status.progress.percent", "Percent of the whole way, roughly."),
    ("Score", "string", ".status.score", "The leading metric of the newest result."),
    ("Version", "string", ".status.servedVersion", "The version that answers."),
    ("Traffic", "string", ".status.traffic", "Which version answers how much."),
    ("Age", "date", ".metadata.creationTimestamp", "Time since the job was created."),
)
_WIDE_COLUMN = ("Reason", "string", ".status.reason", "Why the job waits or failed.")


def custom_resource_definition() -> dict[str, Any]:
    """Returns the CustomResourceDefinition, ready for the API server."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": SINGULAR,
                "shortNames": [SHORT_NAME],
                "categories": ["all", "anneal"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        *map(_column, _COLUMNS),
                        _column(_WIDE_COLUMN) | {"priority": 1},
                    ],
                    "schema": {"openAPIV3Schema": _schema()},
                }
            ],
        },
    }


def _schema() -> Schema:
    fields = FineTuneJob.model_fields
    schema: Schema = {
        "description": FineTuneJob.__doc__,
        "type": "object",
        "properties": {
            "apiVersion": {"description": fields["api_version"].description, "type": "string"},
            "kind": {"description": fields["kind"].description, "type": "string"},
            # Kubernetes says what is in it, and allows nothing else to be said here.
            "metadata": {"type": "object"},
            "spec": structural(FineTuneJobSpec, defaults=True) | {"description": fields["spec"].description},
            # What the operator writes is whole; a default would show what nobody has observed.
            "status": structural(FineTuneJobStatus, defaults=False)
            | {"description": fields["status"].description},
        },
        "required": ["spec"],
    }
    for rule in CEL_RULES:
        _part(schema, rule.part).setdefault("x-kubernetes-validations", []).append(rule.entry())
    return schema


def _part(schema: Schema, path: str) -> Schema:
    """Returns the schema of a part, written as `spec.evaluation.gates[]`."""
    for step in path.split(".") if path else ():
        name, items, _ = step.partition("[]")
        schema = schema["properties"][name]
        if items:
            schema = schema["items"]
    return schema


def _column(column: tuple[str, str, str, str]) -> dict[str, Any]:
    name, kind, path, description = column
    return {"name": name, "type": kind, "jsonPath": path, "description": description}
