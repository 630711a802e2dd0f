"""The growth of the memory in a soak."""

from support.soak import quarters

WARM_UP = [50.0, 60.0, 70.0, 80.0]


def test_a_warm_up_of_few_rounds_that_takes_most_of_the_time_is_no_growth() -> None:
    samples = [(done, size) for done, size in enumerate(WARM_UP) for _ in range(100)]
    samples += [(done, 80.0) for done in range(len(WARM_UP), 20)]
    assert quarters(samples) == (80.0, 80.0)


def test_memory_that_grows_with_each_round_is_growth() -> None:
    assert quarters([(done, 80.0 + done) for done in range(21)]) == (87.5, 97.5)
