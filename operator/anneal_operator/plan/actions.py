"""What the operator can decide to do. The reconcile loop carries it out; nothing else writes to the cluster.

Order matters: the status is written first, so that an attempt is on record before anything of it exists; then the
actions, one by one, until one fails. Every action may be repeated, for the operator may die between any two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anneal_api.status import FineTuneJobStatus, StatusReason


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object that is not there; with a run, its existence is a lock. That it is there and ours is success.

    Attributes:
        body: The whole object.
    """

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Apply:
    """Make an object be so (server-side apply with force): what it should look like, not what to change.

    Attributes:
        body: The whole intent.
    """

    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object, if it still is the one that was seen.

    Attributes:
        kind: Its kind.
        name: Its name.
        uid: Its UID; a newer object of the same name stays.
    """

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class SetFinalizer:
    """Hold the job's deletion until its store is cleaned up, or let it go.

    Attributes:
        present: Whether the finalizer should be there.
    """

    present: bool


Action = Create | Apply | Delete | SetFinalizer


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event on the job: a transition, in plain words.

    Attributes:
        warning: Whether something went wrong.
        reason: One word.
        message: What happened.
    """

    warning: bool
    reason: StatusReason
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do now.

    Attributes:
        status: What has become of the job; None: the job is going, write none.
        actions: What to do after the status is written, in order.
        events: Events to post.
        requeue_after: Seconds until the job must be looked at again, where time alone changes something.
        confirm: Kind and name of what must be looked at live before anything can be decided; the rest is empty then.
    """

    status: FineTuneJobStatus | None
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: float | None = None
    confirm: tuple[tuple[str, str], ...] = ()
