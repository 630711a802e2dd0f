"""How long from the end of one Job to the next: the API server's audit log says when the Job controller reported Complete, and when
the operator's POST arrived. The alternative in the same run: an operator without watches that polls each 10 s, whose mean is 5 s.

    PYTHONPATH=tests python -m bench.job_to_job_bench [models]
"""

import math
import statistics
import sys
import tempfile
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from kubecluster import audit
from support import recordings
from support.spaces import install, make_space, remove_space
from support.target import own

POLL_SECONDS = 10.0
"""Seconds that the alternative would wait between two looks."""
ENOUGH = 40
"""Pairs from which on a 95th percentile is told: two lie above it. Ten models have four each, and take three minutes or more."""


def gaps(models: int) -> list[timedelta]:
    """One gap for each pair of stages of each model."""
    with own() as target, tempfile.TemporaryDirectory() as folder:
        install(target)
        space = make_space(target, "bench")
        began = audit.now()
        space.dataset(recordings.small(Path(folder) / "data"))
        for number in range(models):
            space.apply(space.manifest(f"bench-{number}", maxEpochs=1)).until_ready()
        assert target.layout
        writes = audit.writes(target.layout, began, namespace=space.kubectl.namespace)
        remove_space(space)
    found = []
    for number in range(models):
        mine = [w for w in writes if w.resource == "jobs" and w.name.startswith(f"bench-{number}-")]
        created = [w for w in mine if w.verb == "create"]
        for job, following in pairwise(created):
            # the Job controller's last status update before the next Job is the one that says Complete
            said = [w.at for w in mine if w.subresource == "status" and w.name == job.name and w.at < following.at]
            found.append(following.at - max(said))
    return found


def main() -> None:
    """Print the table."""
    models = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    seconds = sorted(gap.total_seconds() for gap in gaps(models))
    median = statistics.median(seconds)
    print("Job end to next Job")
    print(f"  {len(seconds)} pairs: median {median:.3f} s, {_high(seconds)}most {seconds[-1]:.3f} s")
    print(
        f"  polling each {POLL_SECONDS:g} s would take {POLL_SECONDS / 2:g} s in the mean: {POLL_SECONDS / 2 / median:.0f} times that"
    )


def _high(ascending: list[float]) -> str:
    """The 95th percentile (nearest rank), where it is something else than the largest of a few."""
    if len(ascending) < ENOUGH:
        return ""
    return f"p95 {ascending[math.ceil(0.95 * len(ascending)) - 1]:.3f} s, "


if __name__ == "__main__":
    main()
