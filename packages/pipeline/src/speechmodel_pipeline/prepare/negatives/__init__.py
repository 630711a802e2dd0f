"""Negatives: speech that is no transcript of the dataset, which training learns as the catch-all
label.

Length, bandwidth and level of a negative are those of a training clip that is drawn for it, so that
nothing but its words tells it from a command. Words, or recordings, are joined until they fill the
length, and cut there. Of a recording that is longer than the clip, the negative has speech from a place
that is drawn, and one of more than LONGEST_SECONDS makes several negatives (passages.py). A recording is
read when it is drawn.
"""

import csv
import logging
import math
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
from speechmodel_api.reasons import Reason
from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_runtime import AudioInfo, Pcm, WarningKind, decode, level, load
from speechmodel_runtime.errors import AudioError
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.clips import LONGEST_SECONDS, REASONS, RecordingUnusable, write_clip
from speechmodel_pipeline.prepare.folder import PreparedClip
from speechmodel_pipeline.prepare.other_speech import OtherSpeech
from speechmodel_pipeline.prepare.passages import Slot, excerpt, passages
from speechmodel_pipeline.prepare.recordings import Recording
from speechmodel_pipeline.prepare_report import NEGATIVES, Rejection

log = logging.getLogger(__name__)

TRAINING_SHARE = 4
"""Training clips for each negative of built-in words in training: enough to learn the label, and an epoch
takes a quarter longer. Recordings without built-in words are used more than once if they are fewer."""
HELD_OUT_SHARE = 5
"""One of so many words or recordings is never trained on and makes the part `negatives`."""

SLOT_SECONDS = 10.0
"""Seconds of a long recording for each of its negatives, so that they are of different sentences."""
ROOM = 2.0
"""Seconds of a long recording for each second of the longest clip, as people make pauses."""
MOST_OF_ONE = 100
"""Negatives of one recording: others are as many other voices."""

Samples = npt.NDArray[np.float32]
"""Audio at 16 kHz."""


@dataclass(frozen=True)
class _Word:
    name: str
    read: Callable[[], Samples]
    """Return the samples. Raises AudioError or RecordingUnusable."""
    recorded: bool = True
    """It is a recording, of which any passage may be used."""


@dataclass(frozen=True)
class _Long:
    """A recording that makes several negatives."""

    path: Path
    name: str
    seconds: float


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
    models = [clip for clip in clips if clip.part is Part.TRAIN]
    share = len(models) // TRAINING_SHARE
    if not share:
        return Made([], [])
    recordings, long = _by_length(other) if other else ([], [])
    to_train = len(recordings) - _held_out(len(recordings))
    wanted = min(to_train if package else max(to_train, share), len(models)) if recordings else 0
    if other is not None and wanted < to_train:
        log.info("%s: training has %d of %d recordings, one for each clip", other.field, wanted, to_train)
    rejected: list[Rejection] = []
    made = list(_draw(package, share, models, folder, speech_level, rejected))
    own = list(_draw(recordings, wanted, models, folder, speech_level, rejected))
    trained = sum(clip.part is Part.TRAIN for clip in own)
    own += _take_passages(long, len(models) - trained, models, folder, speech_level, rejected)
    in_training = {clip.recording.name for clip in own if clip.part is Part.TRAIN} & {
        recording.name for recording in long
    }
    if other is not None and long:
        log.info("%s: training has passages of %d of %d long recordings", other.field, len(in_training), len(long))
    if other is not None and not own:
        raise BadData(
            Reason.INVALID_DATASET,
            f"{other.field}: no recording in {other.place} can be used; the first: {rejected[0].message}",
        )
    if other is not None and not any(clip.part is Part.TRAIN for clip in own):
        log.warning("%s: the recordings that can be used are held out, so training has none; add more", other.field)
    made += own
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
    held_out = _held_out(len(words))
    for part, pool, number in (
        (Part.TRAIN, words[held_out:], count),
        (Part.NEGATIVES, words[:held_out], max(-(-count // HELD_OUT_SHARE), 1)),
    ):
        stream = _stream(pool, rejected)
        for index in range(number):
            if clip := _negative(stream, chance.choice(models), folder, part, speech_level, f"{part} {index}"):
                yield clip


def _by_length(other: OtherSpeech) -> tuple[list[_Word], list[_Long]]:
    """Return the recordings of at most LONGEST_SECONDS and the longer ones, by their headers."""
    short, long = [], []
    for (path, name), seconds in zip(other.recordings, other.lengths, strict=True):
        if seconds > LONGEST_SECONDS:
            long.append(_Long(path, name, seconds))
        else:
            short.append(_Word(name, partial(_load, path, name)))
    return short, long


def _take_passages(
    recordings: list[_Long],
    wanted: int,
    models: Sequence[PreparedClip],
    folder: Path,
    speech_level: float | None,
    rejected: list[Rejection],
) -> Iterator[PreparedClip]:
    """Yield up to `wanted` negatives of long recordings to be trained on, and one in HELD_OUT_SHARE of recordings that are
    held out. Of a single one, the end is held out.
    """
    chance = random.Random(0)  # noqa: S311 - no secret
    chance.shuffle(recordings)
    count, held_out = len(recordings), _held_out(len(recordings))
    roomy = ROOM * max(clip.file.seconds for clip in models)
    left = {Part.TRAIN: wanted, Part.NEGATIVES: -(-wanted // HELD_OUT_SHARE)}
    most = {
        part: -(-left[part] // max(of_part, 1))
        for part, of_part in zip(left, (count - held_out, held_out), strict=True)
    }
    for index, recording in enumerate(recordings):
        kept = recording.seconds * (index < held_out)
        if count == 1:
            kept = max(recording.seconds / HELD_OUT_SHARE, min(roomy, recording.seconds / 2))
        divided = recording.seconds - kept
        planned = [
            (slot, part)
            for part, start, end in ((Part.TRAIN, 0.0, divided), (Part.NEGATIVES, divided, recording.seconds))
            for slot in _slots(start, end, min(most[part], left[part]), roomy)
        ]
        if not planned:
            continue
        likes = [chance.choice(models) for _ in planned]
        slots = [Slot(*times, _length(model)) for (times, _), model in zip(planned, likes, strict=True)]
        found: list[int] = []
        try:
            for pcm, slot, (_, part), model in zip(
                passages(recording.path, recording.name, slots), slots, planned, likes, strict=True
            ):
                found.append(len(pcm))
                if len(pcm) == slot.samples:
                    left[part] -= 1
                    yield _shaped([(recording.name, pcm.astype(np.float32))], model, folder, part, speech_level)
            if all(samples < slot.samples for samples, slot in zip(found, slots, strict=True)):
                rejected.append(_without_passage(recording, found, slots))
        except AudioError as error:
            rejected.append(_rejection(recording.name, REASONS[type(error)], str(error)))


def _slots(start: float, end: float, number: int, roomy: float) -> list[tuple[float, float]]:
    """Return beginning and end of up to `number` stretches of equal length, each of at least `roomy` seconds if there are
    several.
    """
    most = min(math.ceil((end - start) / SLOT_SECONDS), max(int((end - start) // roomy), 1))
    count = min(number, MOST_OF_ONE, most)
    length = (end - start) / max(count, 1)
    return [(start + index * length, start + (index + 1) * length) for index in range(count)]


def _without_passage(recording: _Long, found: Sequence[int], slots: Sequence[Slot]) -> Rejection:
    """Return why a recording has no passage: `found` are the samples of speech in each slot."""
    if not any(found):
        silent = f"{recording.name}: nobody seems to speak in it; replace it or remove it"
        return _rejection(recording.name, RejectionReason.SILENT, silent)
    samples, slot = min(zip(found, slots, strict=True), key=lambda each: each[1].samples - each[0])
    short = (
        f"{recording.name}: nobody speaks long enough; from {slot.start:.0f} s to {slot.end:.0f} s, it has {samples / SAMPLE_RATE:.1f} s "
        f"of speech without pauses, and a clip of the dataset has {slot.samples / SAMPLE_RATE:.1f} s; replace it or remove it"
    )
    return _rejection(recording.name, RejectionReason.TOO_SHORT, short)


def _held_out(count: int) -> int:
    """Return how many of so many words or recordings are never trained on."""
    return max(count // HELD_OUT_SHARE, min(count, 1))


def _stream(words: Sequence[_Word], rejected: list[Rejection]) -> Iterator[tuple[_Word, Samples]]:
    """Yield word and samples of the words again and again, without those that cannot be read."""
    while words:
        usable = []
        for word in words:
            try:
                samples = word.read()
            except AudioError as error:
                rejected.append(_rejection(word.name, REASONS[type(error)], str(error)))
                continue
            except RecordingUnusable as problem:
                rejected.append(_rejection(word.name, problem.reason, str(problem)))
                continue
            usable.append(word)
            yield word, samples
        words = usable


def _rejection(name: str, reason: RejectionReason, message: str) -> Rejection:
    return Rejection(file=NEGATIVES, row=0, recordings=(name,), reason=reason, message=message)


def _negative(
    words: Iterator[tuple[_Word, Samples]],
    model: PreparedClip,
    folder: Path,
    part: Part,
    dbfs: float | None,
    seed: str,
) -> PreparedClip | None:
    """Return a negative with the length, the bandwidth and the level of `model`, or None without words.

    `seed` draws the passage of a recording that is longer.
    """
    wanted = _length(model)
    taken: list[tuple[str, Samples]] = []
    while sum(len(samples) for _, samples in taken) < wanted:
        if (drawn := next(words, None)) is None:
            return None
        word, samples = drawn
        if word.recorded and len(samples) > wanted:
            spoken = excerpt(samples.astype(np.int16), wanted, seed)
            samples = spoken.astype(np.float32) if len(spoken) else samples
        taken.append((word.name, samples))
    return _shaped(taken, model, folder, part, dbfs)


def _shaped(
    taken: Sequence[tuple[str, Samples]], model: PreparedClip, folder: Path, part: Part, dbfs: float | None
) -> PreparedClip:
    """Return a negative of these words, which fill the length of `model`."""
    like = load(folder / model.file.name).astype(np.float32)
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


def _length(clip: PreparedClip) -> int:
    """Return the samples of a clip."""
    return round(clip.file.seconds * SAMPLE_RATE)


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
        return _Word(name, lambda: audio[start : start + samples], recorded=False)

    return tuple(word(f"{row['voice']}/{row['text']}", int(row["start"]), int(row["samples"])) for row in rows)


def _load(path: Path, name: str) -> Samples:
    audio = decode(path, name=name, max_seconds=LONGEST_SECONDS)
    for warning in audio.warnings:
        if warning.kind is WarningKind.SILENT:
            raise RecordingUnusable(RejectionReason.SILENT, f"{name}: {warning.message}")
    return audio.pcm.astype(np.float32)
