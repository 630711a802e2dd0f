"""Models go through every stage while connections break, the API server refuses and restarts, etcd stops and the operator is killed."""

import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from support import built
from support.api_server import ControlPlane
from support.fake_cluster import PROGRAMS, fake_cluster
from support.faulty_proxy import CALLS, IN_PIECES, WATCHES
from support.lifecycles import Lifecycles

pytestmark = pytest.mark.slow

MODELS = 20
STAGE_SECONDS = (5.0, 15.0)
"""Shortest and longest time that a pod of a stage runs, so that the operator is killed several times in each lifecycle."""
KILL_SECONDS = 10.0
"""Time between two kills of the operator. On a busy machine, the second one waits until a Job is created or a model is Ready."""
JOBS_PER_BLOW = 20
"""Jobs that may be created until the next blow. A time would let a busy machine get nowhere."""
BLOWS = ("etcd paused", "API server killed") * 2
ETCD_PAUSE_SECONDS = 2.0
FAULTS = dict.fromkeys((*CALLS, *WATCHES, IN_PIECES), 1) | {"operator killed": 4} | Counter(BLOWS)
"""Least number of each fault that is injected. Five stages of each model take 50 s on average."""


class Blows:
    """Kills the operator by time, and stops the programs of the control plane by what the operator has done."""

    def __init__(self, plane: ControlPlane, lifecycles: Lifecycles) -> None:
        self.dealt: Counter[str] = Counter()
        self._plane, self._lifecycles, self._left = plane, lifecycles, list(BLOWS)
        self._killed, self._reached = time.monotonic(), (0, 0)
        """Time of the last kill, and the numbers of Jobs and Ready models then."""

    def deal(self) -> None:
        """Deal the blows that are due."""
        reached = (len(self._lifecycles.created()), self._lifecycles.ready())
        if time.monotonic() - self._killed >= KILL_SECONDS and reached != self._reached:
            self._lifecycles.kill_operator()
            self.dealt["operator killed"] += 1
            self._killed, self._reached = time.monotonic(), reached
        if self._left and reached[0] >= (1 + len(BLOWS) - len(self._left)) * JOBS_PER_BLOW:
            blow = self._left.pop(0)
            if blow == "etcd paused":
                etcd = self._plane.programs["etcd"]
                etcd.send_signal(signal.SIGSTOP)
                time.sleep(ETCD_PAUSE_SECONDS)
                etcd.send_signal(signal.SIGCONT)
            else:
                self._plane.restart_api_server()
            self.dealt[blow] += 1


def test_no_job_is_lost_or_doubled_and_every_model_gets_ready(tmp_path: Path) -> None:
    with (
        fake_cluster(built.programs(*PROGRAMS), tmp_path, STAGE_SECONDS) as plane,
        Lifecycles(plane, tmp_path, MODELS, seed=20261128) as lifecycles,
    ):
        lifecycles.create()
        blows = Blows(plane, lifecycles)

        def ready() -> bool:
            lifecycles.keep_running()
            blows.deal()
            return lifecycles.ready() == MODELS

        lifecycles.until(ready, every=0.5)
        injected = lifecycles.proxy.injected + blows.dealt
        assert {fault: injected[fault] for fault, least in FAULTS.items() if injected[fault] < least} == {}
        assert lifecycles.created() == lifecycles.expected_jobs(), lifecycles.explain()
        assert lifecycles.jobs() == lifecycles.expected_jobs(), lifecycles.explain()
