"""`anneal serve`: answers HTTP requests with a published model, on Ray Serve."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.text import Text

from anneal_api.errors import ExitCode, ResourceUnavailable
from anneal_api.spec.serving import Serving
from anneal_serving.signal_handlers import ENDING

_LONGEST_STOP = 9.0
"""Seconds; after ten, `docker stop` kills what is still there."""


def serve_until_stopped(
    folder: Path, serving: Serving | None, *, host: str, port: int, console: Console
) -> ExitCode:
    """Serves a published model until Ctrl-C or SIGTERM.

    Args:
        folder: A version's folder, or a job's: then its newest version.
        serving: Replicas and CPUs; None: what the model's own manifest says.
        host: Address to serve on.
        port: Port to serve on.
        console: Where to say so.

    Raises:
        ArtifactInvalid: The folder holds no whole published model.
        ResourceUnavailable: The port is taken, or the server did not come up.
    """
    from anneal_serving.artifact import Artifact, latest_version

    artifact = Artifact.open(latest_version(folder))
    require_free_port(host, port)
    asked = serving or Serving.model_validate(artifact.manifest.spec.get("serving") or {})
    with console.status(f"Starting Ray Serve for {artifact.version}..."):
        from anneal_serving.deployment import serve_artifact

        running = serve_artifact(artifact.folder, host=host, port=port, serving=asked)
    with _until_stopped() as stopped, running:
        _say_where(running.url, running.version, console)
        stopped.wait()
    return ExitCode.OK


def require_free_port(host: str, port: int) -> None:
    """Makes sure that a port can be served on, before hours of training and not after.

    Raises:
        ResourceUnavailable: Something else listens on it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ResourceUnavailable(
                f"Port {port} on {host} cannot be used: {error.strerror}.",
                where=f"{host}:{port}",
                remedy="Choose another with --port.",
            ) from error


@contextmanager
def _until_stopped() -> Iterator[threading.Event]:
    """Gives an event that Ctrl-C and SIGTERM set, and the end of the terminal.

    The requests in work have a while to finish. Where the signal went to Ray's processes too, these answer no more.
    """
    stopped = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        if not stopped.is_set():
            stopped.set()
            threading.Thread(target=end_at_last, name="end-at-last", daemon=True).start()

    def end_at_last() -> None:
        time.sleep(_LONGEST_STOP)
        os._exit(ExitCode.OK)  # Ray's processes end with this one, by themselves

    # What the process was started to ignore, as by `nohup`, stays ignored.
    heard = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_where(url: str, version: str, console: Console) -> None:
    console.print(Text.assemble(("Serving   ", "bold green"), f"{version} at ", (url, "bold underline")))
    console.print(
        f"""
  the playground   {url}/
  the API's pages  {url}/docs
  from a program   curl -s {url}/predict -H 'content-type: application/json' -d '{{"text": "a joy to watch"}}'

Ctrl-C stops it.""",
        highlight=False,
        markup=False,
        soft_wrap=True,  # a command that is cut in two cannot be copied
    )
