"""From scores to decisions: the threshold below which nothing was said, and confidences from 0 to 1.

The confidence of a score s is the logistic function of `offset - slope * log(LEAST - s)`, fitted by
maximum likelihood with the smoothed targets of Platt (1999), so that few examples do not give
confidences of exactly 0 or 1.
"""

from collections.abc import Sequence
from math import exp, log

import numpy as np
import numpy.typing as npt
from speechmodel_api.stages import Calibration

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


def calibrate(right: Sequence[float], wrong: Sequence[float]) -> Calibration:
    """Return the calibration for the scores of right and of wrong answers."""
    scores = np.array([*right, *wrong], np.float64)
    target = np.where(np.arange(len(scores)) < len(right), (len(right) + 1) / (len(right) + 2), 1 / (len(wrong) + 2))
    inputs = np.stack([np.ones(len(scores)), -np.log(LEAST - scores)], axis=1)
    weights = np.zeros(2)
    for _ in range(_STEPS):  # Newton's method
        probability = _logistic(inputs @ weights)
        gradient = inputs.T @ (target - probability) - _RIDGE * weights
        curvature = (inputs * (probability * (1 - probability))[:, None]).T @ inputs + _RIDGE * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights += step / max(1.0, float(np.abs(step).max()))
    offset, slope = weights
    return Calibration(
        threshold=round(threshold_of(right), 6), offset=round(offset, 6), slope=round(max(slope, 0.0), 6)
    )


def confidence_of(score: float, calibration: Calibration) -> float:
    """Return the probability that a phrase or a word with this score is right."""
    value = calibration.offset - calibration.slope * log(LEAST - min(score, 0.0))
    return 1 / (1 + exp(-value)) if value >= 0 else exp(value) / (1 + exp(value))


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
