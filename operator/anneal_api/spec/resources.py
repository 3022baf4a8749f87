"""What training runs on."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from anneal_api.schema import ApiModel, Name, Quantity


class Resources(ApiModel):
    """What training runs on. A worker is a pod; its processes are its GPUs, or one on CPU."""

    workers: int = Field(default=1, ge=1, le=4096)
    """Training workers."""
    min_workers: int | None = Field(default=None, ge=1, le=4096)
    """Fewest workers to go on with when some are lost; absent: as many as `workers`."""
    gpus_per_worker: int = Field(default=0, ge=0, le=64)
    """GPUs of one worker, one process each."""
    cpu: Quantity | None = None
    """CPUs of one worker; absent on one machine: an equal share of its cores."""
    memory: Quantity | None = None
    """Memory of one worker."""
    shared_memory: Quantity | None = None
    """Size of `/dev/shm` of one worker."""
    node_selector: dict[str, str] = Field(default_factory=dict, max_length=64)
    """Labels that a node must have."""
    tolerations: list[dict[str, Any]] = Field(default_factory=list, max_length=64)
    """Taints of nodes that are accepted, as in a pod's spec."""
    queue: Name | None = None
    """Kueue LocalQueue that admits the job."""
