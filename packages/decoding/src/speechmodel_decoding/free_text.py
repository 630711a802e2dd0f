"""Free text: the rejection of speech that is unlike that of the dataset, and confidences.

Both come from the scores of the text, as those of a phrase of a grammar do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from speechmodel_api.audio import SAMPLE_RATE, STRIDE
from speechmodel_api.stages.decoders import TextConfidence

from speechmodel_decoding.acoustic import LogProbabilities
from speechmodel_decoding.beam_search import BeamSearch, Spelling
from speechmodel_decoding.calibration import phrase_confidence, word_confidence
from speechmodel_decoding.recogniser import Candidate, Decision, Word
from speechmodel_decoding.text_scores import TextScorer

_FRAME_SECONDS = STRIDE / SAMPLE_RATE


@dataclass(frozen=True)
class TextJudge:
    """Tells foreign speech from speech like that of the dataset, and how sure a text is. Safe for any number of
    threads.
    """

    scorer: TextScorer
    threshold: float | None = None
    """Score below which a text is rejected. None rejects nothing."""
    confidences: TextConfidence | None = None
    """None for versions from before free text had confidences. decide() needs it."""

    def rejects(self, frames: LogProbabilities, spelling: Spelling) -> bool:
        """Return True for a text that is not empty and whose score is below the threshold."""
        return self.threshold is not None and self._score(frames, spelling) < self.threshold

    def decide(self, frames: LogProbabilities, spellings: Sequence[Spelling]) -> Decision:
        """Return the decision on texts of a recording, the best first. None of them is empty.

        The others are candidates in the order of their scores. The best alone has words.
        """
        best, *others = (self._candidate(frames, each) for each in spellings)
        others.sort(key=lambda other: -other.score)
        best = replace(best, words=self._words(frames, spellings[0]))
        rejected = self.threshold is not None and best.score < self.threshold
        return Decision("" if rejected else best.text, (best, *others))

    def _score(self, frames: LogProbabilities, spelling: Spelling) -> float:
        return self.scorer.score(frames, spelling.text, spelling.frames)

    def _candidate(self, frames: LogProbabilities, spelling: Spelling) -> Candidate:
        assert self.confidences is not None
        score = self._score(frames, spelling)
        return Candidate(spelling.text, score, phrase_confidence(score, self.confidences), words=(), slots={})

    def _words(self, frames: LogProbabilities, spelling: Spelling) -> tuple[Word, ...]:
        assert self.confidences is not None
        return tuple(
            Word(
                text=text,
                confidence=word_confidence(score, self.confidences),
                start_seconds=round(first * _FRAME_SECONDS, 2),
                end_seconds=round((last + 1) * _FRAME_SECONDS, 2),
            )
            for (text, first, last), score in zip(
                spelling.words(), self.scorer.word_scores(frames, spelling.text), strict=True
            )
        )


@dataclass(frozen=True)
class FreeTextRecogniser:
    """Recognises free text in frames. Safe for any number of threads."""

    search: BeamSearch
    judge: TextJudge | None = None
    """Rejects foreign speech. None spells it."""

    def spell(self, frames: LogProbabilities) -> Spelling:
        """Return the text of the frames of a recording, empty for foreign speech that is rejected."""
        spelling = self.search.spell(frames)
        if spelling.text and self.judge is not None and self.judge.rejects(frames, spelling):
            return Spelling((), ())
        return spelling
