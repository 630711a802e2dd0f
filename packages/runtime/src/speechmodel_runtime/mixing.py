"""The way to one channel: which channels are averaged, and at which scale.

A recording of integer samples needs no choice if it has one channel, or if its channel is given. Others are decoded once more, so
that the choice considers the whole recording without keeping it in memory.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speechmodel_runtime.audio_warnings import AudioWarning, WarningKind
from speechmodel_runtime.readers import Block, Header

CANCELLED = 0.25
"""Share of the power that unrelated channels leave when they are averaged. Less is left when
channels cancel each other, as when one wire of a microphone is swapped."""
INTEGERS = 64.0
"""Full scales. Larger floating point samples are integers that were not divided. Music peaks at 4
times full scale before it is mastered."""
INTEGER_SCALES = (2.0**15, 2.0**23, 2.0**31)
"""Full scale of samples of 16, 24 and 32 bit."""
_FLOATS = ("FLOAT", "DOUBLE", "pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be")


@dataclass(frozen=True)
class Mix:
    """Weights that turn a block of all channels into one channel."""

    weights: NDArray[np.float32]
    """One weight for each channel."""
    warnings: tuple[AudioWarning, ...] = ()

    def apply(self, block: Block) -> NDArray[np.float32]:
        """Return the samples `[frames]` of one channel."""
        if len(self.weights) == 1 and self.weights[0] == 1:
            return block[:, 0]
        return block @ self.weights


def choose_mix(header: Header, blocks: Callable[[], Iterator[Block]], channel: int | None = None) -> Mix:
    """Return the mix of a recording, for which `blocks` is called at most once. `channel`, from 0, is the only one used."""
    weights = np.full(header.channels, 1 / header.channels, np.float32)
    if channel is not None:
        weights = _only(channel, weights)
    if (header.channels == 1 or channel is not None) and not header.format.endswith(_FLOATS):
        return Mix(weights)
    power, mixed, peak = np.zeros(header.channels), 0.0, 0.0
    for block in blocks():
        samples = block.astype(np.float64)
        power += np.square(samples).sum(axis=0)
        mixed += float(np.square(samples.mean(axis=1)).sum())
        peak = max(peak, float(np.abs(block).max(initial=0)))
    warnings = []
    if channel is None and mixed * header.channels < CANCELLED * power.mean():
        best = int(power.argmax())
        weights = _only(best, weights)
        message = f"its channels cancel each other, so only channel {best + 1} is used; check the cable"
        warnings.append(AudioWarning(WarningKind.OPPOSITE_PHASE, message))
    if INTEGERS < peak < np.inf:
        scale = next((scale for scale in INTEGER_SCALES if peak <= scale), peak)
        weights = (weights / scale).astype(np.float32)
        message = f"its floating point samples reach {peak:.0f} instead of 1, so they are divided by {scale:.0f}"
        warnings.append(AudioWarning(WarningKind.INTEGER_SCALE, f"{message}; export it as 16-bit wav"))
    return Mix(weights, tuple(warnings))


def _only(channel: int, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    chosen = np.zeros_like(weights)
    chosen[channel] = 1
    return chosen
