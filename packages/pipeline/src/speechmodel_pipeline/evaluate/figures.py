"""Word and character errors, counted by jiwer. Case does not count."""

from collections.abc import Mapping, Sequence, Set

import jiwer
import numpy as np
from numpy.typing import NDArray
from speechmodel_api.measures import ErrorRate
from speechmodel_api.stages.decoders import TextConfidence
from speechmodel_api.stages.evaluate import GrammarFigures
from speechmodel_api.words import folded
from speechmodel_decoding import Decision, expected_calibration_error, phrase_confidence

from speechmodel_pipeline.evaluation_report import ClipResult, Errors

RESAMPLES = 2000
"""Resamples of the bootstrap. More change the ends of the interval by less than a percent of it."""
CHANCE = 0.05
"""Probability of a test without any error (or with an error in every clip) at the end of the interval."""
WORST = 20
"""Clips in the report's list of the worst."""


def clip_result(
    clip: str, seconds: float, reference: str, hypothesis: str, confidence: float, unseen: bool | None
) -> ClipResult:
    """Return the figures of one clip. `reference` must not be empty."""
    return ClipResult(
        clip=clip,
        seconds=round(seconds, 3),
        reference=reference,
        hypothesis=hypothesis,
        wer=round(word_error_share(reference, hypothesis), 6),
        cer=round(jiwer.cer(folded(reference), folded(hypothesis)), 6),
        confidence=round(confidence, 6),
        unseen_speaker=unseen,
    )


def with_grammar(free: ClipResult, decision: Decision, *, foreign: bool) -> ClipResult:
    """Return the figures of a clip that was decoded as free text, as the grammar decides it."""
    best = decision.candidates[0] if decision.candidates else None
    decided = clip_result(
        free.clip, free.seconds, free.reference, decision.text, best.confidence if best else 0.0, free.unseen_speaker
    )
    return decided.model_copy(
        update={
            "foreign": foreign,
            "free_text": free.hypothesis,
            "intent": decision.accepted.intent if decision.accepted else None,
            "phrase": best.text if best else None,
            "score": round(best.score, 6) if best else None,
        }
    )


def with_confidence(
    free: ClipResult, score: float | None, confidence: TextConfidence, threshold: float | None, *, foreign: bool
) -> ClipResult:
    """Return the figures of a clip in free text with its score and confidence. Below `threshold`, its text is rejected;
    None rejects nothing.
    """
    rejected = threshold is not None and (score is None or score < threshold)
    sure = 0.0 if score is None else phrase_confidence(score, confidence)
    decided = clip_result(
        free.clip, free.seconds, free.reference, "" if rejected else free.hypothesis, sure, free.unseen_speaker
    )
    return decided.model_copy(
        update={
            "foreign": foreign,
            "free_text": None if threshold is None else free.hypothesis,
            "score": None if score is None else round(score, 6),
        }
    )


def grammar_figures(
    phrases: Sequence[ClipResult], foreign: Sequence[ClipResult], recorded: Set[str] = frozenset()
) -> GrammarFigures:
    """Return the counts for clips of phrases, and for clips of anything else. `recorded` are the names of clips of
    recordings of other speech.
    """
    people = [result for result in foreign if result.clip in recorded]
    right = sum(same_text(result.hypothesis, result.reference) for result in phrases)
    rejected = sum(not result.hypothesis for result in phrases)
    fitting = [result for result in (*phrases, *foreign) if result.phrase is not None]
    error = (
        expected_calibration_error(
            [result.confidence for result in fitting],
            [same_text(result.phrase or "", result.reference) for result in fitting],
        )
        if fitting
        else None
    )
    return GrammarFigures(
        right=right,
        wrong=len(phrases) - right - rejected,
        rejected=rejected,
        foreign=len(foreign),
        accepted=sum(bool(result.hypothesis) for result in foreign),
        recorded=len(people) or None,
        recorded_accepted=sum(bool(result.hypothesis) for result in people) if people else None,
        calibration_error=None if error is None else round(error, 6),
    )


def same_text(one: str, other: str) -> bool:
    """Return True for texts without differences that count: one of them is then right for the other."""
    return folded(one) == folded(other)


def word_error_share(reference: str, hypothesis: str) -> float:
    """Return the word error rate of one text. `reference` must not be empty."""
    return float(jiwer.wer(folded(reference), folded(hypothesis)))


def right_words(reference: str, hypothesis: str) -> list[bool]:
    """Return True for each word of the hypothesis that was said. `reference` must not be empty."""
    chunks = jiwer.process_words(folded(reference), folded(hypothesis)).alignments[0]
    return [chunk.type == "equal" for chunk in chunks for _ in range(chunk.hyp_start_idx, chunk.hyp_end_idx)]


def text_calibration_error(results: Sequence[ClipResult]) -> float | None:
    """Return the expected calibration error of the confidences of free text. Empty texts do not count."""
    texts = [(result, result.hypothesis if result.free_text is None else result.free_text) for result in results]
    heard = [(result, text) for result, text in texts if text]
    if not heard:
        return None
    right = [same_text(text, result.reference) for result, text in heard]
    return round(expected_calibration_error([result.confidence for result, _ in heard], right), 6)


def word_errors(results: Sequence[ClipResult]) -> Errors:
    """Return the word errors over all clips."""
    return _errors(jiwer.process_words(*_texts(results)))


def word_error_rate(
    results: Sequence[ClipResult], speakers: Mapping[str, str], *, speakers_guessed: bool = False
) -> ErrorRate | None:
    """Return the word error rate with its 95 % interval, or None without clips. `speakers` are those of clips by name.

    The interval is the percentile bootstrap (Efron 1979) over speakers and then over the clips of each one drawn, since
    clips of one voice are alike. If no clip or every clip has an error, resamples tell nothing: the other end of the interval is then
    the rate of such clips at which so many in a row have a chance of 5 % (about three divided by the clips).
    """
    if not results:
        return None
    counted = [jiwer.process_words(*texts) for texts in zip(*_texts(results), strict=True)]
    words = np.array([clip.hits + clip.substitutions + clip.deletions for clip in counted])
    errors = np.array([clip.substitutions + clip.deletions + clip.insertions for clip in counted])
    voices = np.unique([speakers.get(result.clip, "") for result in results], return_inverse=True)[1]
    low, high = np.percentile(_resampled(errors, words, voices), (2.5, 97.5))
    if not errors.any():
        high = 1 - CHANCE ** (1 / len(results))
    elif (errors >= words).all():
        low = CHANCE ** (1 / len(results))
    return ErrorRate(
        rate=round(float(errors.sum() / words.sum()), 6),
        low=round(float(low), 6),
        high=round(float(high), 6),
        clips=len(results),
        speakers_guessed=speakers_guessed or None,
    )


def _resampled(errors: NDArray[np.int64], words: NDArray[np.int64], voices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the error rates of RESAMPLES resamples. The arrays have the errors, words and speaker's number of each clip."""
    order = np.argsort(voices, kind="stable")
    clips_of = np.bincount(voices)
    first = np.cumsum(clips_of) - clips_of
    random = np.random.default_rng(0)

    def rate() -> float:
        drawn = random.integers(len(clips_of), size=len(clips_of))
        sizes = clips_of[drawn]
        clips = order[np.repeat(first[drawn], sizes) + random.integers(np.repeat(sizes, sizes))]
        return float(errors[clips].sum() / words[clips].sum())

    return np.array([rate() for _ in range(RESAMPLES)])


def character_errors(results: Sequence[ClipResult]) -> Errors:
    """Return the character errors over all clips, spaces included."""
    return _errors(jiwer.process_characters(*_texts(results)))


def worst(results: Sequence[ClipResult]) -> tuple[ClipResult, ...]:
    """Return the clips with the most word errors per word, the worst first."""
    wrong = sorted(
        (result for result in results if result.wer), key=lambda result: (-result.wer, -result.cer, result.clip)
    )
    return tuple(wrong[:WORST])


def _texts(results: Sequence[ClipResult]) -> tuple[list[str], list[str]]:
    return [folded(result.reference) for result in results], [folded(result.hypothesis) for result in results]


def _errors(output: jiwer.WordOutput | jiwer.CharacterOutput) -> Errors:
    return Errors(
        substitutions=output.substitutions, deletions=output.deletions, insertions=output.insertions, hits=output.hits
    )
