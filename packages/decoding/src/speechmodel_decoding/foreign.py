"""The decision in free text whether speech is like that of the dataset.

The score is that of a phrase of a grammar: the log probability of all paths that read as the text,
for each of its characters. It does not need a grammar, because the text itself takes the place of the
phrase.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from speechmodel_decoding.acoustic import AcousticModel, LogProbabilities
from speechmodel_decoding.alignment import forward_score
from speechmodel_decoding.beam_search import BeamSearch, Spelling
from speechmodel_decoding.features import Pcm
from speechmodel_decoding.labels import Labels

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

    def score(self, pcm: Pcm, text: str, times: Sequence[int]) -> float:
        """Return the score of a text that is not empty, with the frame of each character.

        `pcm` is int16 `[samples]` of one channel at 16 kHz. Raises AcousticModelError.
        """
        return self.score_frames(self.model.log_probabilities(pcm), text, times)

    def score_frames(self, frames: LogProbabilities, text: str, times: Sequence[int]) -> float:
        """Return the score of a text for the frames of its recording."""
        classes = [label - 1 for label in self._labels.encode(text, text)]
        return text_score(frames, classes, times)


@dataclass(frozen=True)
class ForeignSpeechFilter:
    """Tells foreign speech from speech like that of the dataset. Safe for any number of threads."""

    scorer: TextScorer
    threshold: float
    """Score below which a text is rejected."""

    def rejects(self, frames: LogProbabilities, text: str, times: Sequence[int]) -> bool:
        """Return True for a text that is not empty and whose score is below the threshold."""
        return self.scorer.score_frames(frames, text, times) < self.threshold


@dataclass(frozen=True)
class FreeTextRecogniser:
    """Recognises free text in frames. Safe for any number of threads."""

    search: BeamSearch
    foreign: ForeignSpeechFilter | None = None
    """Rejects foreign speech. None spells it."""

    def spell(self, frames: LogProbabilities) -> Spelling:
        """Return the text of the frames of a recording, empty for foreign speech that is rejected."""
        spelling = self.search.spell(frames)
        if spelling.text and self.foreign is not None and self.foreign.rejects(frames, spelling.text, spelling.frames):
            return Spelling((), ())
        return spelling
