"""Finds the pretrained model that training starts from, and pins it: a folder and a revision.

A model is weights in safetensors, `config.json` and a tokenizer. Pickled weights are never loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anneal_api.errors import ModelNotFound
from anneal_api.job import FineTuneJobSpec
from anneal_api.published import BackendKind, CodecSettings, PredictorConfig
from anneal_api.spec.model import ModelSource
from anneal_api.uris import LocationError
from anneal_trainer.data.locations import (
    is_folder,
    local_path,
    package_of,
    scheme_of,
    start_of_relative_paths,
)
from anneal_trainer.model_files import MODEL_PATTERNS, VOCABULARIES, content_digest, is_one_of
from anneal_trainer.weights import WeightsUnreadableError, count_parameters

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_WHERE = "spec.model.source"
_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$")
_ADAPTER_FILE = "adapter_config.json"  # where peft is installed, transformers loads what it names instead
_CONTENT_DIGEST = "sha256:"
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
# Families whose position ids start behind the padding token's, so that the table holds fewer usable places.
_POSITIONS_AFTER_PADDING = {
    "camembert", "data2vec-text", "esm", "ibert", "longformer", "luke", "markuplm", "mpnet", "roberta",
    "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A pretrained model on this machine.

    Attributes:
        folder: Its files; an absolute path, for processes that stand in other folders read them too.
        source: What the manifest calls it.
        revision: What it was resolved to: the hub's commit, or a digest of the content. For a package its
            version stands before it.
    """

    folder: Path
    source: str
    revision: str

    def __post_init__(self) -> None:
        assert self.folder.is_absolute(), self.folder


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What `config.json` and the header of the weights say, without loading the model.

    Attributes:
        model_type: Family, for example `bert`.
        parameters: Numbers in the weights.
        hidden_size: Width of a token's vector.
        layers: Number of layers.
        heads: Attention heads of a layer.
        intermediate_size: Width inside the feed-forward blocks.
        max_positions: Longest input in tokens; None where the family has no limit.
        vocab_size: Rows of the embedding table.
        labels: Labels that a head in the weights answers, in order; empty where there are none of its own.
    """

    model_type: str
    parameters: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    max_positions: int | None
    vocab_size: int
    labels: tuple[str, ...]


def resolve(model: ModelSource, *, base_folder: Path) -> BaseModel:
    """Returns the base model's folder and revision. What lies on the hub or in a bucket comes into the hub's cache.

    A source without a scheme is a folder where there is one of that name beside the manifest, else a hub id.

    Args:
        model: The manifest's model part.
        base_folder: Folder that relative paths start from: the manifest's.

    Raises:
        ModelNotFound: There is no such model, it may not be read, or it lacks config, weights or tokenizer.
    """
    source = model.source
    if not scheme_of(source) and not is_folder(base_folder / Path(source).expanduser()):
        from anneal_trainer.hub_model import download  # noqa: PLC0415  huggingface_hub is slow to import

        if not _HUB_ID.match(source):
            raise _no_folder(source, (base_folder / source).expanduser())
        folder, commit = download(source, model.revision, patterns=MODEL_PATTERNS)
        check_folder(folder, source)
        return BaseModel(folder.absolute(), source, commit)
    try:
        in_bucket = scheme_of(source) == "s3"
        folder = _brought(source) if in_bucket else local_path(source, base_folder=base_folder)
    except LocationError as error:
        raise ModelNotFound(error.what, where=_WHERE, remedy=error.remedy) from error
    if not is_folder(folder):
        raise _no_folder(source, folder)
    if model.revision != "main":
        raise ModelNotFound(
            f"A folder has no revision '{model.revision}'.",
            where="spec.model.revision",
            remedy="Leave it out: only hub models have revisions; the folder's content is recorded.",
        )
    check_folder(folder, source)
    revision = f"{_CONTENT_DIGEST}{content_digest(folder)}"
    if scheme_of(source) == "pkg":
        revision = f"{_package_version(package_of(source))} {revision}"
    return BaseModel(folder.absolute(), source, revision)


def pinned(model: ModelSource, revision: str) -> ModelSource:
    """Returns the model as the hub had it when it was resolved; a folder has no revisions to go back to.

    Args:
        model: The manifest's model part.
        revision: What `resolve` made of it.
    """
    if _CONTENT_DIGEST in revision:
        return model
    return model.model_copy(update={"revision": revision})


def check_folder(folder: Path, source: str) -> None:
    """Makes sure that a folder holds a model that can be trained on.

    Raises:
        ModelNotFound: Config, safetensors or tokenizer are missing or unreadable.
    """
    read_config(folder, source)
    _parameters(folder, source)
    if (folder / _ADAPTER_FILE).is_file():
        raise ModelNotFound(
            f"'{source}' has a model and an adapter ({_ADAPTER_FILE}), and which is meant nobody can tell.",
            where=_WHERE,
            remedy="Merge the adapter into the model (merge_and_unload) and save that, or take the file away.",
        )
    if not any(is_one_of(path.name, VOCABULARIES) for path in folder.iterdir()):
        raise ModelNotFound(
            f"'{source}' has no tokenizer: none of {', '.join(VOCABULARIES)} is in {folder}.",
            where=_WHERE,
            remedy="Put the tokenizer that the model was trained with beside its weights.",
        )


def describe(base: BaseModel) -> ModelDescription:
    """Returns a model's shape from its config and the header of its weights; no tensor is read.

    Raises:
        ModelNotFound: The model's folder was changed since it was resolved.
    """
    config = read_config(base.folder, base.source)
    hidden = _first_integer(config, ("hidden_size", "d_model", "dim", "n_embd"), default=0)
    return ModelDescription(
        model_type=config["model_type"],
        parameters=_parameters(base.folder, base.source),
        hidden_size=hidden,
        layers=_first_integer(config, ("num_hidden_layers", "n_layers", "num_layers", "n_layer"), default=0),
        heads=_first_integer(config, ("num_attention_heads", "n_heads", "num_heads", "n_head"), default=1),
        intermediate_size=_first_integer(
            config, ("intermediate_size", "hidden_dim", "d_ff", "ffn_dim", "n_inner"), default=4 * hidden
        ),
        max_positions=_max_positions(config),
        vocab_size=_first_integer(config, ("vocab_size",), default=0),
        labels=_labels(config),
    )


def tokenizer_files(base: BaseModel, out_folder: Path) -> None:
    """Writes the tokenizer: `tokenizer.json`, `tokenizer_config.json` and the special tokens.

    The base model's own padding and truncation are left out; the codec sets them.

    Raises:
        ModelNotFound: The tokenizer cannot be loaded, or not as a `tokenizers` one.
    """
    tokenizer = _load_tokenizer(base)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.save_pretrained(out_folder)


def codec_settings(base: BaseModel, max_length: int) -> CodecSettings:
    """Returns how text becomes tensors for this model.

    Args:
        base: The base model.
        max_length: Longest input in tokens, special tokens included.

    Raises:
        ModelNotFound: The tokenizer cannot be loaded.
    """
    config = read_config(base.folder, base.source)
    tokenizer = _load_tokenizer(base)
    known = set(tokenizer.model_input_names) | {"input_ids", "attention_mask"}
    if not config.get("type_vocab_size"):
        known.discard("token_type_ids")
    pad_token_id = _padding_of(tokenizer, config)
    if pad_token_id is None:
        pad_token_id = 0  # any will do: the attention mask tells what is text
    return CodecSettings.model_validate(
        {
            "maxLength": max_length,
            "padTokenId": pad_token_id,
            "inputs": [name for name in _INPUTS if name in known],
        }
    )


def published_padding(base: BaseModel) -> int | None:
    """Returns the `pad_token_id` that a model trained from this one is saved with: for those who pad by themselves.

    None where neither model nor tokenizer has a padding token that the model has a place for.

    Raises:
        ModelNotFound: The tokenizer cannot be loaded.
    """
    config = read_config(base.folder, base.source)
    own = config.get("pad_token_id")
    return own if isinstance(own, int) else _padding_of(_load_tokenizer(base), config)


def predictor_config(
    base: BaseModel, spec: FineTuneJobSpec, labels: Sequence[str], model_file: str
) -> PredictorConfig:
    """Returns how the model will answer in torch once it is trained.

    Args:
        base: The base model.
        spec: The job's spec.
        labels: The labels in the order of the model's outputs.
        model_file: File of the trained weights.

    Raises:
        ModelNotFound: The tokenizer cannot be loaded.
    """
    return PredictorConfig.model_validate(
        {
            "task": spec.task,
            "labels": list(labels),
            "codec": codec_settings(base, spec.training.max_length),
            "backend": BackendKind.TORCH,
            "modelFile": model_file,
            "variant": "torch",
        }
    )


def _brought(source: str) -> Path:
    """Brings a model's files out of a bucket, beside those of the hub: pods of one job share that cache."""
    from huggingface_hub import constants  # noqa: PLC0415  slow to import

    from anneal_serving.buckets import Bucket, Purpose, fetched_folder  # noqa: PLC0415  only for buckets

    bucket = Bucket(source, Purpose.MODEL)
    beside = (file for file in bucket.files() if "/" not in file.name)
    files = [file for file in beside if is_one_of(file.name, MODEL_PATTERNS)]
    if not files:
        raise LocationError(
            f"There is no model at '{source}'.",
            "Name the folder that save_pretrained() wrote: config.json, tokenizer and safetensors lie in it.",
        )
    return fetched_folder(bucket, files, Path(constants.HF_HOME) / "buckets")


def _no_folder(source: str, folder: Path) -> ModelNotFound:
    return ModelNotFound(
        f"There is no folder '{source}' ({folder}).",
        where=_WHERE,
        remedy=f"{start_of_relative_paths(source)[:-1]}; a hub id has the form NAME or OWNER/NAME.",
    )


def read_config(folder: Path, source: str) -> dict[str, Any]:
    """Returns what a model's config.json says, as it stands there: without the defaults of its family.

    Args:
        folder: The model's folder.
        source: What the manifest calls it.

    Raises:
        ModelNotFound: There is none, it cannot be read, or it names no type of model.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ModelNotFound(
            f"'{source}' is not a model: there is no config.json in {folder}.",
            where=_WHERE,
            remedy="Name the folder that save_pretrained() wrote.",
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelNotFound(
            f"'{source}': config.json cannot be read: {error}.", where=_WHERE, remedy="Copy the model again."
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelNotFound(
            f"'{source}': config.json does not name a model_type.",
            where=_WHERE,
            remedy="Name a Hugging Face transformers model.",
        )
    return config


def _parameters(folder: Path, source: str) -> int:
    try:
        return count_parameters(folder)
    except WeightsUnreadableError as error:
        raise ModelNotFound(f"'{source}': {error.what}", where=_WHERE, remedy=error.remedy) from error


def _package_version(package: str) -> str:
    distributions = metadata.packages_distributions().get(package, [package])
    try:
        return f"{distributions[0]} {metadata.version(distributions[0])}"
    except metadata.PackageNotFoundError:
        return package


def _first_integer(config: dict[str, Any], names: Sequence[str], *, default: int) -> int:
    """Returns the first of several fields that is an integer: families name the same thing differently."""
    return next((config[name] for name in names if isinstance(config.get(name), int)), default)


def _max_positions(config: dict[str, Any]) -> int | None:
    positions = _first_integer(config, ("max_position_embeddings", "n_positions"), default=0)
    if not positions:
        return None
    if config["model_type"] in _POSITIONS_AFTER_PADDING:
        return positions - _first_integer(config, ("pad_token_id",), default=1) - 1
    return positions


def _labels(config: dict[str, Any]) -> tuple[str, ...]:
    by_position = config.get("id2label")
    if not isinstance(by_position, dict):
        return ()
    try:
        return tuple(str(by_position[key]) for key in sorted(by_position, key=int))
    except ValueError:
        return ()


def _padding_of(tokenizer: PreTrainedTokenizerFast, config: dict[str, Any]) -> int | None:
    rows = _first_integer(config, ("vocab_size",), default=0)
    wanted = (tokenizer.pad_token_id, config.get("pad_token_id"))
    # A padding token that was added to the tokenizer alone has no row in the embedding table.
    return next((pad for pad in wanted if isinstance(pad, int) and 0 <= pad < (rows or pad + 1)), None)


def _load_tokenizer(base: BaseModel) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415  slow to import

    from anneal_serving.pretrained import load_tokenizer  # noqa: PLC0415  the same

    try:
        tokenizer = load_tokenizer(base.folder)
    except Exception as error:
        raise ModelNotFound(
            f"The tokenizer of '{base.source}' cannot be loaded: {_in_one_line(error)}",
            where=_WHERE,
            remedy="Check that the model loads with transformers.AutoTokenizer.",
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelNotFound(
            f"The tokenizer of '{base.source}', a {type(tokenizer).__name__}, has no tokenizer.json form, "
            "which serving needs.",
            where=_WHERE,
            remedy="Choose a model with a fast tokenizer.",
        )
    return tokenizer


def _in_one_line(error: Exception) -> str:
    return " ".join(str(error).split())
