"""Negatives: speech that is no transcript of the dataset, which training learns as the catch-all
label.

Length, bandwidth and level of a negative are those of a training clip that is drawn for it, so that
nothing but its words tells it from a command. Words, or recordings, are joined until they fill the
length, and cut there. A recording is read when it is drawn.
"""

import csv
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_runtime import AudioInfo, Pcm, level, load
from speechmodel_runtime.errors import AudioError
from speechmodel_stagekit.dataset import Part

from speechmodel_pipeline.prepare.clips import LONGEST_SECONDS, REASONS, write_clip
from speechmodel_pipeline.prepare.folder import PreparedClip
from speechmodel_pipeline.prepare.other_speech import OtherSpeech
from speechmodel_pipeline.prepare.recordings import Recording
from speechmodel_pipeline.prepare_report import NEGATIVES, Rejection

log = logging.getLogger(__name__)

TRAINING_SHARE = 4
"""Training clips for each negative of built-in words in training: enough to learn the label, and an epoch
takes a quarter longer. Recordings without built-in words are used more than once if they are fewer."""
HELD_OUT_SHARE = 5
"""One of so many words or recordings is never trained on and makes the part `negatives`."""

Samples = npt.NDArray[np.float32]
"""Audio at 16 kHz."""


@dataclass(frozen=True)
class _Word:
    name: str
    read: Callable[[], Samples]
    """Return the samples. Raises AudioError."""


@dataclass(frozen=True)
class Made:
    """The negatives of a dataset."""

    clips: list[PreparedClip]
    """To be trained on, or in a part of their own."""
    rejected: list[Rejection]
    """Recordings that were drawn and cannot be used."""


def make_negatives(
    clips: Sequence[PreparedClip],
    folder: Path,
    other: OtherSpeech | None,
    *,
    built_in: bool,
    speech_level: float | None,
) -> Made:
    """Return the negatives for these clips, written below `folder`. There are none for fewer than
    TRAINING_SHARE training clips.

    Training gets every recording of `other` that is not held out, but at most one for each of its clips, and with
    `built_in` words of no language too. `speech_level` is the level that the clips were brought to.
    """
    package = _built_in({word for clip in clips for word in clip.transcript.split()}) if built_in else []
    recordings = [_Word(name, partial(_load, path, name)) for path, name in other.recordings] if other else []
    models = [clip for clip in clips if clip.part is Part.TRAIN]
    share = len(models) // TRAINING_SHARE
    if not share:
        return Made([], [])
    to_train = len(recordings) - _held_out(recordings)
    wanted = min(to_train if package else max(to_train, share), len(models))
    if other is not None and wanted < to_train:
        log.info("%s: training has %d of %d recordings, one for each clip", other.field, wanted, to_train)
    made: list[PreparedClip] = []
    rejected: list[Rejection] = []
    for words, count in ((package, share), (recordings, wanted)):
        made += _draw(words, count, models, folder, speech_level, rejected)
    return Made(list({clip.file.digest: clip for clip in made}.values()), rejected)


def _draw(
    words: list[_Word],
    count: int,
    models: Sequence[PreparedClip],
    folder: Path,
    speech_level: float | None,
    rejected: list[Rejection],
) -> Iterator[PreparedClip]:
    """Yield `count` negatives to be trained on, and one in HELD_OUT_SHARE for the part of their own."""
    chance = random.Random(0)  # noqa: S311 - no secret
    chance.shuffle(words)
    held_out = _held_out(words)
    for part, pool, number in (
        (Part.TRAIN, words[held_out:], count),
        (Part.NEGATIVES, words[:held_out], max(-(-count // HELD_OUT_SHARE), 1)),
    ):
        stream = _stream(pool, rejected)
        for _ in range(number):
            if clip := _negative(stream, chance.choice(models), folder, part, speech_level):
                yield clip


def _held_out(words: Sequence[_Word]) -> int:
    """Return how many of the words are never trained on."""
    return max(len(words) // HELD_OUT_SHARE, min(len(words), 1))


def _stream(words: Sequence[_Word], rejected: list[Rejection]) -> Iterator[tuple[str, Samples]]:
    """Yield name and samples of the words again and again, without those that cannot be read."""
    while words:
        usable = []
        for word in words:
            try:
                samples = word.read()
            except AudioError as error:
                reason = REASONS[type(error)]
                rejected.append(
                    Rejection(file=NEGATIVES, row=0, recordings=(word.name,), reason=reason, message=str(error))
                )
                continue
            usable.append(word)
            yield word.name, samples
        words = usable


def _negative(
    words: Iterator[tuple[str, Samples]], model: PreparedClip, folder: Path, part: Part, dbfs: float | None
) -> PreparedClip | None:
    """Return a negative with the length, the bandwidth and the level of `model`, or None without words."""
    like = load(folder / model.file.name).astype(np.float32)
    taken: list[tuple[str, Samples]] = []
    while sum(len(samples) for _, samples in taken) < len(like):
        if (drawn := next(words, None)) is None:
            return None
        taken.append(drawn)
    samples = np.concatenate([samples / np.float32(_rms(samples)) for _, samples in taken])[: len(like)]
    rate = min(model.file.source.sample_rate, SAMPLE_RATE)
    if rate < SAMPLE_RATE:
        narrow = soxr.resample(samples, SAMPLE_RATE, rate)
        samples = np.resize(soxr.resample(narrow, rate, SAMPLE_RATE), len(like))
    samples *= np.float32(_rms(like) / _rms(samples))
    pcm: Pcm = np.clip(np.rint(samples), -(2**15), 2**15 - 1).astype(np.int16)
    name = " ".join(name for name, _ in taken)
    recording = Recording(NEGATIVES, 0, "", folder, name, CATCH_ALL, part)
    return PreparedClip(
        recording, CATCH_ALL, write_clip(level(pcm, dbfs), folder, AudioInfo(rate, 1, len(pcm), "negative")), part
    )


def _rms(samples: Samples) -> float:
    return max(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))), 1e-9)


def _built_in(transcripts: set[str]) -> list[_Word]:
    """Return the words of the package that are in no transcript."""
    return [word for word in _package_words() if word.name.split("/")[1] not in transcripts]


@cache
def _package_words() -> tuple[_Word, ...]:
    package = files(__name__)
    with package.joinpath("negatives.ogg").open("rb") as file:
        audio, _ = soundfile.read(file, dtype="float32")
    with package.joinpath("negatives.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))

    def word(name: str, start: int, samples: int) -> _Word:
        return _Word(name, lambda: audio[start : start + samples])

    return tuple(word(f"{row['voice']}/{row['text']}", int(row["start"]), int(row["samples"])) for row in rows)


def _load(path: Path, name: str) -> Samples:
    return load(path, name=name, max_seconds=LONGEST_SECONDS).astype(np.float32)
