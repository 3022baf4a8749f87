"""Where a job can run."""

from __future__ import annotations

from enum import StrEnum


class Place(StrEnum):
    """Where a job runs."""

    MACHINE = "machine"
    """`anneal run`, on one machine."""
    CLUSTER = "cluster"
    """`kubectl apply`, on a Kubernetes cluster with the operator."""
