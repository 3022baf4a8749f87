"""What of a spec decides the work, and what decides its result: an edit of anything else trains nothing anew."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import ValidationError

from anneal_api.job import FineTuneJobSpec
from anneal_api.status import Run, VersionStatus
from anneal_operator.plan.observed import Observed
from anneal_operator.resources.names import generation_name

_RESULT = {"task", "model", "data", "training", "tuning", "evaluation", "compression", "store"}
_DIGEST_LENGTH = 16


def result_digest(spec: FineTuneJobSpec) -> str:
    """Returns a digest of what decides how a version turns out and where it lies."""
    return _digest(_without_secrets(_dump(spec, _RESULT)))


def work_digest(spec: FineTuneJobSpec) -> str:
    """Returns a digest of what decides a running attempt: the result, what it runs on, and its credentials."""
    return _digest(_dump(spec, _RESULT | {"resources"}))


def is_result_of(version: VersionStatus, spec: FineTuneJobSpec, observed: Observed) -> bool:
    """Returns whether a version is what a spec asks for."""
    if version.generation == observed.generation or version.shaping == result_digest(spec):
        return True
    made_from = spec_of(observed, version.generation)
    return made_from is not None and result_digest(made_from) == result_digest(spec)


def works_for(run: Run, spec: FineTuneJobSpec, observed: Observed) -> bool:
    """Returns whether an attempt does what a spec asks for."""
    if run.generation == observed.generation or run.shaping == work_digest(spec):
        return True
    # A digest of an older operator may differ where the meaning does not: the manifests themselves decide.
    made_from = spec_of(observed, run.generation)
    return made_from is not None and work_digest(made_from) == work_digest(spec)


def spec_of(observed: Observed, generation: int) -> FineTuneJobSpec | None:
    """Returns the spec of an earlier generation, from its manifest in the cluster; None where it is gone."""
    manifest = observed.child("ConfigMap", generation_name(observed.name, generation))
    text = (manifest.get("data") or {}).get("job.json") if manifest is not None else None
    try:
        spec = json.loads(text)["spec"] if isinstance(text, str) else None
        return FineTuneJobSpec.model_validate_json(json.dumps(spec), extra="ignore")
    except (ValueError, TypeError, KeyError, ValidationError):
        return None


def _dump(spec: FineTuneJobSpec, parts: set[str]) -> dict[str, Any]:
    # Without defaults: a field that a later version adds must not make every job train again.
    return spec.model_dump(mode="json", include=parts, exclude_defaults=True)


def _without_secrets(dump: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: value for key, value in part.items() if key != "secretRef"}
        if isinstance(part, dict)
        else part
        for name, part in dump.items()
    }


def _digest(dump: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(dump, sort_keys=True).encode()).hexdigest()[:_DIGEST_LENGTH]
