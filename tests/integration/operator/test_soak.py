"""The operator's memory does not grow while models are trained again and again and the way to the API server has faults."""

from pathlib import Path

import pytest
from support.faulty_proxy import CALLS, IN_PIECES, WATCHES
from support.soak import GROWTH, soak

pytestmark = pytest.mark.slow

MINUTES = 10


def test_in_ten_minutes_no_job_is_lost_or_doubled_and_the_memory_does_not_grow(tmp_path: Path) -> None:
    soaked = soak(tmp_path, minutes=MINUTES, models=2, seed=20261129)
    print(f"{soaked.rounds} rounds; {soaked.early:.1f} MB, then {soaked.late:.1f} MB: {soaked.growth:+.1%}")
    assert {*CALLS, *WATCHES, IN_PIECES} <= soaked.injected.keys()
    assert soaked.growth < GROWTH, f"from {soaked.early:.1f} MB to {soaked.late:.1f} MB in {soaked.rounds} rounds"
