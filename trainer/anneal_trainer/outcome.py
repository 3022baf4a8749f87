"""What a run came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anneal_api.report import RunReport


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        report: Everything it found out.
        published: Folder of the published version; None where the gate let nothing through.
        report_page: The report as a page.
    """

    report: RunReport
    published: Path | None
    report_page: Path
