"""Names and labels of the objects that a job is made of. Deterministic: the same job always gets the same ones."""

from __future__ import annotations

import hashlib

from anneal_api.attempt import Part

MAX_RAY_NAME = 47
"""Longest name of a RayJob or RayService; KubeRay makes longer ones of it."""

MANAGER = "anneal-operator"
"""`app.kubernetes.io/managed-by`, and the field manager of server-side apply."""

JOB_LABEL = "anneal.dev/job"
UID_LABEL = "anneal.dev/job-uid"
GENERATION_LABEL = "anneal.dev/generation"
ATTEMPT_LABEL = "anneal.dev/attempt"
PART_LABEL = "anneal.dev/part"
VERSION_LABEL = "anneal.dev/version"
FINALIZER = "anneal.dev/store-cleanup"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Label with the LocalQueue of Kueue that admits an object."""

_HASH_LENGTH = 6
_LONGEST_SUFFIX = len("-g99999-a99-prepare")
_LONGEST_BASE = MAX_RAY_NAME - _LONGEST_SUFFIX


def base_name(job: str) -> str:
    """Returns the job's name as a child's can start with it: a DNS-1035 label short enough for every suffix.

    A name that is cut or altered ends in a hash of the whole, so that two jobs never share a child's name.
    """
    return _label(job, _LONGEST_BASE)


def service_name(job: str) -> str:
    """Returns the name of the RayService, and of the Service that people call: the job's own, up to 47 characters."""
    return _label(job, MAX_RAY_NAME)


def _label(job: str, longest: int) -> str:
    label = job.replace(".", "-")
    if not label[0].isalpha():
        label = f"j-{label}"
    if label == job and len(label) <= longest:
        return label
    digest = hashlib.sha256(job.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{label[: longest - _HASH_LENGTH - 1].rstrip('-')}-{digest}"


def is_name_of(job: str, name: str) -> bool:
    """Returns whether an object of a job, or one that Kubernetes or KubeRay made for such, can have a name."""
    return any(name == own or name.startswith(f"{own}-") for own in (base_name(job), service_name(job)))


def generation_name(job: str, generation: int) -> str:
    """Returns the name of what belongs to a generation: its manifest's ConfigMap."""
    return f"{base_name(job)}-g{generation}"


def attempt_name(job: str, generation: int, attempt: int) -> str:
    """Returns the name of an attempt: its RayJob and its report ConfigMap."""
    return f"{generation_name(job, generation)}-a{attempt}"


def account_name(job: str) -> str:
    """Returns the name of the service account that a job's pods report with, its Role and its RoleBinding."""
    return f"{base_name(job)}-reporter"


def part_name(job: str, generation: int, attempt: int, part: Part) -> str:
    """Returns the name of the Job or RayJob that runs a part of an attempt."""
    attempt_ = attempt_name(job, generation, attempt)
    return attempt_ if part is Part.TRAIN else f"{attempt_}-{part.value}"


def probe_name(job: str, version: int) -> str:
    """Returns the name of the Job that replays held-out rows through the endpoint of a version."""
    return f"{base_name(job)}-v{version}-parity"


def cleanup_name(job: str) -> str:
    """Returns the name of the Job that empties the store of a deleted job."""
    return f"{base_name(job)}-cleanup"


def labels(
    job: str,
    uid: str,
    *,
    generation: int | None = None,
    attempt: int | None = None,
    part: str | None = None,
    version: int | None = None,
) -> dict[str, str]:
    """Returns the labels of a child.

    Args:
        job: Name of the FineTuneJob.
        uid: Its UID.
        generation: Generation that the child belongs to.
        attempt: Attempt that it belongs to.
        part: `prepare`, `train`, `finish`, `serve`, `parity`, `cleanup`.
        version: Published version that it is about.
    """
    found = {
        "app.kubernetes.io/name": "anneal",
        "app.kubernetes.io/managed-by": MANAGER,
        "app.kubernetes.io/part-of": "anneal",
        "app.kubernetes.io/instance": job,
        JOB_LABEL: job,
        UID_LABEL: uid,
    }
    numbered = {GENERATION_LABEL: generation, ATTEMPT_LABEL: attempt, VERSION_LABEL: version}
    found |= {label: str(number) for label, number in numbered.items() if number is not None}
    if part is not None:
        found[PART_LABEL] = part
    return found
