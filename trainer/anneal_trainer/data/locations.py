"""Turns a `uri` of the manifest that means something on this machine into a path."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SCHEME = re.compile(r"^([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


class LocationError(ValueError):
    """A `uri` does not lead anywhere on this machine.

    Args:
        what: What is wrong, one sentence.
        remedy: What to do about it, one sentence.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def scheme_of(uri: str) -> str:
    """Returns the part before `://` in lower case; empty for a plain path or a hub id."""
    match = _SCHEME.match(uri)
    return match.group(1).lower() if match else ""


def local_path(uri: str, *, base_folder: Path) -> Path:
    """Returns the path that a plain path, `file://` or `pkg://` uri stands for. It may not exist.

    Args:
        uri: A path, `file:///ABSOLUTE/PATH` or `pkg://PACKAGE/PATH`.
        base_folder: Folder that relative paths start from: the manifest's.

    Raises:
        LocationError: The uri is malformed, of another scheme, or its package is not installed.
    """
    match scheme_of(uri):
        case "":
            return base_folder / Path(uri).expanduser()
        case "file":
            return _file_path(uri)
        case "pkg":
            return _package_path(uri)
        case scheme:
            raise LocationError(
                f"'{uri}' cannot be read: {scheme}:// is not supported here.",
                "Use a path, file:// or pkg://.",
            )


def is_folder(path: Path) -> bool:
    """Returns whether a path is a folder; one that cannot even be looked up is none."""
    try:
        return path.is_dir()
    except OSError:
        return False


def package_of(uri: str) -> str:
    """Returns the import name in a `pkg://PACKAGE/PATH` uri."""
    return uri.partition("://")[2].partition("/")[0]


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
