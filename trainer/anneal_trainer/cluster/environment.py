"""What the operator tells a pod: environment variables, and the manifest as a file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from anneal_api.attempt import Part
from anneal_api.errors import AnnealError, ManifestInvalid
from anneal_api.job import FineTuneJob, Metadata
from anneal_api.support import Place
from anneal_api.uris import LocationError
from anneal_api.validation import validate
from anneal_trainer.data.locations import local_path, scheme_of
from anneal_trainer.remote.mirror import Mirror

JOB_FILE = "ANNEAL_JOB_FILE"
JOB_NAME = "ANNEAL_JOB_NAME"
JOB_UID = "ANNEAL_JOB_UID"
NAMESPACE = "ANNEAL_NAMESPACE"
GENERATION = "ANNEAL_GENERATION"
ATTEMPT = "ANNEAL_ATTEMPT"
REPORT_CONFIGMAP = "ANNEAL_REPORT_CONFIGMAP"
STORE = "ANNEAL_STORE"
WORK = "ANNEAL_WORK"
SERVING_VERSION = "ANNEAL_SERVING_VERSION"

_UID = re.compile(r"[0-9a-zA-Z]{8}[-0-9a-zA-Z]{0,120}")
_VERSION = re.compile(r"v?([1-9][0-9]*)")
_OPERATORS_BUSINESS = "The operator sets it; a pod that was made by hand has to set it too."


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which part of which attempt a pod is, and where it reports.

    Attributes:
        part: The part.
        namespace: Namespace of the job.
        uid: UID of the job.
        generation: Generation of the spec.
        attempt: Number of the attempt.
        configmap: Name of the ConfigMap that it reports in.
    """

    part: Part
    namespace: str
    uid: str
    generation: int
    attempt: int
    configmap: str


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a job keeps what it makes.

    Attributes:
        store: Root of the model store; of its local copy where it is in a bucket.
        work: Root of the folders in which stages keep their results.
        mirror: Keeps both in a bucket; None: they are folders that all pods of the job see.
    """

    store: Path
    work: Path
    mirror: Mirror | None = None


def read_assignment(part: Part, environment: Mapping[str, str]) -> Assignment:
    """Reads which part of which attempt this pod is.

    Raises:
        AnnealError: A variable is missing or malformed; it is named.
    """
    return Assignment(
        part=part,
        namespace=_text(environment, NAMESPACE),
        uid=_uid(environment),
        generation=_number(environment, GENERATION),
        attempt=_number(environment, ATTEMPT),
        configmap=_text(environment, REPORT_CONFIGMAP),
    )


def read_folders(environment: Mapping[str, str]) -> Folders:
    """Reads where the store and the stages' results lie.

    A store in a bucket has a copy on this pod, of what the pod needs, with the work folder in it.

    Raises:
        AnnealError: A variable is missing, or its place is not mounted.
    """
    uri = _text(environment, STORE)
    work = Path(_text(environment, WORK))
    if not work.is_absolute():
        raise AnnealError(f"'{work}' is no absolute path.", where=WORK, remedy=_OPERATORS_BUSINESS)
    if scheme_of(uri) == "s3":
        return Folders(work.parent, work, Mirror(work.parent, uri))
    # A relative path would depend on where the process happens to run.
    if not scheme_of(uri) and not Path(uri).is_absolute():
        raise AnnealError(f"The store '{uri}' is no absolute path.", where=STORE, remedy=_OPERATORS_BUSINESS)
    try:
        store = local_path(uri, base_folder=Path("/"))
    except LocationError as error:
        raise ManifestInvalid(error.what, where="spec.store.uri", remedy=error.remedy) from error
    return Folders(store, work)


def read_serving_versions(environment: Mapping[str, str]) -> frozenset[int]:
    """Reads the versions that serve, `3` or `v3`, several with commas between them; none where nothing serves.

    Raises:
        AnnealError: The variable is malformed.
    """
    versions = set()
    for word in environment.get(SERVING_VERSION, "").replace(",", " ").split():
        match = _VERSION.fullmatch(word)
        if match is None:
            raise AnnealError(
                f"'{word}' is no version.",
                where=SERVING_VERSION,
                remedy="Write 3 or v3, several with commas.",
            )
        versions.add(int(match[1]))
    return frozenset(versions)


def job_file(environment: Mapping[str, str]) -> Path:
    """Returns the file with the manifest.

    Raises:
        AnnealError: The variable is missing.
    """
    return Path(_text(environment, JOB_FILE))


def read_job(path: Path, assignment: Assignment) -> FineTuneJob:
    """Reads the manifest that the pod works on.

    Args:
        path: The manifest as JSON.
        assignment: What the pod is told to be.

    Raises:
        ManifestInvalid: This version cannot do what the manifest asks for.
        AnnealError: The file cannot be read, or is that of another job.
    """
    document = _document(path)
    validation = validate(document, Place.CLUSTER)
    if validation.job is None:
        raise ManifestInvalid(
            "This version of anneal cannot do what the manifest asks for.",
            remedy="Mend it and apply it again.",
            problems=validation.problems,
        )
    metadata = validation.job.metadata
    found = (metadata.namespace, metadata.uid, metadata.generation)
    told = (assignment.namespace, assignment.uid, assignment.generation)
    if found != told:
        raise AnnealError(
            f"The manifest is that of another object: {_identity(*found)} instead of {_identity(*told)}.",
            where=str(path),
            remedy=_OPERATORS_BUSINESS,
        )
    return validation.job


def read_metadata(environment: Mapping[str, str]) -> Metadata:
    """Reads who the job is and nothing else, for a cleanup: it may never have been valid.

    Raises:
        AnnealError: Variables are missing or malformed, or the manifest is that of another job.
    """
    namespace, uid = _text(environment, NAMESPACE), _uid(environment)
    if environment.get(JOB_NAME):
        content: object = {"name": environment[JOB_NAME], "namespace": namespace, "uid": uid}
        where = JOB_NAME
    else:
        path = job_file(environment)
        document = _document(path)
        content = document.get("metadata") if isinstance(document, dict) else None
        where = str(path)
    try:
        metadata = Metadata.model_validate(content)
    except ValidationError as error:
        raise AnnealError("This does not name a job.", where=where, remedy=_OPERATORS_BUSINESS) from error
    if (metadata.namespace, metadata.uid) != (namespace, uid):
        raise AnnealError("The manifest is that of another job.", where=where, remedy=_OPERATORS_BUSINESS)
    return metadata


def _document(path: Path) -> object:
    try:
        content: object = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise AnnealError(
            f"The manifest cannot be read: {error}.", where=str(path), remedy=_OPERATORS_BUSINESS
        ) from error
    return content


def _identity(namespace: str, uid: str | None, generation: int | None) -> str:
    return f"generation {generation} of {uid} in {namespace}"


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise AnnealError("The environment variable is not set.", where=name, remedy=_OPERATORS_BUSINESS)
    return value


def _number(environment: Mapping[str, str], name: str) -> int:
    value = _text(environment, name)
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise AnnealError(f"'{value}' is no whole number from 1.", where=name, remedy=_OPERATORS_BUSINESS)
    return int(value)


def _uid(environment: Mapping[str, str]) -> str:
    value = _text(environment, JOB_UID)
    # Its first characters become a folder's name.
    if not _UID.fullmatch(value):
        raise AnnealError(f"'{value}' is no UID.", where=JOB_UID, remedy=_OPERATORS_BUSINESS)
    return value
