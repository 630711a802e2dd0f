"""Which part a clip belongs to."""

import hashlib
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.spec import Split
from speechmodel_pipeline.prepare.split import divide
from speechmodel_stagekit.dataset import Part

DIGESTS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2000)]


def test_parts_have_about_the_share_that_was_asked_for() -> None:
    counted = Counter(divide(DIGESTS, Split(dev_percent=10, test_percent=20)).values())
    assert abs(counted[Part.DEV] - 200) < 40
    assert abs(counted[Part.TEST] - 400) < 60


def test_a_clip_never_moves_when_others_are_added() -> None:
    few, many = divide(DIGESTS[:100], Split()), divide(DIGESTS, Split())
    assert all(many[digest] == part for digest, part in few.items())


def test_parts_are_the_same_in_every_release() -> None:
    parts = divide(DIGESTS[:12], Split(dev_percent=25, test_percent=25))
    assert list(parts.values()) == [
        "train",
        "train",
        "train",
        "train",
        "dev",
        "test",
        "dev",
        "train",
        "test",
        "test",
        "train",
        "train",
    ]


def test_another_seed_gives_another_division() -> None:
    assert divide(DIGESTS, Split()) != divide(DIGESTS, Split(seed=1))


@given(st.integers(1, 30), st.integers(0, 45), st.integers(0, 45))
def test_there_is_always_something_to_train_on(clips: int, dev: int, test: int) -> None:
    assert Part.TRAIN in divide(DIGESTS[:clips], Split(dev_percent=dev, test_percent=test)).values()
