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

_HALVES_FREQUENCY = {2, 6, 10, 14, 18}
"""Layers that a maximum over two neighbours of frequency follows."""
_HALVES_TIME = {2, 10, 18}
"""Layers that also have one over time."""
_SKIPS = 2
"""The layer whose maximum over time skips every other hop: from 10 ms to the 20 ms of a frame."""


@dataclass(frozen=True)
class Maximum:
    """The largest of neighbours, every other of which is skipped over frequency."""

    over_time: bool
    """True for two neighbours in time too, at the distance of the layer's dilation."""
    step: int
    """2 if every other one in time is skipped."""


@dataclass(frozen=True)
class Layer:
    """A convolution over time and frequency, with what follows it."""

    kernel: npt.NDArray[np.float32]
    """`[time, frequency, channels before, channels after]`. Time is never padded."""
    bias: npt.NDArray[np.float32]
    """`[channels after]`."""
    activated: bool
    """True if max(x, 0.2 x, -0.4) follows. The last layer has none."""
    dilation: int
    """Distance in time of what the kernel's weights are for."""
    maximum: Maximum | None
    """The maximum that follows."""

    @property
    def padding(self) -> int:
        """Zeros at both ends of frequency, so that it keeps its length."""
        return int(self.kernel.shape[1] // 2)


def layers() -> Iterator[Layer]:
    """Yield the layers in order, from `[2 * frames + 74, 32]` in one channel to `[frames, 1]` in 96."""
    dilation = 1
    with files(__package__).joinpath("weights.npz").open("rb") as file, np.load(file) as weights:
        count = sum(name.startswith("kernel_") for name in weights.files)
        for index in range(count):
            kernel = weights[f"kernel_{index}"]
            over_time, step = index in _HALVES_TIME, 2 if index == _SKIPS else 1
            yield Layer(
                kernel=kernel,
                bias=weights[f"bias_{index}"],
                activated=index < count - 1,
                dilation=dilation,
                maximum=Maximum(over_time, step) if index in _HALVES_FREQUENCY else None,
            )
            if over_time and step == 1:
                dilation *= 2
