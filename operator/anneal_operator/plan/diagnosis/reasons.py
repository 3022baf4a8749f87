"""What is wrong, in one word of the closed set, and in words for people: what, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from anneal_api.status import StatusReason

MAX_WORDS = 1024
"""A message or hint in a status is at most this long; what pods and controllers say is cut."""

HINTS: dict[StatusReason, str] = {
    StatusReason.MANIFEST_INVALID: "Mend the manifest and apply it again.",
    StatusReason.DATA_INVALID: "Mend the data, then edit the manifest or create the job again.",
    StatusReason.MODEL_NOT_FOUND: "Check spec.model.source and revision; a private model needs spec.model.secretRef.",
    StatusReason.GATE_NOT_PASSED: "Read status.gate; improve data or training, or lower the bars.",
    StatusReason.ARTIFACT_INVALID: "Restore the folder in the store, or edit the manifest to make another version.",
    StatusReason.OUT_OF_MEMORY: "Raise spec.resources.memory, or lower spec.training.maxBatchTokens or maxLength.",
    StatusReason.DISK_FULL: "Free some space on the volume, or use a larger one.",
    StatusReason.COLLECTIVE: "Check that the workers' pods reach each other; network policies may stand between them.",
    StatusReason.PREEMPTED: "Nothing to do: the work goes on from its last checkpoint.",
    StatusReason.DEADLINE: "Raise spec.deadline, or give the job more workers or fewer steps.",
    StatusReason.IMAGE_PULL: "Check the image's name, that the nodes reach its registry, and its pull secret.",
    StatusReason.UNSCHEDULABLE: (
        "Free or add nodes, or ask for less in spec.resources; check nodeSelector and tolerations."
    ),
    StatusReason.QUOTA_EXCEEDED: "Raise the namespace's ResourceQuota, or ask for less in spec.resources.",
    StatusReason.VOLUME_NOT_FOUND: "Create the claim in the job's namespace, or correct its name in the manifest.",
    StatusReason.SECRET_NOT_FOUND: (
        "Create the Secret in the job's namespace, or correct its name: in the manifest, or, for the operator's own "
        "store, in its setting storeSecret."
    ),
    StatusReason.KUBERAY_MISSING: "Install the KubeRay operator with its CRDs.",
    StatusReason.REJECTED: "Change what the message names: in the manifest, or in the rules of the namespace.",
    StatusReason.NAME_CONFLICT: "Delete or rename that object, or give the job another name.",
    StatusReason.NO_HEARTBEAT: "See the logs of the pods; `anneal logs` shows them.",
    StatusReason.PARITY_FAILED: "See the logs of the parity Job; then edit the manifest to make another version.",
    StatusReason.UNAVAILABLE: "See the logs of the serving pods: `anneal logs --part serve` shows them.",
    StatusReason.USER_CODE: "See the logs of the pods; `anneal logs` shows them.",
    StatusReason.INTERNAL: "See the logs of the pods; `anneal logs` shows them.",
}
"""What to do about each thing that can go wrong, where nothing more special is known."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Something that is wrong.

    Attributes:
        reason: The word of the closed set.
        message: What is wrong.
        hint: What to do about it.
        may_pass: Whether another attempt may be luckier, though failures for that reason usually repeat themselves.
    """

    reason: StatusReason
    message: str
    hint: str
    may_pass: bool = False


def diagnose(reason: StatusReason, message: str, hint: str = "") -> Diagnosis:
    """Returns a diagnosis whose words fit into a status.

    Args:
        reason: The word of the closed set.
        message: What is wrong.
        hint: What to do about it; empty: what usually helps.
    """
    return Diagnosis(reason, shortened(message), shortened(hint or HINTS.get(reason, "")))


def shortened(text: str, limit: int = MAX_WORDS) -> str:
    """Returns a text that is at most so long."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
