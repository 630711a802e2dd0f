"""Models go through every stage while connections break, the API server refuses and restarts, etcd stops and the operator is killed."""

import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from support import built
from support.fake_cluster import PROGRAMS, fake_cluster
from support.faulty_proxy import CALLS, IN_PIECES, WATCHES
from support.lifecycles import Lifecycles

pytestmark = pytest.mark.slow

MODELS = 20
JOBS_PER_BLOW = 17
"""Jobs that may be created until the next program is killed. A time would let a busy machine get nowhere."""
ETCD_PAUSE_SECONDS = 2.0
BLOWS = 5
FAULTS = dict.fromkeys((*CALLS, *WATCHES, IN_PIECES), 1) | {"operator killed": 3, "API server killed": 2}
"""Least number of each fault that is injected."""


def test_no_job_is_lost_or_doubled_and_every_model_gets_ready(tmp_path: Path) -> None:
    with (
        fake_cluster(built.programs(*PROGRAMS), tmp_path) as plane,
        Lifecycles(plane, tmp_path, MODELS, seed=20261128) as lifecycles,
    ):
        lifecycles.create()
        etcd, blows = plane.programs["etcd"], list[str]()

        def ready() -> bool:
            lifecycles.keep_running()
            if len(blows) < BLOWS and len(lifecycles.created()) >= (len(blows) + 1) * JOBS_PER_BLOW:
                if blows[-1:] == ["operator killed"]:
                    plane.restart_api_server()
                    blows.append("API server killed")
                else:
                    lifecycles.kill_operator()
                    etcd.send_signal(signal.SIGSTOP)
                    time.sleep(ETCD_PAUSE_SECONDS)
                    etcd.send_signal(signal.SIGCONT)
                    blows.append("operator killed")
            return lifecycles.ready() == MODELS and len(blows) == BLOWS

        lifecycles.until(ready, every=0.5)
        injected = lifecycles.proxy.injected + Counter(blows)
        assert {fault: injected[fault] for fault, least in FAULTS.items() if injected[fault] < least} == {}
        assert lifecycles.created() == lifecycles.expected_jobs(), lifecycles.explain()
        assert lifecycles.jobs() == lifecycles.expected_jobs(), lifecycles.explain()
