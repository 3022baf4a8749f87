"""What has become of a FineTuneJob: the status that the operator writes and `kubectl get` shows."""

from __future__ import annotations

from enum import StrEnum

from pydantic import ConfigDict, Field

from anneal_api.attempt import Part
from anneal_api.report import Score
from anneal_api.schema import ApiModel, Timestamp
from anneal_api.words import OpenWord


class StatusModel(ApiModel):
    """A part of the status. What only a newer release knows of it is kept and written back."""

    model_config = ConfigDict(extra="allow")


class Phase(OpenWord):
    """One word for people, derived from the conditions. Programs read conditions."""

    PENDING = "Pending"
    SUSPENDED = "Suspended"
    QUEUED = "Queued"
    PREPARING = "Preparing"
    TRAINING = "Training"
    FINISHING = "Finishing"
    DEPLOYING = "Deploying"
    READY = "Ready"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETING = "Deleting"


class ConditionType(OpenWord):
    """The conditions of a job."""

    VALID = "Valid"
    PREPARED = "Prepared"
    TRAINED = "Trained"
    GATE_PASSED = "GatePassed"
    PUBLISHED = "Published"
    AVAILABLE = "Available"
    READY = "Ready"
    SUCCEEDED = "Succeeded"
    PROGRESSING = "Progressing"
    FAILED = "Failed"


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class StatusReason(OpenWord):
    """Why a condition, or the job as a whole, is as it is. Later releases add to it."""

    # on the way
    ACCEPTED = "Accepted"
    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETED = "Completed"
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    RETRYING = "Retrying"
    DEPLOYING = "Deploying"
    SERVING = "Serving"
    NOT_REQUESTED = "NotRequested"
    OLD_VERSION_SERVES = "OldVersionServes"
    UNPROVEN_VERSION_SERVES = "UnprovenVersionServes"
    DELETING = "Deleting"
    # what went wrong
    MANIFEST_INVALID = "ManifestInvalid"
    DATA_INVALID = "DataInvalid"
    MODEL_NOT_FOUND = "ModelNotFound"
    GATE_NOT_PASSED = "GateNotPassed"
    ARTIFACT_INVALID = "ArtifactInvalid"
    OUT_OF_MEMORY = "OutOfMemory"
    DISK_FULL = "DiskFull"
    COLLECTIVE = "Collective"
    PREEMPTED = "Preempted"
    DEADLINE = "Deadline"
    IMAGE_PULL = "ImagePull"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    VOLUME_NOT_FOUND = "VolumeNotFound"
    SECRET_NOT_FOUND = "SecretNotFound"
    KUBERAY_MISSING = "KubeRayMissing"
    REJECTED = "Rejected"
    NAME_CONFLICT = "NameConflict"
    NO_HEARTBEAT = "NoHeartbeat"
    PARITY_FAILED = "ParityFailed"
    UNAVAILABLE = "Unavailable"
    USER_CODE = "UserCode"
    INTERNAL = "Internal"


class Condition(StatusModel):
    """One condition, as Kubernetes defines it."""

    type: ConditionType
    """Which condition."""
    status: ConditionStatus
    """Whether it holds."""
    reason: StatusReason
    """Why, in one word."""
    message: str = Field(max_length=32768)
    """Why, for people."""
    last_transition_time: Timestamp
    """When `status` last changed, RFC 3339."""
    observed_generation: int
    """Generation of the spec that this is about."""


class Progress(StatusModel):
    """How far the job is."""

    percent: int = Field(ge=0, le=100)
    """Of the whole way, roughly; for people."""
    stage: str = ""
    """Stage that runs now."""
    step: int | None = None
    """Optimizer steps done."""
    total_steps: int | None = None
    """Optimizer steps of the whole training."""
    loss: Score | None = None
    """Mean loss per row lately."""
    tokens_per_second: float | None = None
    """Training throughput, padding not counted."""
    eta_seconds: int | None = None
    """Seconds that training will still take."""


class StoreStatus(StatusModel):
    """The model store that something of a job lies in."""

    uri: str = Field(max_length=4096)
    """Its place: `pvc://CLAIM/PATH` or `s3://BUCKET/PREFIX`."""
    secret_name: str = Field(default="", max_length=256)
    """Name of the Secret that opens it; empty where none does."""
    from_operator: bool = False
    """Whether it is the operator's own, because the manifest names none."""


class Run(StatusModel):
    """The attempt that is under way, or the last one. It is written here before anything of it is created."""

    generation: int
    """Generation of the spec that it works on."""
    attempt: int
    """Number of the attempt, from 1 in each generation."""
    part: Part
    """Which part of the way it is at."""
    image: str
    """Image that its pods run; pinned, so that upgrading anneal changes no running job."""
    store: StoreStatus | None = None
    """Where its results lie; pinned, so that another store of the operator's moves no running job."""
    started_at: Timestamp
    """When the attempt was recorded, RFC 3339."""
    part_started_at: Timestamp
    """When its part was recorded, RFC 3339."""
    retry_at: Timestamp | None = None
    """When the next attempt may start, after this one failed or was stopped; RFC 3339."""
    shaping: str | None = None
    """Digest of what the work depends on in the spec: an edit that leaves it alone leaves the attempt alone."""
    for_generation: int | None = None
    """Newest generation of the spec that it works for; higher than `generation` after an edit of something else."""
    counts_from: Timestamp | None = None
    """When the first attempt of its generation was recorded: the deadline counts from here. RFC 3339."""
    part_seen: bool = False
    """Whether its part was seen at work: from then on the absence of its object is a loss."""


class FailedAttempt(StatusModel):
    """An attempt that failed."""

    generation: int
    """Generation of the spec that it worked on."""
    attempt: int
    """Number of the attempt."""
    part: Part
    """Which part failed."""
    reason: StatusReason
    """Why, in one word."""
    message: str = Field(max_length=1024)
    """Why, for people."""
    hint: str = Field(default="", max_length=1024)
    """What to do about it."""
    at: Timestamp
    """When, RFC 3339."""


class StageStatus(StatusModel):
    """One stage of the pipeline."""

    name: str
    """`preflight`, `prepare`, `train`, `evaluate`, `compress`, `gate` or `publish`."""
    reused: bool
    """Whether an earlier run's result still held."""
    seconds: float
    """How long it took when it ran."""


class DroppedRowsStatus(StatusModel):
    """Rows of one split that were left out for one reason."""

    split: str
    """The split that lost them: `train`, `validation` or `test`."""
    reason: str
    """Why: `empty text`, `no label` or `label not in training`."""
    rows: int
    """How many."""
    where: str = ""
    """File, the first rows, and the column."""


class GateLine(StatusModel):
    """One bar of the gate table."""

    metric: str
    """The metric."""
    direction: str
    """Which way it is better."""
    rule: str
    """The bar in words."""
    bar: float | None = None
    """The number that the candidate had to reach."""
    candidate: Score | None = None
    """The candidate's score."""
    incumbent: float | None = None
    """The published version's score on the same rows."""
    verdict: str
    """`passed`, `failed` or `skipped`."""


class VariantStatus(StatusModel):
    """One candidate for publication."""

    name: str
    """Name of the variant."""
    bytes: int
    """Size of its weights."""
    latency_ms_p50: float
    """Median time to answer one row on one core."""
    score: Score | None = None
    """Its score in the leading metric, on validation rows."""
    verdict: str
    """Whether it was selected, and why not."""


class VersionState(OpenWord):
    """What a published version does."""

    CANDIDATE = "Candidate"
    SERVING = "Serving"
    PREVIOUS = "Previous"


class Refusal(StatusModel):
    """A version that was to serve and failed."""

    generation: int
    """Generation of the spec under which it failed; it is not tried again for that one."""
    reason: StatusReason
    """Why, in one word."""
    message: str = Field(max_length=1024)
    """Why, for people."""
    hint: str = Field(default="", max_length=1024)
    """What to do about it."""


class VersionStatus(StatusModel):
    """A published version that the cluster knows."""

    version: int
    """Its number."""
    generation: int
    """Generation of the spec that made it."""
    state: VersionState
    """What it does."""
    traffic: int = Field(ge=0, le=100)
    """Percent of requests that it answers at this moment, proven or not."""
    path: str
    """Its folder below the store."""
    digest: str
    """SHA-256 of its `manifest.json`."""
    image: str
    """Image that serves it."""
    store: StoreStatus | None = None
    """Store that it lies in; pinned, as the image is."""
    score: Score | None = None
    """Its score in the leading metric, on test rows."""
    published_at: Timestamp
    """When it was published, RFC 3339."""
    shaping: str | None = None
    """Digest of what a version depends on in the spec: another spec with the same one needs no other version."""
    deploying_since: Timestamp | None = None
    """When it was first asked to serve and has not been ready since; RFC 3339."""
    refused: Refusal | None = None
    """Why it may not serve; absent where it may."""


class FineTuneJobStatus(StatusModel):
    """What has become of a job. Only the operator writes it."""

    observed_generation: int = 0
    """Generation of the spec that this is about."""
    phase: Phase = Phase.PENDING
    """One word for people."""
    reason: StatusReason | None = None
    """Why the job waits or failed, in one word."""
    message: str = Field(default="", max_length=32768)
    """What goes on, for people."""
    hint: str = Field(default="", max_length=4096)
    """What to do about it."""
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """The conditions; programs read these."""
    attempt: int = 0
    """Number of the attempt."""
    resumed_from: int | None = None
    """Step that training went on from in this attempt."""
    run: Run | None = None
    """The attempt under way, or the last one."""
    failures: list[FailedAttempt] = Field(default_factory=list, max_length=10)
    """Attempts that failed, the newest last."""
    progress: Progress | None = None
    """How far the job is."""
    stages: list[StageStatus] = Field(default_factory=list, max_length=32)
    """Stages that are done."""
    dropped_rows: list[DroppedRowsStatus] = Field(default_factory=list, max_length=20)
    """Rows of the data that were left out, per split and reason."""
    score: str = ""
    """The leading metric of the newest result, for the SCORE column."""
    metrics: dict[str, Score] = Field(default_factory=dict)
    """Scores of the selected variant on the test rows."""
    gate: list[GateLine] = Field(default_factory=list, max_length=64)
    """The gate table."""
    variants: list[VariantStatus] = Field(default_factory=list, max_length=32)
    """The candidates."""
    versions: list[VersionStatus] = Field(default_factory=list, max_length=32)
    """Published versions that serve or may serve again, the newest last."""
    served_version: str = ""
    """The version that answers, for the VERSION column: `v3`."""
    traffic: str = ""
    """Who answers how much at this moment, for the TRAFFIC column: `v2 90%, v3 10%`, with `(unproven)` where it is."""
    url: str = ""
    """Where the served model answers inside the cluster."""
    worker_seconds: float = 0.0
    """Seconds of training, times workers."""
    gpu_hours: float = 0.0
    """Hours of training, times GPUs."""
    finished_at: Timestamp | None = None
    """When the job succeeded or failed, RFC 3339."""
