"""Jobs, and every object that the operator makes for them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from anneal_api.attempt import Part
from anneal_api.job import FineTuneJobSpec
from anneal_api.status import Run, VersionState, VersionStatus
from anneal_operator.resources.attempt import attempt_objects
from anneal_operator.resources.cleanup_jobs import cleanup_job
from anneal_operator.resources.manifest import manifest_configmap
from anneal_operator.resources.parity_jobs import parity_job
from anneal_operator.resources.rayjobs import train_rayjob
from anneal_operator.resources.rayservices import ray_service
from anneal_operator.resources.serving_objects import disruption_budget
from anneal_operator.resources.step_jobs import step_job
from anneal_operator.settings import Settings

UID = "1a2b3c4d-0000-4000-8000-000000000001"
CANARY = "hf_do-not-copy-me"
"""Stands in the sample's annotations, where `kubectl apply` puts whatever a user wrote; it must go nowhere else."""

MINIMAL: dict[str, Any] = {
    "task": "text-classification",
    "model": {"source": "bert-base-uncased"},
    "store": {"uri": "pvc://models/anneal"},
    "data": {
        "train": {"uri": "pvc://datasets/reviews.csv"},
        "split": {"validation": 0.1, "test": 0.1},
        "columns": {"text": "review", "label": "sentiment"},
    },
}

FULL: dict[str, Any] = {
    **MINIMAL,
    "model": {"source": "pvc://base-models/bert", "secretRef": {"name": "hub-token"}},
    "data": {
        "train": {"uri": "pvc://datasets/reviews/train.csv"},
        "validation": {"uri": "configmap://small-sets/validation.csv"},
        "test": {"uri": "pvc://held-out/test.csv"},
    },
    "resources": {
        "workers": 2,
        "gpusPerWorker": 1,
        "cpu": "1500m",
        "memory": "16Gi",
        "sharedMemory": "4Gi",
        "nodeSelector": {"pool": "a100"},
        "tolerations": [{"key": "team", "operator": "Equal", "value": "nlp", "effect": "NoSchedule"}],
    },
    "serving": {"replicas": {"min": 2, "max": 4}, "cpu": 2, "maxBatchTokens": 2048},
    "deadline": "1h30m",
    "suspend": True,
}

IN_BUCKET: dict[str, Any] = {
    **MINIMAL,
    "store": {"uri": "s3://models/anneal", "secretRef": {"name": "for-the-store"}},
    "serving": {},
}


@dataclass(frozen=True, slots=True)
class Sample:
    """A job at some moment of its life."""

    spec_body: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(MINIMAL))
    name: str = "reviews"
    generation: int = 3
    attempt: int = 2
    version_number: int = 4
    settings: Settings = field(default_factory=lambda: Settings(image="registry.example/anneal:0.1.0"))
    image: str = "registry.example/anneal:0.1.0"
    namespace: str = "nlp"
    uid: str = UID

    @property
    def job(self) -> dict[str, Any]:
        return {
            "apiVersion": "anneal.dev/v1alpha1",
            "kind": "FineTuneJob",
            "metadata": {
                "name": self.name,
                "namespace": self.namespace,
                "uid": self.uid,
                "generation": self.generation,
                "resourceVersion": "4711",
                "annotations": {"note": CANARY},
                "labels": {"team": CANARY},
            },
            "spec": copy.deepcopy(self.spec_body),
            "status": {"message": CANARY},
        }

    @property
    def spec(self) -> FineTuneJobSpec:
        return FineTuneJobSpec.model_validate(self.spec_body)

    @property
    def version(self) -> VersionStatus:
        return VersionStatus(
            version=self.version_number,
            generation=self.generation,
            state=VersionState.CANDIDATE,
            traffic=0,
            path=f"nlp/{self.name}-1a2b3c4d/v{self.version_number}",
            digest="ab" * 32,
            image=self.image,
            publishedAt="2026-01-02T03:04:05Z",
        )

    def run(self, part: Part) -> Run:
        return Run(
            generation=self.generation,
            attempt=self.attempt,
            part=part,
            image=self.image,
            startedAt="2026-01-02T03:04:05Z",
            partStartedAt="2026-01-02T03:04:05Z",
        )

    @property
    def service(self) -> dict[str, Any]:
        return ray_service(self.job, self.spec, self.version, self.settings)

    @property
    def training(self) -> dict[str, Any]:
        return train_rayjob(self.job, self.spec, self.run(Part.TRAIN), self.settings)


def objects(sample: Sample) -> dict[str, dict[str, Any]]:
    """Returns everything that is ever made for a job, by a name for it."""
    job, spec, settings = sample.job, sample.spec, sample.settings
    found = {"manifest": manifest_configmap(job)}
    attempt = attempt_objects(job, sample.run(Part.PREPARE))
    found |= {f"attempt-{body['kind'].lower()}": body for body in attempt}
    found["prepare"] = step_job(job, spec, sample.run(Part.PREPARE), settings)
    found["train"] = sample.training
    found["finish"] = step_job(job, spec, sample.run(Part.FINISH), settings)
    found["cleanup"] = cleanup_job(job, spec, settings)
    if spec.serving is not None:
        found["service"] = sample.service
        found["disruption-budget"] = disruption_budget(job, spec)
        found["parity"] = parity_job(job, spec, sample.version, settings)
    return found


def pod_specs(value: object, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the place and content of every pod spec in an object."""
    if isinstance(value, dict):
        if isinstance(value.get("containers"), list):
            yield path, value
        for name, part in value.items():
            yield from pod_specs(part, f"{path}.{name}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from pod_specs(part, f"{path}[{index}]")
