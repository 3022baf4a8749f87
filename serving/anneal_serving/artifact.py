"""A published model on disk: read it, verify it, answer with it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from anneal_api.errors import ArtifactInvalid, Problem
from anneal_api.published import MANIFEST_FILE, PublishedFile, PublishedModel
from anneal_serving.predictor import Predictor

FORMAT_VERSION = 1
"""The layout of published models that this version reads."""

_VERSION_FOLDER = re.compile(r"v([1-9][0-9]*)")
_COPY_AGAIN = "Copy the whole folder again, or publish the model again."


@dataclass(frozen=True, slots=True)
class Artifact:
    """One published version of a model.

    Attributes:
        folder: Its folder.
        manifest: What its `manifest.json` says.
    """

    folder: Path
    manifest: PublishedModel

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True, digest: str | None = None) -> Self:
        """Reads a published version.

        Args:
            folder: The version's folder, the one with `manifest.json` in it.
            verify: Whether to check the digest of every file; about a second a gigabyte.
            digest: SHA-256 that `manifest.json` must have, where it is known from elsewhere: with it and
                `verify`, what is read is what was published, to the last byte.

        Raises:
            ArtifactInvalid: There is no manifest, its format is unknown, or a file is missing or altered.
        """
        manifest = _read_manifest(folder / MANIFEST_FILE, digest)
        problems = _unlisted(manifest)
        for file in manifest.files:
            problem = _file_problem(folder, file, verify=verify)
            if problem:
                problems.append(problem)
        if problems:
            raise ArtifactInvalid(
                "The published model is incomplete or was altered.",
                where=str(folder),
                remedy=_COPY_AGAIN,
                problems=problems,
            )
        return cls(folder, manifest)

    @property
    def version(self) -> str:
        """Job and number, for example `reviews/v3`."""
        return f"{self.manifest.job}/v{self.manifest.version}"

    def predictor(self, *, threads: int = 1) -> Predictor:
        """Returns what answers with this model.

        Args:
            threads: Rows that are computed at the same time.

        Raises:
            ArtifactInvalid: A file of the model cannot be read.
        """
        return Predictor.load(self.folder, self.manifest.predictor, threads=threads)


def latest_version(folder: Path) -> Path:
    """Returns the version's folder that a path means.

    Args:
        folder: A version's folder, or a job's with `v1/`, `v2/`... in it: then the highest complete one.

    Raises:
        ArtifactInvalid: There is no published version.
    """
    if (folder / MANIFEST_FILE).is_file():
        return folder
    numbers = [
        int(match[1])
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _VERSION_FOLDER.fullmatch(path.name)) and (path / MANIFEST_FILE).is_file()
    ]
    if not numbers:
        raise ArtifactInvalid(
            "There is no published model here." if folder.is_dir() else "There is no such folder.",
            where=str(folder),
            remedy=f"Name a version's folder (it holds {MANIFEST_FILE}) or a job's, with v1, v2... in it.",
        )
    return folder / f"v{max(numbers)}"


def _read_manifest(path: Path, digest: str | None) -> PublishedModel:
    try:
        content = path.read_bytes()
        _require_digest(path, content, digest)
        document = json.loads(content)
    except FileNotFoundError as error:
        raise ArtifactInvalid(
            f"There is no {MANIFEST_FILE}: the folder is no published model, or not a complete one.",
            where=str(path.parent),
            remedy=_COPY_AGAIN,
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactInvalid(
            f"The manifest cannot be read: {error}.", where=str(path), remedy=_COPY_AGAIN
        ) from error
    found = document.get("formatVersion", FORMAT_VERSION) if isinstance(document, dict) else FORMAT_VERSION
    if found != FORMAT_VERSION:
        raise ArtifactInvalid(
            f"The published model has format {found!r}, and this version of anneal reads {FORMAT_VERSION}.",
            where=str(path),
            remedy="Install the version of anneal that made it, or a newer one.",
        )
    try:
        return PublishedModel.model_validate(document)
    except ValidationError as error:
        problems = [
            Problem(f"{fault['msg']}.", ".".join(map(str, fault["loc"])))
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise ArtifactInvalid(
            "The manifest is not that of a published model.",
            where=str(path),
            remedy=_COPY_AGAIN,
            problems=problems,
        ) from error


def _require_digest(path: Path, content: bytes, digest: str | None) -> None:
    found = hashlib.sha256(content).hexdigest()
    if digest is not None and found != digest:
        raise ArtifactInvalid(
            f"The manifest is not the one that was published: its SHA-256 is {found}, and {digest} was asked for.",
            where=str(path),
            remedy=_COPY_AGAIN,
        )


def _unlisted(manifest: PublishedModel) -> list[Problem]:
    """Returns a problem for each file that answers but has no digest to check."""
    listed = {file.path for file in manifest.files}
    needed = (manifest.predictor.model_file, manifest.predictor.codec.tokenizer_file)
    return [Problem("The file is not listed in the manifest.", name) for name in needed if name not in listed]


def _file_problem(folder: Path, file: PublishedFile, *, verify: bool) -> Problem | None:
    path = folder / file.path
    if not path.resolve().is_relative_to(folder.resolve()):
        return Problem("The path leads out of the folder.", file.path)
    if not path.is_file():
        return Problem("The file is missing.", file.path)
    size = path.stat().st_size
    if size != file.bytes:
        return Problem(f"The file has {size} bytes, and the manifest says {file.bytes}.", file.path)
    if verify:
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest != file.sha256:
            return Problem("The file's content was altered: its SHA-256 is another one.", file.path)
    return None
