"""Charts are drawn where their figures say."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.charts import Line, line_chart, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (1.4, 4.6, [1, 2, 3, 4, 5]),
        (10, 120, [0, 25, 50, 75, 100, 125]),
        (0.1, 0.3, [0.1, 0.15, 0.2, 0.25, 0.3]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_ticks_enclose_whatever_range_and_are_few() -> None:
    rng = np.random.default_rng(0)
    for low, size in zip(rng.normal(0, 100, 200), 10 ** rng.uniform(-4, 6, 200), strict=True):
        found = ticks(low, low + size)
        assert found[0] <= low + 1e-6 * size and found[-1] >= low + size - 1e-6 * size
        assert 3 <= len(found) <= 8
        assert np.diff(found) == pytest.approx(found[1] - found[0])


def test_points_lie_between_the_ticks() -> None:
    chart = line_chart([Line("loss", [(0, 0), (50, 100), (100, 25)], "run0")], "step", "percent")
    left, top, right, bottom = chart.box
    assert chart.x_ticks[0] == (left, "0") and chart.x_ticks[-1] == (right, "100")
    assert chart.y_ticks[0] == (bottom, "0") and chart.y_ticks[-1] == (top, "100")
    (line,) = chart.lines
    assert line.points == f"{left},{bottom} {(left + right) / 2},{top} {right},{round(bottom + (top - bottom) / 4, 1)}"
    assert [text for *_, text in line.marks] == [
        "loss: percent 0 at step 0", "loss: percent 100 at step 50", "loss: percent 25 at step 100"
    ]  # fmt: skip


def test_ranges_can_be_given_and_long_lines_have_no_marks() -> None:
    chart = line_chart([Line("a", [(x, 50) for x in range(41)], "run0")], "k", "%", y_range=(0, 100))
    assert chart.lines[0].marks == []
    assert (chart.y_ticks[0][1], chart.y_ticks[-1][1]) == ("0", "100")


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, 1e6])
def test_a_single_point_has_room(value: float) -> None:
    chart = line_chart([Line("a", [(value, value)], "run0")], "x", "y")
    x, y, _ = chart.lines[0].marks[0]
    left, top, right, bottom = chart.box
    assert left < x < right and top < y < bottom
