"""Gives back to children what makes them a job's: somebody took their labels or their owner."""

from __future__ import annotations

import logging
from typing import Any

from anneal_operator.cluster.client import Client
from anneal_operator.cluster.errors import Conflict, NotFound
from anneal_operator.cluster.kinds import kind_named
from anneal_operator.cluster.packed import controller_of
from anneal_operator.controller.job_view import JobView
from anneal_operator.plan.confirmation import ref_of
from anneal_operator.resources.names import labels
from anneal_operator.resources.ownership import owner_reference

_LOG = logging.getLogger(__name__)


async def claim_children(client: Client, view: JobView) -> bool:
    """Gives children their labels and owner back, and returns whether any lacked them.

    Args:
        client: The API server.
        view: What is seen of the job.

    Raises:
        Conflict: A child has changed since it was seen.
        ApiError: It cannot be written.
    """
    meta = view.job["metadata"]
    if "deletionTimestamp" in meta:
        return False
    ours = labels(meta["name"], meta["uid"])
    changed = False
    for child in list(view.children.values()):
        there = child["metadata"].get("labels") or {}
        missing = {label: value for label, value in ours.items() if there.get(label) != value}
        owned = controller_of(child)[2] == meta["uid"]
        if owned and not missing:
            continue
        fix: dict[str, Any] = {"resourceVersion": child["metadata"]["resourceVersion"], "labels": missing}
        if not owned:
            fix["ownerReferences"] = [
                *(child["metadata"].get("ownerReferences") or ()),
                owner_reference(view.job),
            ]
        kind, name = ref_of(child)
        try:
            now = await client.merge(kind_named(kind), meta["namespace"], name, {"metadata": fix})
        except (Conflict, NotFound):
            # The cache is behind, and would be so at the next look too if the event is lost.
            await view.get_live([(kind, name)])
            raise
        view.record(now)
        _LOG.info("gave %s %s its labels and owner back", kind, name)
        changed = True
    return changed
