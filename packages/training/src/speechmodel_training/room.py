"""The room that a clip is heard in: pauses around what is said, and noise. Another one in every epoch.

Recordings are often cut tightly, and a microphone gives seconds of silence: a network that never met it says the beginning of some
phrase there, and then not what is said. Decision 4 has the figures.
"""

from dataclasses import dataclass

import numpy as np

from speechmodel_training.audio import STRIDE
from speechmodel_training.draws import number, uniform
from speechmodel_training.features import Samples
from speechmodel_training.silence import find_speech

LONGEST_PAUSE = 40
"""Frames: 0.8 s."""
LOUDEST_NOISE, FAINTEST_NOISE = 25.0, 75.0
"""Decibels below the speech: a fan beside the microphone, and nothing that 16 bits still hold."""


@dataclass(frozen=True)
class Heard:
    """A clip as the network is given it."""

    samples: Samples
    silent_frames: int
    """Before the first speech."""


@dataclass(frozen=True)
class Room:
    """Draws pauses and noise: the same ones for the same clip in the same epoch, however often training was interrupted."""

    seed: int
    paused: float = 0.5
    """Share of the clips that get a pause before what is said, and of those that get one after it."""
    noisy: float = 0.7
    """Share of the clips that get noise."""

    def pauses(self, clip: int, epoch: int) -> tuple[int, int]:
        """Frames of the pauses before and after the clip with this index."""
        draw = self._draw(clip, epoch)
        return self._pause(f"{draw}/before"), self._pause(f"{draw}/after")

    def around(self, samples: Samples, *, clip: int, epoch: int) -> Heard:
        """The clip with this index as it is heard in this epoch."""
        draw = self._draw(clip, epoch)
        before, after = self.pauses(clip, epoch)
        speech = find_speech(samples)
        heard = np.pad(samples.astype(np.float32), (before * STRIDE, after * STRIDE))
        if uniform(f"{draw}/noisy") < self.noisy:
            below = LOUDEST_NOISE + uniform(f"{draw}/below") * (FAINTEST_NOISE - LOUDEST_NOISE)
            noise = np.random.Generator(np.random.Philox(number(f"{draw}/noise"))).standard_normal(
                len(heard), np.float32
            )
            heard += np.float32(10 ** ((speech.loudness - below) / 20)) * noise
        return Heard(np.clip(np.rint(heard), -(2**15), 2**15 - 1).astype(np.int16), before + speech.silent_frames)

    def _draw(self, clip: int, epoch: int) -> str:
        return f"{self.seed}/{epoch}/{clip}"

    def _pause(self, draw: str) -> int:
        """None, or 1...LONGEST_PAUSE."""
        drawn = uniform(draw)
        return 1 + int(drawn / self.paused * LONGEST_PAUSE) if drawn < self.paused else 0
