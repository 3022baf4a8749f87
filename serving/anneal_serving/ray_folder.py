"""The folder of Ray's sockets and logs, known without Ray: it is tried out long before Ray is needed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from anneal_api.errors import ResourceUnavailable
from anneal_serving.writable_folder import require_writable

_VARIABLE = "RAY_TMPDIR"
_SHORT = Path("/tmp")  # noqa: S108  Ray makes a folder in it that nobody else may write
# A socket's path has 107 bytes at most, and Ray adds these: a session's name has a time and a process number.
_LONGEST = 107 - len("/ray/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store")


def ray_folder(environment: Mapping[str, str]) -> Path:
    """Returns Ray's folder, which can be written: below RAY_TMPDIR, else below the folder for temporary files.

    Where the latter's path is too long for Ray's sockets, `/tmp` takes its place.

    Args:
        environment: Environment variables.

    Raises:
        ResourceUnavailable: The folder cannot be written, or RAY_TMPDIR is too long.
    """
    asked = environment.get(_VARIABLE, "")
    if asked:
        parent = Path(asked).absolute()
        if _too_long(parent):
            raise ResourceUnavailable(
                f"The path is too long for Ray's sockets: at most {_LONGEST} bytes fit.",
                where=f"{_VARIABLE}: {parent}",
                remedy=f"Set {_VARIABLE} to a folder with a shorter path, for example {_SHORT}.",
            )
    else:
        parent = Path(tempfile.gettempdir()).absolute()
        if _too_long(parent):
            parent = _SHORT
    require_writable(parent, setting=_VARIABLE, what="folder of Ray's sockets and logs")
    return parent / "ray"


def _too_long(folder: Path) -> bool:
    return len(str(folder).encode()) > _LONGEST
