"""Samples in, a phrase of the grammar or nothing out.

Shortest use:

    recogniser = Recogniser(AcousticModel(path), grammar, calibration)
    decision = recogniser.recognise(pcm)
    print(decision.text)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from speechmodel_api.audio import SAMPLE_RATE, STRIDE
from speechmodel_api.stages.decoders import Calibration

from speechmodel_decoding.acoustic import AcousticModel, LogProbabilities
from speechmodel_decoding.alignment import Span
from speechmodel_decoding.calibration import phrase_confidence, word_confidence
from speechmodel_decoding.decoder import Decoder, Phrase, word_score
from speechmodel_decoding.errors import GrammarFileError
from speechmodel_decoding.features import Pcm
from speechmodel_decoding.grammar import Grammar
from speechmodel_decoding.speech_time import speech_seconds, timed_score

_FRAME_SECONDS = STRIDE / SAMPLE_RATE


@dataclass(frozen=True)
class Word:
    """A word of a phrase or of free text."""

    text: str
    confidence: float
    """Probability from 0 to 1 that the word was said."""
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Candidate:
    """A phrase of the grammar, or free text, that fits the recording."""

    text: str
    score: float
    """The number that is compared with the threshold. 0 is best."""
    confidence: float
    """Probability from 0 to 1 that the text was said."""
    words: tuple[Word, ...]
    """The words of the text. Empty in free text for all but the best."""
    slots: dict[str, str]
    """The words in each slot of the phrase, by the slot's name."""
    intent: str | None = None
    """The intent of the phrase. None for a phrase without one."""


def only_intent(phrases: Iterable[Candidate]) -> str | None:
    """Return the intent of the only one of these phrases that has one. None if several have one, or none does."""
    intents = [phrase.intent for phrase in phrases if phrase.intent is not None]
    return intents[0] if len(intents) == 1 else None


@dataclass(frozen=True)
class Decision:
    """The answer to a recording."""

    text: str
    """The phrase that was said. Empty when it was none of the grammar's."""
    candidates: tuple[Candidate, ...]
    """Phrases that fit the recording, the best first, also when the best was rejected."""

    @property
    def accepted(self) -> Candidate | None:
        """The phrase that was said, or None."""
        return self.candidates[0] if self.text else None


class Recogniser:
    """Recognises the phrases of a grammar. Safe for any number of threads."""

    def __init__(self, model: AcousticModel, grammar: Grammar, calibration: Calibration) -> None:
        """Join a model, a grammar and a calibration. Raises GrammarFileError when they do not fit."""
        classes = len(grammar.about.alphabet) + 1
        if model.classes != classes:
            raise GrammarFileError(
                f"the grammar needs a model with {classes} classes, and this one has {model.classes}; evaluate it again"
            )
        self.model = model
        self.grammar = grammar
        self._calibration = calibration
        self._decoder = Decoder(grammar)

    def recognise(self, pcm: Pcm, *, alternatives: int = 1) -> Decision:
        """Return the decision on a recording, int16 `[samples]` of one channel at 16 kHz.

        Up to `alternatives` phrases are candidates. Raises AcousticModelError.
        """
        return self.decide(self.model.log_probabilities(pcm), pcm, alternatives=alternatives)

    def decide(self, frames: LogProbabilities, pcm: Pcm, *, alternatives: int = 1) -> Decision:
        """Return the decision on a recording and its frames."""
        phrases = self._decoder.decode(frames, alternatives=alternatives)
        seconds = speech_seconds(pcm) if phrases and self._calibration.speech_time else None
        candidates = tuple(self._candidate(phrase, seconds) for phrase in phrases)
        accepted = candidates and candidates[0].score >= self._calibration.threshold
        return Decision(candidates[0].text if accepted else "", candidates)

    def _candidate(self, phrase: Phrase, seconds: float | None) -> Candidate:
        score = phrase.score if seconds is None else timed_score(phrase, seconds)
        return Candidate(
            text=phrase.text,
            score=score,
            confidence=phrase_confidence(score, self._calibration),
            words=tuple(self._word(text, spans) for text, spans in phrase.words()),
            slots=self.grammar.filled_slots(phrase.text),
            intent=self.grammar.intent(phrase.text),
        )

    def _word(self, text: str, spans: Sequence[Span]) -> Word:
        return Word(
            text=text,
            confidence=word_confidence(word_score(spans), self._calibration),
            start_seconds=round(spans[0].first * _FRAME_SECONDS, 2),
            end_seconds=round((spans[-1].last + 1) * _FRAME_SECONDS, 2),
        )
