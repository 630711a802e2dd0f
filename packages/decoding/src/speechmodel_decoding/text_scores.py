"""Scores of free text against the frames of its recording.

The score is that of a phrase of a grammar: the log probability of all paths that read as the text,
for each of its characters. It does not need a grammar, because the text itself takes the place of the
phrase.
"""

from collections.abc import Sequence
from itertools import groupby, pairwise

from speechmodel_api.audio import frames_needed

from speechmodel_decoding.acoustic import AcousticModel, LogProbabilities
from speechmodel_decoding.alignment import IMPOSSIBLE, align, forward_score
from speechmodel_decoding.decoder import word_score
from speechmodel_decoding.labels import SPACE, Labels

PIECE = 200
"""Characters that are scored at once, about 15 s of speech: time and memory grow with their square."""


def text_score(frames: LogProbabilities, classes: Sequence[int], times: Sequence[int]) -> float:
    """Return the log probability of a text for each of its characters. 0 is best.

    `classes` has the class of each character, at least one, and `times` the frame in which each was
    recognised. A text of more than PIECE characters is scored in pieces; paths that lead one piece's
    characters into the frames of the next are left out.
    """
    cuts = [0, *((times[at - 1] + times[at] + 1) // 2 for at in range(PIECE, len(classes), PIECE)), len(frames)]
    score = sum(
        forward_score(frames[first : max(last, first + 1)], list(classes[PIECE * at : PIECE * (at + 1)]))
        for at, (first, last) in enumerate(pairwise(cuts))
    )
    return score / len(classes)


class TextScorer:
    """Scores texts of recordings. Safe for any number of threads."""

    def __init__(self, model: AcousticModel, alphabet: Sequence[str]) -> None:
        """Join a model and its labels in order."""
        self.model = model
        self._labels = Labels(alphabet)

    def score(self, frames: LogProbabilities, text: str, times: Sequence[int]) -> float:
        """Return the score of a text that is not empty for the frames of its recording, with the frame of each
        character.
        """
        return text_score(frames, self._classes(text), times)

    def word_scores(self, frames: LogProbabilities, text: str) -> list[float]:
        """Return the score of each word of a text, as that of a word of a phrase: the mean log probability of its
        characters on the best path.
        """
        words = [list(word) for space, word in groupby(enumerate(text), lambda each: each[1] == SPACE) if not space]
        if frames_needed(text) > len(frames):
            return [IMPOSSIBLE] * len(words)
        spans = align(frames, self._classes(text))
        return [word_score([spans[place] for place, _ in word]) for word in words]

    def _classes(self, text: str) -> list[int]:
        return [label - 1 for label in self._labels.encode(text, text)]
