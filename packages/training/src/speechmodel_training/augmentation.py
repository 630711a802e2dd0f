"""Augmentation: every clip gets pauses around its speech and noise, drawn again in every epoch.

Recordings are often cut tightly, while a microphone gives seconds of silence. A network that never
met silence hears the beginning of a phrase in it, and then misses the real one. Decision 4 has the
figures.
"""

from dataclasses import dataclass

import numpy as np
from speechmodel_api.audio import STRIDE

from speechmodel_training.draws import number, uniform
from speechmodel_training.features import Samples
from speechmodel_training.onset import detect_speech

LONGEST_PAUSE = 40
"""Frames: 0.8 s."""
LOUDEST_NOISE, FAINTEST_NOISE = 25.0, 75.0
"""Decibels below the speech: a fan beside the microphone, and less than 16 bits can hold."""


@dataclass(frozen=True)
class AugmentedClip:
    """The audio of a clip as the network gets it in one epoch."""

    samples: Samples
    leading_silence: int
    """Frames before the speech begins."""


@dataclass(frozen=True)
class Augmentation:
    """Draws pauses and noise: equal ones for the same clip in the same epoch, however often
    training was interrupted.
    """

    seed: int
    paused: float = 0.5
    """Share of the clips that get a pause before the speech, and of those that get one after it."""
    noisy: float = 0.7
    """Share of the clips that get noise."""

    def pauses(self, clip: int, epoch: int) -> tuple[int, int]:
        """Return the frames of the pauses before and after the clip with this index."""
        draw = self._draw(clip, epoch)
        return self._pause(f"{draw}/before"), self._pause(f"{draw}/after")

    def augment(self, samples: Samples, *, clip: int, epoch: int) -> AugmentedClip:
        """Return the clip with this index as it is in this epoch."""
        draw = self._draw(clip, epoch)
        before, after = self.pauses(clip, epoch)
        speech = detect_speech(samples)
        audio = np.pad(samples.astype(np.float32), (before * STRIDE, after * STRIDE))
        if uniform(f"{draw}/noisy") < self.noisy:
            below = LOUDEST_NOISE + uniform(f"{draw}/below") * (FAINTEST_NOISE - LOUDEST_NOISE)
            generator = np.random.Generator(np.random.Philox(number(f"{draw}/noise")))
            noise = generator.standard_normal(len(audio), np.float32)
            audio += np.float32(10 ** ((speech.loudness - below) / 20)) * noise
        return AugmentedClip(np.clip(np.rint(audio), -(2**15), 2**15 - 1).astype(np.int16), before + speech.onset)

    def _draw(self, clip: int, epoch: int) -> str:
        return f"{self.seed}/{epoch}/{clip}"

    def _pause(self, draw: str) -> int:
        """Return 0 for no pause, or 1 to LONGEST_PAUSE frames."""
        drawn = uniform(draw)
        return 1 + int(drawn / self.paused * LONGEST_PAUSE) if drawn < self.paused else 0
