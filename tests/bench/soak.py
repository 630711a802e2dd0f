"""The operator for a long time, with faults on the way to the API server (see support/soak.py).

    PYTHONPATH=tests python -m bench.soak [minutes] [models]

It ends with code 1 if a Job was lost or doubled, or if the operator's resident memory grew too much. See
tests/integration/operator/test_chaos.py for kills, and for etcd that stops.
"""

import sys
import tempfile
import time
from pathlib import Path

from support.soak import GROWTH, soak


def main(minutes: float, models: int) -> None:
    """Run, print, and compare."""
    with tempfile.TemporaryDirectory() as folder:
        soaked = soak(Path(folder), minutes=minutes, models=models, seed=int(time.time()))
    print(f"{soaked.rounds} rounds of {models} models in {minutes:g} minutes; faults: {dict(soaked.injected)}")
    print(
        f"resident memory {soaked.early:.1f} MB in the second quarter, {soaked.late:.1f} MB in the last: {soaked.growth:+.1%}"
    )
    if soaked.growth > GROWTH:
        sys.exit(f"the memory grew by more than {GROWTH:.0%}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 10, int(sys.argv[2]) if len(sys.argv) > 2 else 5)
