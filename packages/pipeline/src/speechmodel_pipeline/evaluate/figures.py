"""Word and character errors, counted by jiwer. Case does not count."""

from collections.abc import Sequence

import jiwer
from speechmodel_api.words import folded

from speechmodel_pipeline.evaluation_report import ClipResult, Errors

WORST = 20
"""Clips in the report's list of the worst."""


def clip_result(clip: str, seconds: float, reference: str, hypothesis: str, confidence: float) -> ClipResult:
    """Return the figures of one clip. `reference` must not be empty."""
    return ClipResult(
        clip=clip,
        seconds=round(seconds, 3),
        reference=reference,
        hypothesis=hypothesis,
        wer=round(jiwer.wer(folded(reference), folded(hypothesis)), 6),
        cer=round(jiwer.cer(folded(reference), folded(hypothesis)), 6),
        confidence=round(confidence, 6),
    )


def word_errors(results: Sequence[ClipResult]) -> Errors:
    """Return the word errors over all clips."""
    return _errors(jiwer.process_words(*_texts(results)))


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
