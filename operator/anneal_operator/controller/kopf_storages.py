"""Where kopf keeps what it remembers of objects: nowhere.

It asks for it with every event, whether a handler needs it or not, and its own storages answer with several deep copies
of the object: 40 % of the operator's processor time when it was measured. Its memories of daemons, indices and errors
are 1 KB for every object that it ever heard of. `on.event` handlers need none of it.
"""

from __future__ import annotations

from typing import Any

import kopf

# Not exported, though it is what a public parameter of `kopf.spawn_tasks` takes.
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory


class NoDiffBase(kopf.DiffBaseStorage):
    """Remembers no earlier state of an object, so that nothing is ever compared."""

    def build(self, **_: object) -> kopf.BodyEssence:
        """Returns nothing worth comparing."""
        return kopf.BodyEssence()

    def fetch(self, **_: object) -> None:
        """Returns no earlier state."""

    def store(self, **_: object) -> None:
        """Keeps nothing."""


class NoProgress(kopf.ProgressStorage):
    """Remembers no progress of handlers: these have none."""

    def fetch(self, **_: object) -> None:
        """Returns no progress."""

    def store(self, **_: object) -> None:
        """Keeps nothing."""

    def purge(self, **_: object) -> None:
        """Has nothing to forget."""

    def touch(self, **_: object) -> None:
        """Leaves no mark on an object."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Returns what is worth comparing, which holds nothing of ours."""
        return essence


class NoMemories(ResourceMemories):
    """Remembers nothing of an object from one event to the next."""

    async def recall(self, *arguments: Any, **options: Any) -> ResourceMemory:  # noqa: ANN401  # as kopf asks
        """Returns the memory of an object that is heard of for the first time."""
        return await super().recall(*arguments, **{**options, "ephemeral": True})
