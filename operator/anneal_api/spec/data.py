"""What a job learns from and is judged on."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from anneal_api.schema import ApiModel, Name, ShortText, Uri
from anneal_api.spec.model import SecretRef


class DataFormat(StrEnum):
    """How a data file is written."""

    CSV = "csv"
    TSV = "tsv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


class DataSource(ApiModel):
    """One set of rows."""

    uri: Uri
    """A file or folder of files (`pvc://`, `s3://`, `gs://`, `pkg://`; on one machine a path, relative to the
    manifest's folder, or `file://`), a file in a ConfigMap of the job's namespace (`configmap://NAME/FILE`; a
    ConfigMap holds 1 MiB) or a hub data set (`hf://NAME` or `hf://NAME/CONFIG`)."""
    format: DataFormat | None = None
    """How the file is written; absent: told by its ending."""
    split: ShortText | None = None
    """Split of a hub data set; absent: `train`, `validation` or `test` after the field that names the source."""


class Split(ApiModel):
    """Cuts validation and test rows out of the training source."""

    validation: float | None = Field(default=None, gt=0, lt=1)
    """Share of rows for validation: picks checkpoints and variants."""
    test: float | None = Field(default=None, gt=0, lt=1)
    """Share of rows for test: read once, by the gate."""
    stratify: bool = True
    """Keep each label's share the same in every part."""
    seed: int = Field(default=7, ge=0, le=2**31 - 1)
    """Seed of the shuffle before the cut."""


class Columns(ApiModel):
    """Which columns of the source hold what. The keys are the task's; the values are the source's column names."""

    text: ShortText = "text"
    """Column with the text."""
    label: ShortText = "label"
    """Column with the label."""


class InvalidRowsAction(StrEnum):
    """What happens to rows that nothing can be learned from."""

    DROP = "Drop"
    REFUSE = "Refuse"


class InvalidRows(ApiModel):
    """What happens to rows with an empty text, without a label, or with a label that training never sees."""

    action: InvalidRowsAction = InvalidRowsAction.DROP
    """`Drop`: they are left out and counted, before the splits are cut. `Refuse`: one of them stops the run."""
    max_share: float = Field(default=0.02, ge=0, lt=1)
    """Share of its rows that each split may lose; one that loses more stops the run."""


class EvalSetKind(StrEnum):
    """What an extra evaluation set is for."""

    EDGE_CASE = "edge-case"
    OUT_OF_DISTRIBUTION = "out-of-distribution"


class EvalSet(DataSource):
    """An extra set of rows to score the model on."""

    name: Name
    """Name of the set in reports and gates."""
    kind: EvalSetKind
    """What the set is for."""


class Data(ApiModel):
    """What a job learns from and is judged on."""

    train: DataSource
    """Rows to learn from."""
    validation: DataSource | None = None
    """Rows that pick checkpoints and variants; or cut them out of `train` with `split.validation`."""
    test: DataSource | None = None
    """Rows that the gate reads, once; or cut them out of `train` with `split.test`."""
    split: Split = Field(default_factory=Split)
    """Cuts validation and test rows out of `train`."""
    columns: Columns = Field(default_factory=Columns)
    """Which columns hold what."""
    invalid_rows: InvalidRows = Field(default_factory=InvalidRows)
    """What happens to rows with an empty text, without a label, or with a label that training never sees."""
    secret_ref: SecretRef | None = None
    """Secret that opens the buckets with the data (`s3://`): `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where
    needed, `AWS_SESSION_TOKEN`, `AWS_REGION`, and `AWS_ENDPOINT_URL` of a store that is not Amazon's."""
    augment: list[dict[str, Any]] = Field(default_factory=list, max_length=16)
    """Ways to make more training rows, in order."""
    eval_sets: list[EvalSet] = Field(
        default_factory=list,
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Extra sets of rows to score the model on."""
    slices: list[ShortText] = Field(default_factory=list, max_length=16)
    """Columns to report every metric by."""
    private: bool = False
    """The rows must not be copied into the published model: its parity probe keeps hashes and its report no texts."""
