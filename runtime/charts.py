"""Line charts as figures for a template that draws them as SVG: what lies where, in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

_TICKS = 5
_MARKED = 40  # points of a line at most that has a mark at each


class Line(NamedTuple):
    """A line to draw: its name, points ``(x, y)`` in the order of x, and a name for its style."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str


class DrawnLine(NamedTuple):
    """A line in pixels: ``points`` as SVG writes them, ``marks`` as (x, y, what they stand for)."""

    name: str
    style: str
    points: str
    marks: list[tuple[float, float, str]]


class Chart(NamedTuple):
    """A chart of ``width`` by ``height`` pixels whose axes enclose the box (left, top, right, bottom).

    Ticks are pixels along their axis and what is written there.
    """

    width: int
    height: int
    box: tuple[float, float, float, float]
    lines: list[DrawnLine]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    x_label: str
    y_label: str


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    width: int = 480,
    height: int = 260,
) -> Chart:
    """Return the chart of ``lines``, of which at least one has a point; axes end at round figures, or as given."""
    points = [point for line in lines for point in line.points]
    x_ticks = ticks(*(x_range or _range([x for x, _ in points])))
    y_ticks = ticks(*(y_range or _range([y for _, y in points])))
    box = left, top, right, bottom = 52.0, 14.0, width - 16.0, height - 42.0

    def x_at(x: float) -> float:
        return round(left + (right - left) * _share(x, x_ticks), 1)

    def y_at(y: float) -> float:
        return round(bottom - (bottom - top) * _share(y, y_ticks), 1)

    drawn = []
    for line in lines:
        placed = [(x_at(x), y_at(y)) for x, y in line.points]
        names = [f"{line.name}: {y_label} {y:.4g} at {x_label} {x:g}" for x, y in line.points]
        marks = [(*place, name) for place, name in zip(placed, names, strict=True)] if len(placed) <= _MARKED else []
        drawn.append(DrawnLine(line.name, line.style, " ".join(f"{x},{y}" for x, y in placed), marks))
    return Chart(
        width, height, box, drawn,
        [(x_at(x), f"{x:g}") for x in x_ticks], [(y_at(y), f"{y:g}") for y in y_ticks], x_label, y_label,
    )  # fmt: skip


def ticks(low: float, high: float) -> list[float]:
    """Return round figures at equal distances, from at most ``low`` to at least ``high``, which is above."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if low < high else (low - abs(low) / 2 - 0.5, high + abs(high) / 2 + 0.5)


def _share(value: float, ticks: Sequence[float]) -> float:
    return (value - ticks[0]) / (ticks[-1] - ticks[0])
