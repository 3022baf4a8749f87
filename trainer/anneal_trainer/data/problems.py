"""Collects what is wrong with data, so that a person sees it all at once and not one thing a run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from anneal_api.errors import DataInvalid, Problem

MOST_SHOWN = 20
"""Problems that are spelled out; further ones are counted."""


class ProblemLog:
    """Keeps the first problems and counts the rest."""

    def __init__(self) -> None:
        self._shown: list[Problem] = []
        self.count = 0

    def add(self, problem: Problem) -> None:
        """Notes a problem."""
        self.count += 1
        if len(self._shown) < MOST_SHOWN:
            self._shown.append(problem)

    def absorb(self, error: DataInvalid) -> None:
        """Notes every problem of an error, or the error itself where it is a single one."""
        for problem in error.problems or (Problem(error.what, error.where, error.remedy),):
            self.add(problem)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems that are spelled out, and a last one that counts the others."""
        left_out = self.count - len(self._shown)
        if not left_out:
            return tuple(self._shown)
        return (
            *self._shown,
            Problem(f"{left_out} more {'problem' if left_out == 1 else 'problems'} of this kind."),
        )

    def raise_any(self, what: str, *, where: str = "") -> None:
        """Raises all problems as one error; does nothing where there are none.

        Args:
            what: Sums the problems up, one sentence.
            where: The place that they share.

        Raises:
            DataInvalid: There are problems.
        """
        if self.count:
            raise DataInvalid(what, where=where, problems=self.problems)


def listed(names: Iterable[str], *, most: int = 12) -> str:
    """Returns names in quotes, separated by commas; the ones beyond `most` are counted."""
    quoted = [f"'{name}'" for name in names]
    if len(quoted) > most:
        return ", ".join(quoted[:most]) + f" and {len(quoted) - most} more"
    return ", ".join(quoted)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns the known name that is most like a name, or nothing where none is."""
    by_folded = {known_name.strip().casefold(): known_name for known_name in known}
    found = difflib.get_close_matches(name.strip().casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else ""
