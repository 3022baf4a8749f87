"""What training runs on."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from anneal_api.schema import ApiModel, LabelKey, LabelValue, Name, Quantity


class TolerationOperator(StrEnum):
    """How a toleration matches a taint."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiModel):
    """A taint of nodes that is accepted, as in a pod's spec."""

    key: LabelKey | None = None
    """Key of the taint; absent, with `operator: Exists`: every taint."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """`Equal`: key and value are the taint's; `Exists`: the key is, whatever the value."""
    value: LabelValue | None = None
    """Value of the taint; absent with `operator: Exists`."""
    effect: TaintEffect | None = None
    """Effect of the taint; absent: every effect."""
    toleration_seconds: int | None = None
    """How long a `NoExecute` taint is tolerated; absent: for ever."""


class Resources(ApiModel):
    """What training runs on. A worker is a pod; its processes are its GPUs, or one on CPU."""

    workers: int = Field(default=1, ge=1, le=4096)
    """Training workers."""
    min_workers: int | None = Field(default=None, ge=1, le=4096)
    """Fewest workers to go on with when some are lost; absent: as many as `workers`."""
    gpus_per_worker: int = Field(default=0, ge=0, le=64)
    """GPUs of one worker, one process each."""
    cpu: Quantity | None = None
    """CPUs of one worker; absent: 1 on a cluster, an equal share of the cores on one machine. A fraction is text:
    `"0.5"` or `500m`."""
    memory: Quantity | None = None
    """Memory of one worker, request and limit; absent: `4Gi`."""
    shared_memory: Quantity | None = None
    """Size of `/dev/shm` of one worker, part of its memory; absent: `1Gi`."""
    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict, max_length=64, json_schema_extra={"x-kubernetes-map-type": "atomic"}
    )
    """Labels that a node must have."""
    tolerations: list[Toleration] = Field(default_factory=list, max_length=64)
    """Taints of nodes that are accepted, as in a pod's spec. With GPUs, the taint `nvidia.com/gpu` is tolerated
    anyway."""
    queue: Name | None = None
    """Kueue LocalQueue that admits the job."""
