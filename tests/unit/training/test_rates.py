import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.training_spec import Schedule, ScheduleType
from speechmodel_training.rates import share_of_rate

COSINE = Schedule(type=ScheduleType.COSINE, warmup_percent=20, floor_percent=10)


@pytest.mark.parametrize(
    "progress, share",
    [(0.0, 0.0), (0.05, 0.25), (0.2, 1.0), (0.6, 0.55), (1.0, 0.1), (1.5, 0.1)],
)
def test_the_rate_rises_and_then_falls_along_a_cosine(progress: float, share: float) -> None:
    assert share_of_rate(COSINE, ScheduleType.COSINE, progress) == pytest.approx(share)


@given(st.floats(0, 1))
def test_a_constant_rate_is_the_same_at_every_step(progress: float) -> None:
    assert share_of_rate(COSINE, ScheduleType.CONSTANT, progress) == 1


@given(st.integers(0, 50), st.integers(0, 100), st.floats(0, 1), st.floats(0, 1))
def test_no_step_has_more_than_the_rate_and_none_after_the_warm_up_less_than_the_floor(
    warmup: int, floor: int, one: float, other: float
) -> None:
    schedule = Schedule(type=ScheduleType.COSINE, warmup_percent=warmup, floor_percent=floor)
    early, late = (share_of_rate(schedule, ScheduleType.COSINE, progress) for progress in sorted((one, other)))
    assert 0 <= early <= 1
    if min(one, other) >= warmup / 100:
        assert early >= late >= floor / 100 - math.ulp(1.0)
