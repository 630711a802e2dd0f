"""Frames as an acoustic model gives them, made by hand."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.float32]


def spelled(text: str, alphabet: Sequence[str], *, sure: float = 0.99) -> Frames:
    """Log probabilities of a model that hears `text`: each character in one frame of its own, blanks between."""
    classes = [len(alphabet)]
    for character in text:
        classes += [alphabet.index(character), len(alphabet)]
    frames = np.full((len(classes), len(alphabet) + 1), (1 - sure) / len(alphabet))
    frames[np.arange(len(classes)), classes] = sure
    logs: Frames = np.log(frames).astype(np.float32)
    return logs


def random_frames(seed: int, time: int, classes: int, *, contrast: float = 2.0) -> Frames:
    """Log probabilities without any sense."""
    values = np.random.default_rng(seed).normal(scale=contrast, size=(time, classes))
    return (values - np.logaddexp.reduce(values, axis=1, keepdims=True)).astype(np.float32)
