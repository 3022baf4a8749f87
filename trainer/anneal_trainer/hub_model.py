"""Downloads a base model from the Hugging Face hub: config, tokenizer and safetensors, of one commit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from anneal_api.errors import ModelNotFound, ResourceUnavailable
from anneal_api.system_errors import unavailable

_WHERE = "spec.model.source"
_AIR_GAPPED = "a local folder or pkg://PACKAGE/PATH needs no hub; on a cluster, use pvc:// or s3://"
_TOKEN_ON_CLUSTER = "on a cluster, name a Secret with the key `token` in spec.model.secretRef"
# The base of every error of the HTTP library, whichever one this version of the hub's client is built on.
_TRANSPORT_ERROR: type[BaseException] = HfHubHTTPError.__mro__[1]


def download(repository: str, revision: str, *, patterns: Sequence[str]) -> tuple[Path, str]:
    """Downloads files of a revision into the hub's cache; what is there already is kept.

    The token in `HF_TOKEN` or of `hf auth login` is used. With `HF_HUB_OFFLINE=1`, or when the hub cannot be
    reached, the cache alone answers.

    Args:
        repository: `NAME` or `OWNER/NAME`.
        revision: Branch, tag or commit.
        patterns: Names of the files, `*` for any part. Files in folders are left out.

    Returns:
        The folder, and the commit that the revision stands for.

    Raises:
        ModelNotFound: There is no such model or revision, it may not be read, or it has no safetensors.
    """
    try:
        folder = Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=list(patterns), ignore_patterns=["*/*"]
            )
        )
    except GatedRepoError as error:
        raise ModelNotFound(
            f"'{repository}' is gated: its owner must let you in.",
            where=_WHERE,
            remedy=(
                f"Accept its terms on {constants.ENDPOINT}/{repository} and set HF_TOKEN to your token; "
                f"{_TOKEN_ON_CLUSTER}."
            ),
        ) from error
    except RevisionNotFoundError as error:
        raise ModelNotFound(
            f"'{repository}' has no revision '{revision}'.",
            where="spec.model.revision",
            remedy="Name a branch, a tag or a commit of it.",
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise ModelNotFound(
            f"There is no model '{repository}' on the hub, and no folder of that name beside the manifest.",
            where=_WHERE,
            remedy=f"Check the spelling; for a private model set HF_TOKEN; {_TOKEN_ON_CLUSTER}.",
        ) from error
    except LocalEntryNotFoundError as error:
        raise _not_cached(repository, revision, error) from error
    except (_TRANSPORT_ERROR, OSError, ValueError) as error:
        refused = unavailable(error)
        if refused is not None:
            raise ResourceUnavailable(
                f"'{repository}' cannot be downloaded. {refused.what}",
                where=f"HF_HOME: {refused.where or constants.HF_HOME}",
                remedy="Let HF_HOME name a folder that can be written and has room, then run again: it goes on.",
                reason=refused.reason,
            ) from error
        raise ModelNotFound(
            f"'{repository}' cannot be downloaded: {_first_line(error)}.",
            where=_WHERE,
            remedy=f"Check the network and the disk, then run again: it goes on; {_AIR_GAPPED}.",
        ) from error
    if not any(folder.glob("*.safetensors")):
        raise ModelNotFound(
            f"'{repository}' has no weights in safetensors on the hub; pickled ones are never loaded.",
            where=_WHERE,
            remedy="Choose a revision or a model that has them, or convert it where you trust it.",
        )
    return folder, folder.name


def _not_cached(repository: str, revision: str, error: LocalEntryNotFoundError) -> ModelNotFound:
    if constants.is_offline_mode():
        why = "HF_HUB_OFFLINE is set"
        remedy = f"Unset HF_HUB_OFFLINE, or download it before; {_AIR_GAPPED}."
    else:
        why = f"the hub cannot be reached ({_first_line(error.__cause__ or error)})"
        remedy = f"Check the network, or HF_ENDPOINT for a mirror; {_AIR_GAPPED}."
    return ModelNotFound(
        f"'{repository}' at '{revision}' is not in the cache, and {why}.", where=_WHERE, remedy=remedy
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
