"""The operator for a long time: models go through all stages again and again, while the way to the API server has faults."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from support import built
from support.fake_cluster import PROGRAMS, fake_cluster
from support.lifecycles import Lifecycles

GROWTH = 0.02
"""Largest growth of the memory that is no leak."""


@dataclass(frozen=True)
class Soaked:
    """The figures of a run."""

    rounds: int
    """Times that every model became Ready for an edited spec."""
    injected: Counter[str]
    """Number of each fault."""
    early: float
    """Median of the operator's resident memory in the second quarter of the rounds, in MB."""
    late: float
    """The same in the last quarter."""

    @property
    def growth(self) -> float:
        """Growth of the memory, as a fraction."""
        return self.late / self.early - 1


def soak(folder: Path, *, minutes: float, models: int, seed: int) -> Soaked:
    """Run for so many minutes. Raises AssertionError when a Job was lost or doubled."""
    with (
        fake_cluster(built.programs(*PROGRAMS), folder) as plane,
        Lifecycles(plane, folder, models, seed) as lifecycles,
    ):
        lifecycles.create()
        began, rounds, memory = time.monotonic(), 0, list[tuple[int, float]]()

        def ready() -> bool:
            size = psutil.Process(lifecycles.operators[0].pid).memory_info().rss / 1e6
            memory.append((rounds, size))
            return lifecycles.ready() == models

        while time.monotonic() - began < 60 * minutes:
            lifecycles.until(ready, every=1)
            assert lifecycles.created() == lifecycles.expected_jobs(rounds), f"round {rounds}:\n{lifecycles.explain()}"
            rounds += 1
            lifecycles.edit(rounds)
        injected = Counter(lifecycles.proxy.injected)
    early, late = quarters(memory)
    return Soaked(rounds, injected, early, late)


def quarters(memory: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return the median sizes in the second and the last quarter of the rounds, from pairs of a round and a size.

    Rounds warm the operator up, and time does not: on a machine that is slow at first, few of them are done in a quarter of it.
    """
    last = memory[-1][0]
    early = median(size for done, size in memory if last / 4 <= done <= last / 2)
    return early, median(size for done, size in memory if done >= 3 * last / 4)
