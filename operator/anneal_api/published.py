"""The published model: what `manifest.json` in a version's folder says."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from anneal_api.schema import ApiModel
from anneal_api.tasks import Task

MANIFEST_FILE = "manifest.json"
"""Written last: a version's folder without it does not exist."""


class BackendKind(StrEnum):
    """What computes the model."""

    ONNXRUNTIME = "onnxruntime"
    TORCH = "torch"


class CodecSettings(ApiModel):
    """How text becomes tensors. Training, evaluation and serving all read this one record."""

    tokenizer_file: str = "tokenizer.json"
    """Tokenizer, as the `tokenizers` library saves it, relative to the model's folder."""
    max_length: int
    """Longest input in tokens, special tokens included; longer ones are cut at the end."""
    pad_token_id: int = 0
    """Token that fills a batch's shorter rows."""
    inputs: list[str]
    """Names of the model's inputs, for example `input_ids`, `attention_mask`, `token_type_ids`."""


class PredictorConfig(ApiModel):
    """All that a Predictor needs to know about a model, beside its files."""

    task: Task
    """What the model answers."""
    labels: list[str]
    """Label of each output, in the order of the logits."""
    codec: CodecSettings
    """How text becomes tensors."""
    backend: BackendKind
    """What computes the model."""
    model_file: str
    """The weights, relative to the model's folder: `model.onnx`, or `model.safetensors` beside `config.json`."""
    variant: str
    """Name of the variant: `fp32`, `int8`..."""


class PublishedFile(ApiModel):
    """A file of a version, with what it takes to know that it is whole."""

    path: str
    """Relative to the version's folder, with `/`."""
    bytes: int
    """Size."""
    sha256: str
    """Digest of the content, in hex."""


class BaseModelRecord(ApiModel):
    """The pretrained model that a version was tuned from."""

    source: str
    """As the manifest names it."""
    revision: str
    """The commit, package version or content digest that the source was resolved to."""


class DataRecord(ApiModel):
    """The rows that a version was made from."""

    digest: str
    """Digest over the rows of all splits."""
    train_rows: int
    """Rows learned from."""
    validation_rows: int
    """Rows that picked checkpoint and variant."""
    test_rows: int
    """Rows that the gate read."""


class PublishedModel(ApiModel):
    """A version's `manifest.json`."""

    format_version: Literal[1] = 1
    """Version of this layout."""
    namespace: str
    """Namespace of the job."""
    job: str
    """Name of the job."""
    version: int = Field(ge=1)
    """Number of the version, counted per job."""
    created_at: str
    """When it was published, ISO 8601 in UTC."""
    predictor: PredictorConfig
    """How the model answers."""
    files: list[PublishedFile]
    """Every file of the version but this one."""
    metrics: dict[str, float]
    """Scores on the test rows."""
    base_model: BaseModelRecord
    """What it was tuned from."""
    data: DataRecord
    """What it was tuned on."""
    seed: int
    """Seed of the training."""
    code_version: str
    """Version of anneal that made it."""
    candidate: str
    """Digest of the trained and compressed files that this version was chosen from."""
    incumbent: int | None
    """Version that it was compared with; absent where it was the first."""
    spec: dict[str, Any]
    """The job's spec, as it was."""
