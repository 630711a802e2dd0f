"""Charts of report.html: round numbers on the axes, and every point inside of the chart."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from speechmodel_pipeline.evaluate.chart import HEIGHT, MOST_DOTS, WIDTH, histogram, line_chart


def test_a_curve_goes_from_corner_to_corner() -> None:
    chart = line_chart("loss", {"training": [(1, 100.0), (2, 50.0), (3, 0.0)], "dev": []}, marked=2)
    assert chart is not None
    (line,) = chart.lines
    assert line.path == f"0.0,0.0 {WIDTH / 2},{HEIGHT / 2} {float(WIDTH)},{float(HEIGHT)}"
    assert [tick.label for tick in chart.x_ticks] == ["1", "2", "3"]
    assert [tick.label for tick in chart.y_ticks] == ["0", "20", "40", "60", "80", "100"]
    assert (line.last, line.dots[1].text, chart.marked) == ("0", "epoch 2: 50", WIDTH / 2)


def test_nothing_to_draw_gives_no_chart() -> None:
    assert line_chart("loss", {"dev": []}) is None
    assert line_chart("loss", {"dev": [(1, math.inf)]}) is None
    assert histogram("lengths", []) is None


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=400), st.integers(0, 10_000))
@example([5e-324], 0)
def test_every_curve_fits(values: list[float], first: int) -> None:
    chart = line_chart("loss", {"dev": [(first + place, value) for place, value in enumerate(values)]})
    assert chart is not None
    points = [tuple(map(float, point.split(","))) for point in chart.lines[0].path.split()]
    assert len(points) == len(values)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert all(0 <= tick.place <= WIDTH for tick in chart.x_ticks) and 1 <= len(chart.x_ticks) <= 8
    assert all(0 <= tick.place <= HEIGHT for tick in chart.y_ticks) and 1 <= len(chart.y_ticks) <= 8
    assert len(chart.lines[0].dots) <= MOST_DOTS


def test_a_curve_of_very_many_epochs_stays_small_and_keeps_its_peaks() -> None:
    values = [(epoch, 5.0 + epoch % 7) for epoch in range(1, 100_001)]
    values[54_321] = (54_322, 100.0)
    values[60_321] = (60_322, 0.0)
    chart = line_chart("loss", {"training": values})
    assert chart is not None
    points = [tuple(map(float, point.split(","))) for point in chart.lines[0].path.split()]
    assert len(points) <= 4 * (WIDTH + 1)
    assert points == sorted(points, key=lambda point: point[0])
    assert (points[0][0], points[-1][0]) == (0, WIDTH)
    assert (min(y for _, y in points), max(y for _, y in points)) == (0, HEIGHT)


@given(st.lists(st.floats(0.01, 4000), min_size=1, max_size=300))
def test_every_clip_is_in_a_bar(seconds: list[float]) -> None:
    chart = histogram("lengths", seconds)
    assert chart is not None
    counted = [int(bar.text.rpartition(": ")[2].split()[0]) for bar in chart.bars]
    assert sum(counted) == len(seconds)
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH + 1 and 0 < bar.height <= HEIGHT for bar in chart.bars)


@pytest.mark.parametrize(("longest", "label"), [(0.9, "0.9 to 0.95 s: 1 clip"), (18.0, "18 to 19 s: 1 clip")])
def test_the_width_of_a_bar_is_a_round_number(longest: float, label: str) -> None:
    chart = histogram("lengths", [0.1, longest])
    assert chart is not None
    assert chart.bars[-1].text == label
