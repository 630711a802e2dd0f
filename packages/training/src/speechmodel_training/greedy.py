"""Words by greedy decoding: the likeliest label of every frame. It is cheap enough for every epoch.

evaluate decodes with beams, a grammar or a scorer, so its error rate is lower.
"""

from collections.abc import Sequence
from itertools import groupby

import jiwer
import numpy as np
import numpy.typing as npt


def greedy_texts(
    labels: npt.NDArray[np.integer], frames: npt.NDArray[np.integer], alphabet: Sequence[str]
) -> list[str]:
    """Return a text for each clip. Labels that repeat count once, and blanks are left out.

    `labels` is [time, batch], the likeliest label of each frame, and `frames` is [batch].
    """
    blank = len(alphabet)
    return [
        "".join(alphabet[label] for label, _ in groupby(column[:length]) if label != blank)
        for column, length in zip(labels.T, frames, strict=True)
    ]


class WordErrors:
    """Word errors and words of clips, counted together."""

    def __init__(self, errors: int = 0, words: int = 0) -> None:
        self.errors, self.words = errors, words

    def count(self, references: Sequence[str], hypotheses: Sequence[str]) -> None:
        """Count the errors of these clips."""
        found = jiwer.process_words(list(references), list(hypotheses))
        self.errors += found.substitutions + found.deletions + found.insertions
        self.words += found.substitutions + found.deletions + found.hits

    @property
    def rate(self) -> float:
        """Errors / words of the references."""
        return self.errors / self.words
