"""Where the base model comes from, and where finished models go."""

from __future__ import annotations

from pydantic import Field

from anneal_api.schema import ApiModel, Name, ShortText, Uri


class SecretRef(ApiModel):
    """A Secret in the job's own namespace."""

    name: Name
    """Name of the Secret."""


class ModelSource(ApiModel):
    """The pretrained model that training starts from."""

    source: Uri
    """A Hugging Face hub id (`bert-base-uncased`), a folder (`pvc://`, `s3://`, `gs://`; on one machine a path or
    `file://`) or a folder inside an installed Python package (`pkg://PACKAGE/PATH`, where there is no hub)."""
    revision: ShortText = "main"
    """Branch, tag or commit on the hub. It is resolved to a commit before training, and the commit is recorded."""
    secret_ref: SecretRef | None = None
    """Secret whose key `token` opens a private or gated model of the hub, and private `hf://` data too; for a bucket
    (`s3://`) it has the keys of `data.secretRef`."""


class Store(ApiModel):
    """Where finished models are kept."""

    uri: Uri
    """Folder of the store: `pvc://CLAIM/PATH`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`; on one machine a path or
    `file://`."""
    secret_ref: SecretRef | None = None
    """Secret that opens the bucket with the store (`s3://`), with the keys of `data.secretRef`. They need the rights to
    list, read, write and delete below the prefix."""


class LowRankAdaptation(ApiModel):
    """Train small low-rank matrices instead of all weights (LoRA, arXiv 2106.09685)."""

    r: int = Field(default=8, ge=1, le=1024)
    """Rank of the matrices."""
    lora_alpha: float = Field(default=16, gt=0)
    """Scale of the update; the update is multiplied by alpha / r."""
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the matrices."""
    target_modules: list[ShortText] = Field(default_factory=list, max_length=64)
    """Names of the modules that get matrices; empty: the attention projections."""
