"""The operator for a long time: models go through all stages again and again, while the way to the API server has faults.

    PYTHONPATH=tests python -m bench.soak [minutes] [models]

It ends with code 1 if a Job was lost or doubled, or if the resident memory of the operator grew by more than 2 % from the second
quarter of the time to the last. See tests/integration/operator/test_chaos.py for kills, and for etcd that stops.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import psutil
from support import built, waiting
from support.fake_cluster import PROGRAMS, fake_cluster
from support.lifecycles import Lifecycles

GROWTH = 0.02


def main(minutes: float, models: int) -> None:
    """Run, print, and compare."""
    with (
        tempfile.TemporaryDirectory() as folder,
        fake_cluster(built.programs(*PROGRAMS), Path(folder)) as plane,
        Lifecycles(plane, Path(folder), models, seed=int(time.time())) as lifecycles,
    ):
        lifecycles.create()
        began, rounds, memory = time.monotonic(), 0, list[tuple[float, float]]()

        def ready() -> bool:
            size = psutil.Process(lifecycles.operator.pid).memory_info().rss / 1e6
            memory.append((time.monotonic() - began, size))
            return lifecycles.ready() == models

        while time.monotonic() - began < 60 * minutes:
            waiting.until(ready, "every model is Ready", moved=lifecycles.state, explain=lifecycles.explain, every=1)
            if lifecycles.created() != lifecycles.expected_jobs(rounds):
                sys.exit(f"Jobs were lost or doubled in round {rounds}:\n{lifecycles.explain()}")
            rounds += 1
            lifecycles.edit(rounds)
        injected = dict(lifecycles.proxy.injected)
    last = memory[-1][0]
    early = median(size for at, size in memory if last / 4 <= at <= last / 2)
    late = median(size for at, size in memory if at >= 3 * last / 4)
    print(f"{rounds} rounds of {models} models in {minutes:g} minutes; faults: {injected}")
    print(f"resident memory {early:.1f} MB in the second quarter, {late:.1f} MB in the last: {late / early - 1:+.1%}")
    if late > early * (1 + GROWTH):
        sys.exit(f"the memory grew by more than {GROWTH:.0%}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10, int(sys.argv[2]) if len(sys.argv) > 2 else 5)
