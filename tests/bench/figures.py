"""How the benches print: one line a row, seconds by minimum and median."""

from collections.abc import Mapping, Sequence
from statistics import median


def print_table(title: str, megabytes: float, seconds: Mapping[str, Sequence[float]], against: str) -> None:
    """Rows of `seconds`, and how many times the row `against` each takes."""
    base = min(seconds[against]), median(seconds[against])
    print(f"{title}, {megabytes:.0f} MB, {len(seconds[against])} alternating runs")
    print(f"{'':28}{'min s':>8}{'median s':>10}{'MB/s':>8}{'x min':>8}{'x median':>10}")
    for name, took in seconds.items():
        low, middle = min(took), median(took)
        print(f"{name:28}{low:8.3f}{middle:10.3f}{megabytes / low:8.0f}{low / base[0]:8.2f}{middle / base[1]:10.2f}")
