"""Scores of one phrase against the frames of a recording, exactly, by CTC's recursions.

The states are those of the CTC topology for the phrase: blank, first character, blank, second
character, and so on, 2 n + 1 of them (Graves et al., 2006).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from speechmodel_decoding.acoustic import LogProbabilities

IMPOSSIBLE = -1e30
"""Log probability of what cannot happen: finite, so that differences are numbers."""


@dataclass(frozen=True)
class Span:
    """The frames of one character on the best path: those of its label, and the blanks before it."""

    first: int
    """First frame of the label."""
    last: int
    """Last frame of the label."""
    score: float
    """Log probability of the frames from the end of the character before to the end of this one."""


def forward_score(frames: LogProbabilities, classes: list[int]) -> float:
    """Return the log probability of all paths that read as `classes`, one class for each character."""
    last, _ = _recursion(frames, classes, np.logaddexp)
    return float(np.logaddexp(last[-1], last[-2]))


def align(frames: LogProbabilities, classes: list[int]) -> list[Span]:
    """Return the span of each character on the best path. The blanks at the end count for the last
    character.
    """
    last, came = _recursion(frames, classes, np.maximum, trace=True)
    state = len(last) - (1 if last[-1] >= last[-2] else 2)
    states = np.empty(len(frames), np.int64)
    for time in range(len(frames) - 1, -1, -1):
        states[time] = state
        state -= int(came[time, state])
    labels = _labels(frames, classes)
    scores = frames[np.arange(len(frames)), labels[states]]
    spans, begin = [], 0
    for index in range(len(classes)):
        own = np.flatnonzero(states == 2 * index + 1)
        end = int(own[-1]) + 1 if index + 1 < len(classes) else len(frames)
        spans.append(Span(int(own[0]), int(own[-1]), float(scores[begin:end].sum())))
        begin = end
    return spans


def _labels(frames: LogProbabilities, classes: list[int]) -> npt.NDArray[np.int64]:
    labels = np.full(2 * len(classes) + 1, frames.shape[1] - 1)
    labels[1::2] = classes
    return labels


def _recursion(
    frames: LogProbabilities,
    classes: list[int],
    plus: Callable[[Any, Any], npt.NDArray[np.float64]],
    *,
    trace: bool = False,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    """Return the score of each state after the last frame, and how many states back each came from."""
    labels = _labels(frames, classes)
    emitted = frames[:, labels].astype(np.float64)
    skips = np.zeros(len(labels), bool)
    skips[3::2] = labels[3::2] != labels[1:-2:2]
    came = np.zeros((len(frames), len(labels)), np.int8) if trace else np.zeros((0, 0), np.int8)
    score = np.full(len(labels), IMPOSSIBLE)
    score[:2] = emitted[0, :2]
    for time in range(1, len(frames)):
        stepped = np.concatenate([[IMPOSSIBLE], score[:-1]])
        skipped = np.where(skips, np.concatenate([[IMPOSSIBLE] * 2, score[:-2]]), IMPOSSIBLE)
        if trace:
            came[time] = np.stack([score, stepped, skipped]).argmax(axis=0)
        score = plus(plus(score, stepped), skipped) + emitted[time]
    return score, came
