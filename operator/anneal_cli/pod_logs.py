"""The lines of pods' logs: one pod's to its end, across broken connections, and those of several at once."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from anneal_cli.cluster_reader import ClusterReader
from anneal_cli.job_pods import Source, has_ended
from anneal_operator.cluster.errors import ApiError, Invalid, NotFound, Transient, Unauthorized
from anneal_operator.cluster.kinds import POD

_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 15.0
_MOST_FAILURES = 20
_LOOK_SECONDS = 10.0


def followed(
    reader: ClusterReader, source: Source, *, tail: int | None, sleep: Callable[[float], None] = time.sleep
) -> Iterator[bytes]:
    """Yields the lines of a container's log as they are written, until it ends or its pod is gone.

    Every line is asked for with its time, so that after a broken connection the log goes on with the line that
    follows the last one.

    Args:
        reader: Reads from the cluster.
        source: The container.
        tail: Begin with so many of the last lines; None: with the first.
        sleep: Waits.

    Raises:
        ApiError: The log cannot be read.
    """
    namespace, pod = source.pod["metadata"]["namespace"], source.name
    last, failures = b"", 0
    while True:
        try:
            lines = reader.log(
                namespace,
                pod,
                source.container,
                follow=True,
                tail=None if last else tail,
                since=last.decode(errors="replace"),
                timestamps=True,
            )
            for line in lines:
                failures = 0
                written, _, text = line.partition(b" ")
                if written > last:
                    last = written
                    yield text
            now = Source(reader.get(POD, namespace, pod), source.container)
            if now.uid != source.uid or has_ended(now):
                return
        except NotFound as error:
            if is_there(reader, source):
                raise ApiError(f"the node of {source.name} is gone", request=error.request) from error
            return
        except ApiError as error:
            # A container that is only about to start, or to start again, makes the request invalid.
            passing = isinstance(error, Transient | Invalid) and not isinstance(error, Unauthorized)
            if not passing or failures >= _MOST_FAILURES:
                raise
        failures += 1
        sleep(min(_PAUSE_SECONDS * failures, _LONGEST_PAUSE_SECONDS))


def is_there(reader: ClusterReader, source: Source) -> bool:
    """Returns whether a pod exists: that a log is not found may also mean that the pod's node is gone."""
    try:
        reader.get(POD, source.pod["metadata"]["namespace"], source.name)
    except NotFound:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Line:
    """A line of one of several logs.

    Attributes:
        pod: Name of the pod.
        text: The line, with its end.
    """

    pod: str
    text: bytes


def followed_together(
    reader: ClusterReader,
    look: Callable[[], Sequence[Source]],
    *,
    tail: int | None,
    began: Callable[[Source], None],
) -> Iterator[Line]:
    """Yields the lines of several containers as they are written, also of such that come later. It does not end.

    Args:
        reader: Reads from the cluster.
        look: Returns the containers as they are now.
        tail: Begin each log with so many of its last lines; None: with the first.
        began: Told of each container whose log begins.

    Raises:
        ApiError: A log, or the pods, cannot be read.
    """
    lines: queue.Queue[Line | ApiError] = queue.Queue(maxsize=10_000)
    known: set[str] = set()

    def follow(source: Source) -> None:
        try:
            for text in followed(reader, source, tail=tail):
                lines.put(Line(source.name, text))
        except ApiError as error:
            lines.put(error)

    next_look = 0.0
    while True:
        if time.monotonic() >= next_look:
            for source in look():
                if source.uid not in known:
                    known.add(source.uid)
                    began(source)
                    # A daemon: Ctrl-C must not wait for it.
                    threading.Thread(target=follow, args=(source,), daemon=True).start()
            next_look = time.monotonic() + _LOOK_SECONDS
        try:
            found = lines.get(timeout=max(next_look - time.monotonic(), 0.01))
        except queue.Empty:
            continue
        if isinstance(found, ApiError):
            raise found
        yield found
