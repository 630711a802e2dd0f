"""Models go through every stage while connections break, the API server refuses, etcd stops and the operator is killed."""

import signal
import time
from pathlib import Path

import pytest
from support import built, waiting
from support.fake_cluster import PROGRAMS, fake_cluster
from support.lifecycles import Lifecycles

pytestmark = pytest.mark.slow

MODELS = 20
JOBS_PER_KILL = 25
"""Jobs that an operator may create before it is killed. A time would let a busy machine get nowhere."""
ETCD_PAUSE_SECONDS = 2.0
FAULTS = ("latency", "reset before", "reset after", "409", "410", "429", "500", "cut", "silent")


def test_no_job_is_lost_or_doubled_and_every_model_gets_ready(tmp_path: Path) -> None:
    with (
        fake_cluster(built.programs(*PROGRAMS), tmp_path) as plane,
        Lifecycles(plane, tmp_path, MODELS, seed=20261128) as lifecycles,
    ):
        lifecycles.create()
        etcd, kills = plane.processes["etcd"], 0

        def ready() -> bool:
            nonlocal kills
            lifecycles.keep_running()
            if len(lifecycles.created()) >= (kills + 1) * JOBS_PER_KILL:
                lifecycles.kill_operator()
                etcd.send_signal(signal.SIGSTOP)
                time.sleep(ETCD_PAUSE_SECONDS)
                etcd.send_signal(signal.SIGCONT)
                kills += 1
            return lifecycles.ready() == MODELS

        waiting.until(ready, "every model is Ready", moved=lifecycles.state, explain=lifecycles.explain, every=0.5)
        injected = lifecycles.proxy.injected
        assert [fault for fault in FAULTS if not injected[fault]] == [], "every fault was injected"
        assert kills >= 3
        assert lifecycles.created() == lifecycles.expected_jobs()
        assert lifecycles.jobs() == lifecycles.expected_jobs()
