"""How long the test cluster takes to come up and to go down, warm, against coming up without a state directory: new
certificates, no image on the nodes. It runs in a network namespace of its own, so that a cluster that is up stays up.

    unshare --net env PYTHONPATH=tests python -m bench.cluster_bench [rounds]
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kubecluster import base, cluster, toolchain
from kubecluster.layout import Layout
from kubecluster.shell import run


def seconds(act: Callable[[Layout], object], layout: Layout) -> float:
    """The wall time of one act."""
    start = time.perf_counter()
    act(layout)
    return time.perf_counter() - start


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    layout = Layout(Path("/var/lib/kubecluster-bench"), Layout.default().cache)
    run("ip", "link", "set", "lo", "up")
    cluster.require(layout)
    toolchain.build(layout)
    base.ensure(layout)
    bare, warm, ends = [], [], []
    for _ in range(rounds):
        cluster.reset(layout)
        bare.append(seconds(cluster.up, layout))
        ends.append(seconds(cluster.down, layout))
        warm.append(seconds(cluster.up, layout))
        ends.append(seconds(cluster.down, layout))
    cluster.reset(layout)
    print(f"test cluster, {rounds} rounds")
    for name, times in (("up, warm", warm), ("up, no state directory", bare), ("down", ends)):
        print(f"  {name:<24} median {statistics.median(times):5.1f} s, minimum {min(times):5.1f} s")
    print(
        f"  warm takes {statistics.median(warm) / statistics.median(bare):.2f} times of what an up without state takes"
    )


if __name__ == "__main__":
    main()
