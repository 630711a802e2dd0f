"""A recording, and a head with drawn weights."""

import numpy as np
import pytest
from speechmodel_embedding import Head
from support.tones import rising_tone


@pytest.fixture
def sweep() -> np.ndarray:
    """The recording of original.json."""
    return rising_tone()


@pytest.fixture
def head() -> Head:
    """A head of 8 units for 5 labels."""
    chance = np.random.default_rng(1)
    shapes = ((96,), (96,), (96, 8), (8,), (8, 6), (6,))
    mean, deviation, *weights = (chance.normal(size=shape).astype(np.float32) for shape in shapes)
    return Head(mean, np.abs(deviation) + 1, *weights)
