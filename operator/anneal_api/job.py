"""The FineTuneJob: one manifest from base model and data to a served model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from anneal_api.schema import ApiModel, Duration
from anneal_api.spec.compression import Compression
from anneal_api.spec.data import Data
from anneal_api.spec.evaluation import Evaluation
from anneal_api.spec.model import ModelSource, Store
from anneal_api.spec.resources import Resources
from anneal_api.spec.serving import Retention, Rollout, Serving
from anneal_api.spec.training import Training, Tuning
from anneal_api.tasks import Task

MAX_NAME = 63
"""Longest name of a job: as long as the value of a label may be."""


class FineTuneJobSpec(ApiModel):
    """What to train, on what, how well, and how to serve it."""

    task: Task
    """What the model is asked to do."""
    model: ModelSource
    """The pretrained model that training starts from."""
    store: Store | None = None
    """Where finished models are kept; absent: the operator's store, or `.anneal/store` on one machine."""
    data: Data
    """What the job learns from and is judged on."""
    training: Training = Field(default_factory=Training)
    """How the model learns."""
    tuning: Tuning | None = None
    """Search for better hyper-parameters first."""
    resources: Resources = Field(default_factory=Resources)
    """What training runs on."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """What the model is scored with, and the bar that it has to clear."""
    compression: Compression = Field(default_factory=Compression)
    """Smaller variants of the trained model."""
    serving: Serving | None = None
    """How the published model is served; absent: train and publish only."""
    rollout: Rollout | None = None
    """How a new version takes over from the one that serves."""
    retention: Retention | None = None
    """What is kept, and how long."""
    deadline: Duration | None = None
    """Longest time from apply to published; the job fails after it."""
    suspend: bool = False
    """Hold the job: nothing runs until it is false again."""


class Metadata(BaseModel):
    """The part of Kubernetes' ObjectMeta that anneal reads; the rest is Kubernetes' own and passes through."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", frozen=True, use_attribute_docstrings=True
    )

    name: str = Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=MAX_NAME)
    """Name of the job in its namespace."""
    namespace: str = Field(default="default", pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)
    """Namespace of the job."""
    uid: str | None = None
    """Identity of the object, given by the API server."""
    generation: int | None = None
    """Counts the edits of the spec, given by the API server."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the job."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of the job."""


class FineTuneJob(ApiModel):
    """Fine-tunes a Hugging Face model, evaluates it, makes it smaller, lets it pass a gate, and serves it."""

    api_version: Literal["anneal.dev/v1alpha1"]
    """Always `anneal.dev/v1alpha1`."""
    kind: Literal["FineTuneJob"]
    """Always `FineTuneJob`."""
    metadata: Metadata
    """Name, namespace, labels."""
    spec: FineTuneJobSpec
    """What is asked for."""
    status: dict[str, Any] | None = None
    """What has become of it; written by the operator only."""
