"""The convolutions of the embedding: 330,000 weights, read from weights.npz."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import numpy.typing as npt

LEAK = 0.2
"""Slope of the activation for negative inputs."""
ACTIVATION_FLOOR = -0.4
"""Least value of the activation."""

_POOLS = {2: (2, 2), 6: (1, 2), 10: (2, 2), 14: (1, 2), 18: (2, 2)}
"""Size and step of the maximum that follows a convolution, over time and frequency."""


@dataclass(frozen=True)
class Layer:
    """A convolution over time and frequency, with what follows it."""

    kernel: npt.NDArray[np.float32]
    """`[time, frequency, channels before, channels after]`. Time is never padded. Frequency is padded by one zero at
    both ends if the kernel has three weights there.
    """
    bias: npt.NDArray[np.float32]
    """`[channels after]`."""
    padded: bool
    """True if frequency is padded."""
    activated: bool
    """True if max(x, 0.2 x, -0.4) follows. The last layer has none."""
    pool: tuple[int, int] | None
    """Size and step of the maximum over time and frequency that follows. None for no maximum."""


def layers() -> Iterator[Layer]:
    """Yield the layers in order. The input is `[time, 32]` in one channel, and time shrinks to one eighth."""
    with files(__package__).joinpath("weights.npz").open("rb") as file, np.load(file) as weights:
        count = sum(name.startswith("kernel_") for name in weights.files)
        for index in range(count):
            kernel = weights[f"kernel_{index}"]
            yield Layer(
                kernel=kernel,
                bias=weights[f"bias_{index}"],
                padded=kernel.shape[1] == 3,
                activated=index < count - 1,
                pool=_POOLS.get(index),
            )
