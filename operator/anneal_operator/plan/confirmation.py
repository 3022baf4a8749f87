"""No verdict on an old view: what rests on an absence, or on how old something is, is looked at live first.

What the operator has cached arrives on streams that break and reconnect one by one, so a report may be minutes behind
the Job whose pod wrote it. Where the plan would give up an attempt, a version, a pod or a cluster because something is
missing, silent or late, it asks for a live look instead; the reconciler takes it and plans again.
"""

from __future__ import annotations

from anneal_operator.plan.observed import Object, Observed


class Unconfirmed(Exception):
    """A verdict rests on what nobody has looked at live.

    Args:
        places: Kind and name of each object to look at.
    """

    def __init__(self, places: tuple[tuple[str, str], ...]) -> None:
        super().__init__(", ".join(f"{kind}/{name}" for kind, name in places))
        self.places = places


def require_live(observed: Observed, *places: tuple[str, str]) -> None:
    """Lets a verdict be reached on what was seen live in this very look, and on nothing else.

    Args:
        observed: What is known.
        places: Kind and name of each object that the verdict rests on, whether it is there or not.

    Raises:
        Unconfirmed: Some were not looked at.
    """
    unseen = tuple(place for place in dict.fromkeys(places) if place not in observed.confirmed)
    if unseen:
        raise Unconfirmed(unseen)


def ref_of(body: Object) -> tuple[str, str]:
    """Returns kind and name of an object."""
    return body["kind"], body["metadata"]["name"]
