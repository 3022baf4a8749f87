"""How times, sizes and other people's words are written for a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from anneal_operator.plan.timestamps import parse_time
from anneal_trainer.publish.wording import duration

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000.0


def span(seconds: float) -> str:
    """Returns a length of time with its two largest units, for example `3 min 10 s` or `2 h 05 min`."""
    whole = round(seconds)
    if whole < _DAY:
        return duration(max(seconds, 0.0))
    return f"{whole // _DAY} d {whole % _DAY // _HOUR} h"


def age(seconds: float) -> str:
    """Returns how old something is in its largest unit, for example `12 min`."""
    whole = max(int(seconds), 0)
    for length, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if whole >= 2 * length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def size(count: float) -> str:
    """Returns a number of bytes, for example `23.0 MB`."""
    unit = 0
    while count >= _STEP and unit < len(_UNITS) - 1:
        count /= _STEP
        unit += 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{int(count)} B"


def printable(text: str, *, one_line: bool = False) -> str:
    """Returns words from the cluster as they may stand on a terminal, which they must not be able to steer.

    Args:
        text: The words.
        one_line: Put several lines into one.
    """
    lines = [
        "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in line.replace("\t", " "))
        for line in text.splitlines()
    ]
    return (" ".join if one_line else "\n".join)(lines)


@dataclass(frozen=True, slots=True)
class Times:
    """How moments are written: by their age for people who look now, else as they are.

    Attributes:
        now: The time; None: moments are written as they are, so that output can be kept and compared.
    """

    now: datetime | None = None

    def ago(self, moment: str | None) -> str:
        """Returns when something was, for example `12 min ago`."""
        found = parse_time(moment)
        if self.now is None or found is None:
            return printable(moment or "-", one_line=True)
        return f"{age((self.now - found).total_seconds())} ago"

    def age(self, moment: str | None) -> str:
        """Returns how old something is, for example `12 min`."""
        return self.ago(moment).removesuffix(" ago")

    def since(self, moment: str | None) -> str:
        """Returns for how long something has been so, for example `for 12 min`."""
        return f"since {self.ago(moment)}" if self.now is None else f"for {self.age(moment)}"

    def until(self, moment: str | None) -> str:
        """Returns when something will be, for example `in 30 s`."""
        found = parse_time(moment)
        if self.now is None or found is None:
            return f"at {printable(moment or '-', one_line=True)}"
        return f"in {age((found - self.now).total_seconds())}"
