"""First weights of layer 1 for which its inputs have mean 0 and deviation 1.

The features of DeepSpeech differ in size: coefficient 0 is the loudness and many times larger than
the last ones, so an untrained layer sees little else. The network has no layer that scales them, and
a checkpoint must stay one of upstream. So the mean and the deviation are folded into the weights:

(x - mean) / deviation W + b  =  x (W / deviation) + (b - (mean / deviation) W)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from speechmodel_stagekit.dataset import Clip

from speechmodel_training.features import Frames, clip_features, read_samples
from speechmodel_training.network import SPAN, Array

CLIPS = 256
"""Most clips that the mean and the deviation are measured on."""
LEAST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Standardisation:
    """Mean and standard deviation of each coefficient, [26]."""

    mean: Frames
    deviation: Frames

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> Self:
        """Measure some of the clips, evenly chosen, as they are. Raises ArtefactMissing."""
        chosen = clips[:: -(-len(clips) // CLIPS)]
        features = np.concatenate([clip_features(read_samples(clip.path)) for clip in chosen]).astype(np.float64)
        deviation = np.maximum(features.std(axis=0), LEAST_DEVIATION)
        return cls(features.mean(axis=0).astype(np.float32), deviation.astype(np.float32))

    def folded(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        """Return weights [494, units] and bias [units] that give for features what the given ones give
        for standardised features.
        """
        scaled = (weights / np.tile(self.deviation, SPAN)[:, None]).astype(np.float32)
        return scaled, (bias - np.tile(self.mean, SPAN) @ scaled).astype(np.float32)
