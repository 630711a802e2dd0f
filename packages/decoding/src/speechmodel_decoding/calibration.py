"""From scores to decisions: the threshold below which nothing was said, and confidences from 0 to 1.

The confidence of a score s, of a phrase or of a word, is the logistic function of `offset - slope * log(LEAST - s)`, fitted
by maximum likelihood with the smoothed targets of Platt (1999), so that few examples do not give
confidences of exactly 0 or 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
import numpy.typing as npt
from speechmodel_api.stages.decoders import Calibration, TextConfidence

LOST = 0.01
"""Part of the right answers that the threshold rejects."""
LEAST = 1e-3
"""Scores nearer to 0 than this are alike."""
_BINS = 10
_STEPS = 50
_RIDGE = 1e-3
"""Weight of the penalty on both coefficients, without which separable examples have no best fit."""


def threshold_of(right: Sequence[float]) -> float:
    """Return the score below which 1 % of the scores of right answers are. Without right answers it
    is 0, which no score reaches.
    """
    if not right:
        return 0.0
    return float(np.quantile(np.asarray(right), LOST, method="lower"))


@dataclass(frozen=True)
class Examples:
    """Scores of right and of wrong answers."""

    right: Sequence[float]
    wrong: Sequence[float]


def calibrate(phrases: Examples, words: Examples) -> Calibration:
    """Return the calibration for the timed scores of phrases and the scores of words."""
    offset, slope = fit(phrases)
    word_offset, word_slope = fit(words)
    return Calibration(
        threshold=round(threshold_of(phrases.right), 6),
        offset=offset,
        slope=slope,
        word_offset=word_offset,
        word_slope=word_slope,
        speech_time=True,
    )


def fit(examples: Examples) -> tuple[float, float]:
    """Return offset and slope of the logistic function of most likelihood. The slope is not negative."""
    scores = np.array([*examples.right, *examples.wrong], np.float64)
    high, low = (len(examples.right) + 1) / (len(examples.right) + 2), 1 / (len(examples.wrong) + 2)
    target = np.where(np.arange(len(scores)) < len(examples.right), high, low)
    inputs = np.stack([np.ones(len(scores)), -np.log(LEAST - np.minimum(scores, 0.0))], axis=1)
    weights = np.zeros(2)
    for _ in range(_STEPS):  # Newton's method
        probability = _logistic(inputs @ weights)
        gradient = inputs.T @ (target - probability) - _RIDGE * weights
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights += step / max(1.0, float(np.abs(step).max()))
    return round(float(weights[0]), 6), round(max(float(weights[1]), 0.0), 6)


def phrase_confidence(score: float, calibration: Calibration | TextConfidence) -> float:
    """Return the probability that a phrase, or a free text, with this score is right."""
    return _confidence(score, calibration.offset, calibration.slope)


def word_confidence(score: float, calibration: Calibration | TextConfidence) -> float:
    """Return the probability that a word with this score is right."""
    return _confidence(score, calibration.word_offset, calibration.word_slope)


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Return the mean distance between confidence and share of right answers, over ten bins of equal
    width, each weighted by its answers (Guo et al., 2017).
    """
    values, hits = np.asarray(confidences), np.asarray(right, float)
    bins = np.minimum((values * _BINS).astype(int), _BINS - 1)
    return float(
        sum(abs(values[bins == each].mean() - hits[bins == each].mean()) * (bins == each).mean() for each in set(bins))
    )


def _logistic(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(values, -500, 500)))


def _confidence(score: float, offset: float, slope: float) -> float:
    value = offset - slope * log(LEAST - min(score, 0.0))
    return 1 / (1 + exp(-value)) if value >= 0 else exp(value) / (1 + exp(value))
