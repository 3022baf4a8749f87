"""The ground that charts are drawn on: an SVG element in the making, scales, and round numbers for axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from xml.etree import ElementTree as ET

from markupsafe import Markup

from anneal_trainer.publish.wording import printable, rate

_FINEST_DIGITS = 3
"""Digits after the point of a tick; finer ones are written with an exponent."""

_NO_WIDTH = 1e-9
"""A range below this part of its numbers is rounding, not a range."""


class Scale:
    """Maps numbers to units on the page, linearly."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._start = low, start
        self._factor = (end - start) / (high - low)

    def __call__(self, value: float) -> float:
        """Returns the place of a number."""
        return self._start + (value - self._low) * self._factor


class Canvas:
    """An SVG element in the making. ElementTree escapes every text that is put in.

    Lengths are in units of the view box; `kind` is the class that the style sheet fills or strokes.
    """

    def __init__(self, key: str, title: str, description: str, width: float, height: float) -> None:
        self.root = ET.Element(
            "svg",
            {
                "viewBox": f"0 0 {units(width)} {units(height)}",
                "role": "img",
                "aria-labelledby": f"{key}-title {key}-description",
                "class": "chart",
            },
        )
        for tag, text in (("title", title), ("desc", description)):
            suffix = "title" if tag == "title" else "description"
            ET.SubElement(self.root, tag, {"id": f"{key}-{suffix}"}).text = printable(text)

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """Draws a straight line."""
        ends = {"x1": units(x1), "y1": units(y1), "x2": units(x2), "y2": units(y2)}
        ET.SubElement(self.root, "line", {**ends, "class": kind})

    def rect(self, x: float, y: float, width: float, height: float, kind: str, *, radius: float = 0) -> None:
        """Draws a box; a negative width or height counts as none."""
        box = {"x": x, "y": y, "width": max(width, 0.0), "height": max(height, 0.0), "rx": radius}
        attributes = {name: units(value) for name, value in box.items()}
        ET.SubElement(self.root, "rect", {**attributes, "class": kind})

    def dot(self, x: float, y: float, radius: float, kind: str) -> None:
        """Draws a filled circle."""
        place = {"cx": units(x), "cy": units(y), "r": units(radius)}
        ET.SubElement(self.root, "circle", {**place, "class": kind})

    def path(self, points: Sequence[tuple[float, float]], kind: str) -> None:
        """Draws straight lines from point to point."""
        if points:
            track = "M" + "L".join(f"{units(x)},{units(y)}" for x, y in points)
            ET.SubElement(self.root, "path", {"d": track, "class": kind})

    def text(self, x: float, y: float, text: str, kind: str, *, anchor: str = "start") -> None:
        """Writes a line of text; `anchor` says which end of it is at x."""
        place = {"x": units(x), "y": units(y), "text-anchor": anchor, "class": kind}
        ET.SubElement(self.root, "text", place).text = printable(text)

    def markup(self) -> Markup:
        """Returns the element as text that a page can take in."""
        # The tree is built from escaped parts only, so its text is safe to put into a page.
        return Markup(ET.tostring(self.root, encoding="unicode"))  # noqa: S704


def ticks(low: float, high: float, *, most: int = 6, whole: bool = False) -> list[float]:
    """Returns round numbers that enclose the range, evenly spaced by 1, 2 or 5 times a power of 10.

    Args:
        low: Start of the range.
        high: End of the range, not below its start.
        most: Most intervals between the numbers.
        whole: Whether only whole numbers will do.
    """
    low, high = widened(low, high)
    raw = max((high - low) / (most - 1), 1.0 if whole else 0.0)
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Returns evenly spaced ticks as text, with as many digits as their distance needs."""
    step = values[1] - values[0] if len(values) > 1 else abs(values[0]) if values and values[0] else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    write: Callable[[float], str] = compact if step >= 1 else lambda value: f"{value:.{digits}f}"
    if digits > _FINEST_DIGITS:
        write = lambda value: rate(float(f"{value:.3g}"))  # noqa: E731
    return [write(0.0 if abs(value) < step / 1000 else value) for value in values]


def widened(low: float, high: float, *, share: float = 0.0) -> tuple[float, float]:
    """Returns the range with a margin; a range of no width gets one, so that it can be drawn."""
    size = max(abs(low), abs(high))
    margin = (high - low) * share if high - low > size * _NO_WIDTH else max(size * 0.05, 1e-6)
    return low - margin, high + margin


def compact(value: float) -> str:
    """Returns a number of any size in few signs, for example `12k`."""
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= factor:
            return f"{value / (1e3 if unit == 'k' else factor):g}{unit}"
    return f"{value:g}"


def units(value: float) -> str:
    """Returns a length as the shortest text that is exact to a hundredth of a unit."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
