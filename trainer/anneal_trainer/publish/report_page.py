"""The run's report as one HTML file that needs nothing else: no script, no font, no request.

What the page shows is worked out here and in the modules that are imported; how it looks is in `templates/`,
which escape every text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from anneal_api.report import ClassScore, RunReport, VariantReport
from anneal_trainer.publish import charts, wording
from anneal_trainer.publish.figures import baseline_charts, gate_lines, learning_curves, reliability
from anneal_trainer.publish.verdict import banner, catalogue, headlines

TEMPLATES = Path(__file__).parent / "templates"

MATRIX_LABELS = 40
"""Most labels of a drawn confusion matrix; of more, those with the most wrong rows are drawn."""
_CONFUSED_PAIRS = 12
_STRONG_FILL = 0.6
_TEXT_LIMIT = 320
_LABEL_LIMIT = 48


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the confusion matrix."""

    rows: int
    share: float
    right: bool

    @property
    def strength(self) -> str:
        """How strongly the cell is filled, 0 to 1. Errors are rare: drawn stronger than their share."""
        return f"{self.share if self.right else math.sqrt(self.share):.3f}"

    @property
    def dark(self) -> bool:
        """Whether the fill is so strong that its text has to change color."""
        return float(self.strength) > _STRONG_FILL


@dataclass(frozen=True, slots=True)
class Confused:
    """A label that was taken for another."""

    expected: str
    predicted: str
    rows: int
    share: float


def render_report(report: RunReport) -> str:
    """Returns the report page.

    Args:
        report: What the run found out.

    Returns:
        One HTML document. The same report gives the same text, byte for byte.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    environment.filters |= wording.FILTERS | {
        "cut": lambda text: wording.shortened(wording.printable(text), _TEXT_LIMIT),
        "tag": lambda text: wording.shortened(wording.printable(text), _LABEL_LIMIT),
        "width": _width,
        "lines": _lines,
    }
    leading = report.gate.leading_metric
    return environment.get_template("report.html").render(
        report=report,
        leading=leading,
        leading_title=wording.metric_title(leading),
        catalogue=catalogue(report),
        banner=banner(report),
        headlines=headlines(report),
        gate_lines=gate_lines(report),
        variants=report.variants,
        widest=_widest(report.variants),
        baseline_charts=baseline_charts(report),
        curves=learning_curves(report),
        labels=_matrix_labels(report),
        matrix=confusion_cells(report),
        confused=most_confused(report),
        classes=worst_first(report.test.per_class),
        reliability=reliability(report),
        reliability_text=charts.describe_calibration(report.test.calibration),
        text_limit=_TEXT_LIMIT,
        label_limit=_LABEL_LIMIT,
        private=bool(report.test.worst) and not any(wrong.text.strip() for wrong in report.test.worst),
        stage_seconds=sum(stage.seconds for stage in report.stages if not stage.reused),
    )


def confusion_cells(report: RunReport) -> list[tuple[str, list[Cell], int]]:
    """Returns the drawn rows of the confusion matrix: right label, its cells, and its rows in all."""
    chosen = _matrix_indices(report)
    labels, confusion = report.data.labels, report.test.confusion
    drawn = []
    for expected in chosen:
        total = sum(confusion[expected])
        cells = [
            Cell(confusion[expected][each], confusion[expected][each] / max(total, 1), each == expected)
            for each in chosen
        ]
        drawn.append((labels[expected], cells, total))
    return drawn


def most_confused(report: RunReport) -> list[Confused]:
    """Returns the pairs of labels that are mixed up most often, most rows first."""
    labels = report.data.labels
    pairs = [
        Confused(labels[row], labels[column], rows, rows / max(sum(counts), 1))
        for row, counts in enumerate(report.test.confusion)
        for column, rows in enumerate(counts)
        if row != column and rows > 0
    ]
    return sorted(pairs, key=lambda pair: (-pair.rows, -pair.share))[:_CONFUSED_PAIRS]


def worst_first(classes: Sequence[ClassScore]) -> list[ClassScore]:
    """Returns the labels with the lowest F1 first."""
    return sorted(classes, key=lambda each: each.f1)


def _finalized(value: object) -> object:
    return wording.printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _lines(text: str) -> Markup:
    """Keeps line breaks and indents, which `_finalized` would fold."""
    return escape("\n".join(wording.printable_line(line) for line in text.splitlines()))


def _widest(variants: Sequence[VariantReport]) -> dict[str, float]:
    return {
        "bytes": max((each.bytes for each in variants), default=1),
        "latency": max((each.latency_ms_p95 for each in variants), default=1.0),
    }


def _width(value: float, of: float) -> str:
    return f"{100 * min(max(value / of, 0.0), 1.0):.1f}%" if of > 0 and math.isfinite(value) else "0%"


def _matrix_indices(report: RunReport) -> list[int]:
    confusion = report.test.confusion
    if len(confusion) <= MATRIX_LABELS:
        return list(range(len(confusion)))
    wrong = [sum(row) - row[index] for index, row in enumerate(confusion)]
    return sorted(sorted(range(len(confusion)), key=lambda index: -wrong[index])[:MATRIX_LABELS])


def _matrix_labels(report: RunReport) -> list[str]:
    return [report.data.labels[index] for index in _matrix_indices(report)]
