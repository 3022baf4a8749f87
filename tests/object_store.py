"""A real object store on this machine: MinIO, built from its Go module when it is first asked for."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.binaries import binary
from cluster.progress import ClusterError, Say, say, tail
from pyarrow.fs import S3FileSystem

_READY_SECONDS = 60.0


@dataclass(frozen=True)
class ObjectStore:
    """A running object store.

    Attributes:
        url: Where it answers.
        key: Id of the key that opens it.
        secret: The key itself.
    """

    url: str
    key: str
    secret: str

    def environment(self, prefix: str = "") -> dict[str, str]:
        """Returns the variables that lead to it and open it."""
        found = {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.url,
        }
        return {f"{prefix}{name}": value for name, value in found.items()}

    def put(self, path: str, content: bytes) -> None:
        """Writes an object at `BUCKET/KEY`; the bucket is made where it is missing."""
        bucket = path.partition("/")[0]
        files: Any = S3FileSystem(
            access_key=self.key,
            secret_key=self.secret,
            endpoint_override=self.url.partition("://")[2],
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )
        files.create_dir(bucket)
        with files.open_output_stream(path, compression=None) as stream:  # it would pack a .gz again
            stream.write(content)

    def put_folder(self, folder: Path, path: str) -> None:
        """Writes the files of a folder below `BUCKET/KEY`."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(f"{path}/{file.relative_to(folder).as_posix()}", file.read_bytes())


@contextmanager
def object_store(folder: Path, say: Say = say) -> Iterator[ObjectStore]:
    """Runs an object store while the block runs.

    Args:
        folder: Holds its data and its log.
        say: Gets a line when MinIO has to be built first.

    Raises:
        ClusterError: It cannot be built, or does not come up.
    """
    program = binary("minio", say=say)
    with socket.socket() as api, socket.socket() as console:
        for free in (api, console):
            free.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in (api, console)]
    store = ObjectStore(f"http://{addresses[0]}", secrets.token_hex(8), secrets.token_hex(16))
    log = folder / "minio.log"
    told = {"MINIO_ROOT_USER": store.key, "MINIO_ROOT_PASSWORD": store.secret, "HOME": str(folder)}
    with log.open("w") as out:
        process = subprocess.Popen(
            [
                program,
                "server",
                "--address",
                addresses[0],
                "--console-address",
                addresses[1],
                folder / "data",
            ],
            env=os.environ | told | {"MINIO_BROWSER": "off", "MINIO_UPDATE": "off"},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        try:
            until_ready(store, _READY_SECONDS, alive=lambda: process.poll() is None)
        except TimeoutError:
            raise ClusterError(f"MinIO did not come up:\n{tail(log)}") from None
        yield store
    finally:
        process.terminate()
        process.wait(timeout=30)


def until_ready(store: ObjectStore, seconds: float, *, alive: Callable[[], bool] = lambda: True) -> None:
    """Waits until an object store answers.

    Args:
        store: The object store.
        seconds: How long.
        alive: Whether it may still come to answer.

    Raises:
        TimeoutError: It does not.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(f"{store.url}/minio/health/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if not alive() or time.monotonic() > deadline:
                raise TimeoutError(f"{store.url} does not answer") from None
        time.sleep(0.1)
