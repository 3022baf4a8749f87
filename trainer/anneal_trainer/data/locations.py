"""Turns a `uri` of the manifest that means something on this machine into a path."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from anneal_api.uris import CONFIG_MAP_FILE, LocationError

CLAIMS_ROOT_VARIABLE = "ANNEAL_PVC_ROOT"
"""Environment variable with the folder below which a pod's claims are mounted, each under its name."""

CONFIG_MAPS_ROOT_VARIABLE = "ANNEAL_CONFIGMAP_ROOT"
"""Environment variable with the folder below which a pod's ConfigMaps with data are mounted, each under its name."""

_CLAIMS_ROOT = "/mnt/pvc"
_CONFIG_MAPS_ROOT = "/mnt/configmap"
_CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


def scheme_of(uri: str) -> str:
    """Returns the part before `://` in lower case; empty for a plain path or a hub id."""
    match = _SCHEME.match(uri)
    return match.group(1).lower() if match else ""


def local_path(uri: str, *, base_folder: Path) -> Path:
    """Returns the path that a plain path or a uri stands for. It may not exist.

    Args:
        uri: A path, `file:///ABSOLUTE/PATH`, `pkg://PACKAGE/PATH`, or, in a pod, `pvc://CLAIM/PATH` or
            `configmap://NAME/FILE`.
        base_folder: Folder that relative paths start from: the manifest's.

    Raises:
        LocationError: The uri is malformed, of another scheme, its package is not installed, or its claim or
            ConfigMap is not mounted.
    """
    match scheme_of(uri):
        case "":
            return base_folder / _in_home(uri)
        case "file":
            return _file_path(uri)
        case "pkg":
            return _package_path(uri)
        case "pvc":
            return _claim_path(uri)
        case "configmap":
            return _config_map_path(uri)
        case scheme:
            raise LocationError(
                f"'{uri}' cannot be read: {scheme}:// is not supported here.",
                "Use a path, file://, pkg:// or s3://.",
            )


def is_folder(path: Path) -> bool:
    """Returns whether a path is a folder; one that cannot even be looked up is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def start_of_relative_paths(uri: str) -> str:
    """Returns a sentence about where the path in a uri starts, for messages about one that leads nowhere."""
    if scheme_of(uri) == "pvc":
        return f"The path starts at the root of the claim '{_claim_and_path(uri)[0]}'."
    if scheme_of(uri) == "configmap":
        return "The files of a ConfigMap are its keys."
    return "Relative paths start from the manifest's folder."


def package_of(uri: str) -> str:
    """Returns the import name in a `pkg://PACKAGE/PATH` uri."""
    return uri.partition("://")[2].partition("/")[0]


def _in_home(uri: str) -> Path:
    try:
        return Path(uri).expanduser()
    except RuntimeError as error:
        raise LocationError(
            f"'{uri}' begins with a home folder that is not there.",
            "Write the path out, or put ./ before a name that begins with ~.",
        ) from error


def _file_path(uri: str) -> Path:
    parts = urlsplit(uri)
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
        raise LocationError(
            f"'{uri}' is not an absolute file:// address.",
            "Write file:///absolute/path, with three slashes, or a plain path for one beside the manifest.",
        )
    return Path(unquote(uri.partition("://")[2].removeprefix("localhost")))


def _package_path(uri: str) -> Path:
    package = package_of(uri)
    inside = uri.partition("://")[2].partition("/")[2]
    # A dotted name would import the parent; a top-level name is only looked up.
    if not package.isidentifier():
        raise LocationError(
            f"'{uri}' does not name a package.",
            "Write pkg://PACKAGE/PATH with the name that Python imports, for example pkg://my_models/bert.",
        )
    if ".." in Path(inside).parts:
        raise LocationError(f"'{uri}' leads out of its package.", "Leave '..' out of the path.")
    spec = importlib.util.find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        dashed = package.replace("_", "-")
        raise LocationError(
            f"The Python package '{package}' is not installed.",
            f"Install it into the environment that runs anneal, for example with pip install {dashed}.",
        )
    candidates = [Path(folder) / inside for folder in folders]
    return next((path for path in candidates if path.exists()), candidates[0])


def _claim_and_path(uri: str) -> tuple[str, str]:
    claim, _, inside = uri.partition("://")[2].partition("/")
    return claim, inside.strip("/")


def _claim_path(uri: str) -> Path:
    claim, inside = _claim_and_path(uri)
    if not _CLAIM.fullmatch(claim):
        raise LocationError(
            f"'{uri}' does not name a PersistentVolumeClaim.",
            "Write pvc://CLAIM/PATH; a claim's name has lower-case letters, digits and dashes.",
        )
    if ".." in Path(inside).parts:
        raise LocationError(f"'{uri}' leads out of its claim.", "Leave '..' out of the path.")
    folder = Path(os.environ.get(CLAIMS_ROOT_VARIABLE, _CLAIMS_ROOT)) / claim
    if not is_folder(folder):
        raise LocationError(
            f"The PersistentVolumeClaim '{claim}' is not mounted here (at {folder}).",
            "A claim can be read in the pods of a job on a cluster, and only one that the job's manifest names.",
        )
    return folder / inside


def _config_map_path(uri: str) -> Path:
    if not re.search(CONFIG_MAP_FILE, uri):
        raise LocationError(
            f"'{uri}' names no file in a ConfigMap.",
            "Write configmap://NAME/FILE; a ConfigMap has no folders, and its keys are its files.",
        )
    name, _, key = uri.partition("://")[2].partition("/")
    folder = Path(os.environ.get(CONFIG_MAPS_ROOT_VARIABLE, _CONFIG_MAPS_ROOT)) / name
    if not is_folder(folder):
        raise LocationError(
            f"The ConfigMap '{name}' is not mounted here (at {folder}).",
            "A ConfigMap can be read in the pods of a job on a cluster, and only one that the job's manifest names.",
        )
    return folder / key
