"""Scorers that are built from text, or from the transcripts of the training clips."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.decoding_spec import ScorerBuild
from speechmodel_decoding.text.normalise import TranscriptUnusable, normalise
from speechmodel_runtime.scorer import SPACE
from speechmodel_stagekit.dataset import Part, PreparedDataset

from speechmodel_pipeline.evaluation_report import BuiltFrom
from speechmodel_pipeline.language_model.kneser_ney import SPECIAL_WORDS, estimate
from speechmodel_pipeline.language_model.package import write_scorer

log = logging.getLogger(__name__)

NAMED = 3
"""Lines that are left out and named in the log."""


class TextUnusable(Exception):
    """No scorer can be built. The message continues a sentence that begins with the text's name."""


def build_scorer(
    wanted: ScorerBuild, text: Path | None, dataset: PreparedDataset, labels: Sequence[bytes], language: str, path: Path
) -> BuiltFrom:
    """Write a scorer for a model with these labels to `path`, from the file `text` or without one from
    the training transcripts.

    Raises TextUnusable when the text has no usable sentence, and OSError when it cannot be read.
    """
    if SPACE not in labels:
        raise TextUnusable("needs a model whose alphabet has the space; add it to dataset.alphabet")
    if text is None:
        spoken = (clip.transcript for clip in dataset.clips(Part.TRAIN) if CATCH_ALL not in clip.transcript)
        sentences, left_out = list(dict.fromkeys(spoken)), 0
    else:
        sentences, left_out = _sentences(text, {label.decode() for label in labels} - {CATCH_ALL}, language)
    if not sentences:
        raise TextUnusable("has no sentence in the alphabet of the model; write one sentence per line")
    model = estimate((sentence.split() for sentence in sentences), wanted.order)
    write_scorer(model, labels, path)
    built = BuiltFrom(
        sentences=len(sentences),
        left_out=left_out,
        words=len(model.vocabulary) - len(SPECIAL_WORDS),
        ngrams=tuple(len(each.words) for each in model.orders),
    )
    log.info("scorer built from %d sentences with %d words", built.sentences, built.words)
    return built


def _sentences(path: Path, alphabet: set[str], language: str) -> tuple[list[str], int]:
    """Return the normalised lines, and the number of those that cannot be written in the alphabet."""
    sentences: list[str] = []
    left_out = 0
    for number, line in _lines(path):
        try:
            usable = normalise(
                line, language=language, alphabet=alphabet, annotations=Annotations.STRIP, numbers=Numbers.SPELL
            )
        except TranscriptUnusable as unusable:
            left_out += 1
            if left_out <= NAMED:
                log.warning("%s line %d is left out: %s", path.name, number, unusable)
        else:
            sentences.append(usable.text)
    if left_out > NAMED:
        log.warning("%s: %d lines are left out", path.name, left_out)
    return sentences, left_out


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Return the lines with something in them, numbered from 1."""
    number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise TextUnusable(f"is not UTF-8 after line {number}; save it as UTF-8") from error
