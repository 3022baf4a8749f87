"""Where a job's data, models and results lie, seen from a pod.

`pvc://CLAIM/a/b` is `/mnt/pvc/CLAIM/a/b`, and `configmap://NAME/FILE` is `/mnt/configmap/NAME/FILE`. What lies in a
bucket stays where it is: pods bring what they need of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from anneal_api.errors import ArtifactInvalid, ManifestInvalid
from anneal_api.job import FineTuneJobSpec
from anneal_api.status import VersionStatus
from anneal_api.uris import scheme_of
from anneal_operator.settings import Settings

HOME = "/home/anneal"
"""Home folder of the pods' user; an empty one in every pod."""

MOUNT_ROOT = "/mnt/pvc"
"""Folder with a folder per mounted claim."""

CONFIG_MAP_ROOT = "/mnt/configmap"
"""Folder with a folder per mounted ConfigMap with data."""

WORK_FOLDER = ".work"
"""Folder in the store with the results of stages, which later parts and attempts pick up."""

_CLAIM_SCHEME = "pvc"
_CONFIG_MAP_SCHEME = "configmap"
_BUCKET_SCHEME = "s3"
# Where a pod keeps its own copy of what it needs of a store in a bucket.
_COPY_OF_STORE = f"{HOME}/store"


@dataclass(frozen=True, slots=True, order=True)
class Claim:
    """A PersistentVolumeClaim that a pod mounts.

    Attributes:
        name: Its name, in the job's namespace.
        read_only: Whether the pod may only read it.
    """

    name: str
    read_only: bool

    @property
    def mount_path(self) -> str:
        """Where pods see it."""
        return f"{MOUNT_ROOT}/{self.name}"


def store_uri(spec: FineTuneJobSpec, settings: Settings) -> str:
    """Returns the place of the model store: the job's own, or the operator's; empty where neither names one."""
    return spec.store.uri if spec.store is not None else settings.store


def store_secret(spec: FineTuneJobSpec, settings: Settings) -> str:
    """Returns the name of the Secret that opens the bucket with the store.

    Empty where the store is in none, or where none is named: then the pod's own identity counts. The operator's
    Secret is for the operator's store, and never opens one that a job names.
    """
    if not is_in_bucket(store_uri(spec, settings)):
        return ""
    if spec.store is None:
        return settings.store_secret
    return spec.store.secret_ref.name if spec.store.secret_ref is not None else ""


def is_in_bucket(uri: str) -> bool:
    """Returns whether a place is in an S3 bucket."""
    return scheme_of(uri) == _BUCKET_SCHEME


def pod_path(uri: str) -> str:
    """Returns where a pod finds a place: a path for `pvc://`, anything else as it is.

    A place in a bucket is written in one way only, so that the same place is the same text: `s3://BUCKET/PREFIX`, with
    one slash between names and none at the end.

    Raises:
        ManifestInvalid: The place names no claim or bucket, or leads out of it.
    """
    if is_in_bucket(uri):
        names = [name for name in uri.partition("://")[2].split("/") if name]
        if not names or {".", ".."} & set(names):
            raise ManifestInvalid(
                f"`{uri}` is no place in a bucket.",
                remedy="Write `s3://BUCKET/PREFIX`, without `.` and `..` in the prefix.",
            )
        return f"{_BUCKET_SCHEME}://{'/'.join(names)}"
    if scheme_of(uri) != _CLAIM_SCHEME:
        return uri
    parts = [part for part in uri.partition("://")[2].split("/") if part not in {"", "."}]
    if not parts or ".." in parts:
        raise ManifestInvalid(
            f"`{uri}` is no place on a PersistentVolumeClaim.",
            remedy="Write `pvc://CLAIM/PATH`, without `..` in the path.",
        )
    return "/".join([MOUNT_ROOT, *parts])


def told_store(spec: FineTuneJobSpec, settings: Settings) -> str:
    """Returns the place of the model store as pods are told it: its uri, which for a bucket has one form only."""
    uri = store_uri(spec, settings)
    return pod_path(uri) if is_in_bucket(uri) else uri


def work_folder(spec: FineTuneJobSpec, settings: Settings) -> str:
    """Returns the folder for results of stages, as a pod sees it.

    For a store in a bucket it is in the pod's own copy of the store. What is written there goes to the bucket, below
    the store's prefix.
    """
    store = pod_path(store_uri(spec, settings))
    return f"{_COPY_OF_STORE if is_in_bucket(store) else store.rstrip('/')}/{WORK_FOLDER}"


def version_folder(spec: FineTuneJobSpec, version: VersionStatus, settings: Settings) -> str:
    """Returns the folder of a published version, as a pod sees it: a path, or `s3://BUCKET/PREFIX/...`.

    Raises:
        ArtifactInvalid: The version's path leads out of the store. It comes from a pod of the job's, and what it
            names is mounted and served, so it is not taken on trust.
    """
    parts = [part for part in version.path.split("/") if part not in {"", "."}]
    if not parts or ".." in parts:
        raise ArtifactInvalid(f"The version's path `{version.path}` is no folder of the store.")
    return "/".join([pod_path(store_uri(spec, settings)).rstrip("/"), *parts])


def job_claims(spec: FineTuneJobSpec, settings: Settings) -> tuple[Claim, ...]:
    """Returns the claims that preparing, training and finishing need, by name.

    Only the one with the store is written to.
    """
    read = [spec.model.source, *_data_uris(spec)]
    store = store_claims(spec, settings, read_only=False)
    written = {claim.name for claim in store}
    others = {name for name in map(_claim_name, read) if name and name not in written}
    return tuple(sorted([*store, *(Claim(name, read_only=True) for name in others)]))


def job_config_maps(spec: FineTuneJobSpec) -> tuple[str, ...]:
    """Returns the names of the ConfigMaps with data that preparing, training and finishing need, in order."""
    found = [uri for uri in _data_uris(spec) if scheme_of(uri) == _CONFIG_MAP_SCHEME]
    return tuple(sorted({uri.partition("://")[2].partition("/")[0] for uri in found}))


def store_claims(spec: FineTuneJobSpec, settings: Settings, *, read_only: bool) -> tuple[Claim, ...]:
    """Returns the claim with the store; none where the store is not on a claim."""
    name = _claim_name(store_uri(spec, settings))
    return (Claim(name, read_only),) if name else ()


def _data_uris(spec: FineTuneJobSpec) -> list[str]:
    data = spec.data
    return [source.uri for source in (data.train, data.validation, data.test, *data.eval_sets) if source]


def _claim_name(uri: str) -> str:
    if scheme_of(uri) != _CLAIM_SCHEME:
        return ""
    return pod_path(uri).removeprefix(f"{MOUNT_ROOT}/").partition("/")[0]
