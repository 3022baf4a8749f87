"""Points in time as Kubernetes writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def format_time(moment: datetime) -> str:
    """Returns a moment as RFC 3339 in UTC, in whole seconds, as Kubernetes' own times are."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: object) -> datetime | None:
    """Returns the moment that a text stands for, aware; None where it stands for none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
        # Shifting a time near the ends of the calendar into UTC can leave it.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def latest(*moments: datetime | None) -> datetime | None:
    """Returns the latest of the moments that are known; None where none is."""
    return max((moment for moment in moments if moment is not None), default=None)


def after(moment: datetime, seconds: float) -> datetime:
    """Returns the moment so many seconds after another; the end of the calendar where that is too far away."""
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
