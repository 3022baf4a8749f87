"""What stands beside the service of a model."""

from __future__ import annotations

from typing import Any

from anneal_api.job import FineTuneJobSpec
from anneal_operator.resources import names
from anneal_operator.resources.intent import stamped
from anneal_operator.resources.ownership import Object, labels_of, owned


def disruption_budget(job: Object, spec: FineTuneJobSpec, name: str = "") -> dict[str, Any]:
    """Returns the PodDisruptionBudget: a drained node takes one serving pod at a time.

    It counts pods (`minAvailable`), because `maxUnavailable` works only where the pods' controller has a scale
    subresource. A RayCluster has none, and Kubernetes would then allow no eviction at all, for ever. One replica alone
    may be evicted: a budget of one would make its node impossible to drain.

    Args:
        job: The FineTuneJob.
        spec: Its spec, with `serving`.
        name: Its name; empty: the one that a new one gets.

    Raises:
        ValueError: The job does not serve.
    """
    if spec.serving is None:
        raise ValueError("the job does not serve")
    return stamped(
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": owned(
                job, name or names.service_name(job["metadata"]["name"]), labels_of(job, part="serve")
            ),
            "spec": {
                "minAvailable": spec.serving.replicas.min - 1,
                "selector": {"matchLabels": serving_pods(job)},
            },
        }
    )


def serving_pods(job: Object) -> dict[str, str]:
    """Returns the labels that select the pods that answer: the workers, not the head."""
    return {
        names.UID_LABEL: job["metadata"]["uid"],
        names.PART_LABEL: "serve",
        "ray.io/node-type": "worker",
    }
