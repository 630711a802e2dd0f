"""Charts of report.html: numbers -> coordinates. The template draws them as SVG.

A library that draws is not in the image: matplotlib and what it needs are larger than the rest of it together.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

WIDTH, HEIGHT = 560, 180
"""Size of the area of a chart that holds its data, in user units of SVG."""
MOST_DOTS = 120
"""Points of a line that are marked, and show their values when a pointer is over them."""


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    place: float
    """Distance from the left or the top edge."""
    label: str


@dataclass(frozen=True)
class Dot:
    """A marked point."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """One curve."""

    name: str
    path: str
    """The attribute `points` of an SVG polyline."""
    dots: tuple[Dot, ...]
    last: str
    """The last value."""


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram."""

    x: float
    width: float
    height: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart with axes."""

    title: str
    x_name: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    marked: float | None = None
    """Place on the x axis with a vertical line."""


def line_chart(
    title: str, curves: Mapping[str, Sequence[tuple[int, float]]], *, marked: int | None = None
) -> Chart | None:
    """Return the chart of curves by epoch, or None when no curve has a point. Infinite values are left out."""
    found = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in curves.items() if points}
    everything = [point for points in found.values() for point in points]
    if not everything:
        return None
    first, last = min(x for x, _ in everything), max(x for x, _ in everything)
    y_ticks = _round_values(0.0, max(y for _, y in everything))
    top = max(y_ticks[-1], *(y for _, y in everything)) or 1.0
    across = max(last - first, 1)

    def x_of(x: float) -> float:
        return round((x - first) / across * WIDTH, 1)

    def y_of(y: float) -> float:
        return round(HEIGHT - max(y, 0.0) / top * HEIGHT, 1)

    lines = tuple(
        Line(
            name,
            " ".join(f"{x},{y}" for x, y in _outline([(x_of(x), y_of(y)) for x, y in points])),
            tuple(Dot(x_of(x), y_of(y), f"epoch {x}: {y:.4g}") for x, y in points[:: 1 + len(points) // MOST_DOTS]),
            f"{points[-1][1]:.4g}",
        )
        for name, points in found.items()
        if points
    )
    whole = [value for value in _round_values(float(first), float(last)) if value.is_integer()]
    return Chart(
        title,
        "epoch",
        tuple(Tick(x_of(value), f"{value:g}") for value in whole if first <= value <= last),
        tuple(Tick(y_of(value), f"{value:g}") for value in y_ticks),
        lines=lines,
        marked=None if marked is None or not first <= marked <= last else x_of(marked),
    )


def _outline(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points of a line without those that it hides: of more than four in one column of the chart, the first,
    the lowest, the highest and the last are left.
    """
    kept: list[tuple[float, float]] = []
    for _, column in groupby(points, key=lambda point: int(point[0])):
        found = list(column)
        if len(found) > 4:
            inner = sorted(range(1, len(found) - 1), key=lambda place: found[place][1])
            found = [found[place] for place in (0, *sorted((inner[0], inner[-1])), len(found) - 1)]
        kept += found
    return kept


def histogram(title: str, seconds: Sequence[float]) -> Chart | None:
    """Return the chart of how many clips have which length, or None without clips."""
    if not seconds:
        return None
    step = _round_step(max(seconds), 24)
    counts = Counter(int(length / step) for length in seconds)
    bins = max(counts) + 1
    y_ticks = [value for value in _round_values(0.0, float(max(counts.values()))) if value.is_integer()]
    top = max(y_ticks[-1], *counts.values())
    width = WIDTH / bins
    edges = range(0, bins + 1, 1 + bins // 12)
    return Chart(
        title,
        "seconds",
        tuple(Tick(round(edge * width, 1), f"{edge * step:g}") for edge in edges),
        tuple(Tick(round(HEIGHT - value / top * HEIGHT, 1), f"{value:g}") for value in y_ticks),
        bars=tuple(
            Bar(
                round(place * width + 1, 1),
                round(width - 2, 1),
                round(count / top * HEIGHT, 1),
                f"{place * step:g} to {(place + 1) * step:g} s: {count} clip{'' if count == 1 else 's'}",
            )
            for place, count in sorted(counts.items())
        ),
    )


_LEAST_SPAN = 1e-9
"""Span below which an axis has one value: values are rounded to ten digits."""


def _round_values(low: float, high: float) -> list[float]:
    """Return up to 7 round values from `low` or the one below it, the last at most `high` unless that is `low`."""
    step = _round_step(high - low, 6)
    first = math.floor(low / step + 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)] or [low]


def _round_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten of which at most `most` fit into `span`."""
    if span < _LEAST_SPAN:
        return 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(step for factor in (1, 2, 5, 10, 20) if span / (step := factor * power) <= most)
