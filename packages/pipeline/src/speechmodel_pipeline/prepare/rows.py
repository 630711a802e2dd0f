"""Rows of a dataset on their way to clips: their transcripts normalised, their recordings read, copies left out.

A row that cannot be used is noted in Rows with the reason, and the others go on.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from speechmodel_api.stages.prepare import PrepareInput
from speechmodel_api.workspace import CLIPS
from speechmodel_decoding.text.normalise import Normalised, TranscriptUnusable
from speechmodel_decoding.text.rejections import RejectionReason, quoted
from speechmodel_decoding.text.settings import TextSettings, normalise_for
from speechmodel_stagekit.cpus import available_cpus

from speechmodel_pipeline.prepare.clips import ClipFile, CutUnusable, RecordingUnusable, make_clip
from speechmodel_pipeline.prepare.cutting import make_cut_clips
from speechmodel_pipeline.prepare.recordings import Recording
from speechmodel_pipeline.prepare_report import Change, Doubt, Rejection
from speechmodel_pipeline.progress import Steps

Made = tuple[Recording, str, ClipFile]
"""A recording, its transcript as it is trained, and its clip."""


@dataclass
class Rows:
    """The rejections, changes, doubts and kinds of audio of the rows so far."""

    rejected: list[Rejection]
    changes: list[Change] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    audio: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    """Recordings by rate, channels and format."""

    def reject(self, reason: RejectionReason, message: str, *recordings: Recording) -> None:
        """Leave out these recordings of one row."""
        first = recordings[0]
        self.rejected.append(
            Rejection(
                file=first.file,
                row=first.row,
                id=first.id,
                recordings=tuple(recording.name for recording in recordings),
                transcript=first.transcript,
                reason=reason,
                message=message,
            )
        )


def normalise_rows(recordings: Sequence[Recording], task: PrepareInput, rows: Rows) -> list[tuple[Recording, str]]:
    """Return the recordings whose transcript can be used, each with its transcript as it is trained."""
    texts: list[tuple[Recording, str]] = []
    for _, group in groupby(recordings, lambda recording: (recording.file, recording.row)):
        of_row = list(group)  # a row may have several recordings
        try:
            normalised = normalised_text(of_row[0].transcript, task)
        except TranscriptUnusable as problem:
            several = f" ({len(of_row)} recordings)" if len(of_row) > 1 else ""
            rows.reject(problem.reason, f"{problem}{several}", *of_row)
            continue
        texts += [(recording, normalised.text) for recording in of_row]
        if normalised.rules:
            rows.changes.append(_change(of_row[0], normalised))
    return texts


def normalised_text(transcript: str, task: PrepareInput) -> Normalised:
    """Return a transcript by the settings of the dataset. Raises TranscriptUnusable."""
    settings = TextSettings(task.language, frozenset(task.alphabet), task.annotations, task.numbers)
    return normalise_for(settings, transcript)


def normalised_or_given(transcript: str, task: PrepareInput) -> str:
    """Return a transcript as it is trained, or as it is if it cannot be used."""
    try:
        return normalised_text(transcript, task).text
    except TranscriptUnusable:
        return transcript


def _change(recording: Recording, normalised: Normalised) -> Change:
    return Change(
        file=recording.file,
        row=recording.row,
        given=recording.transcript,
        used=normalised.text,
        rules=tuple(rule.value for rule in normalised.rules),
    )


def make_clips(texts: Sequence[tuple[Recording, str]], task: PrepareInput, folder: Path, rows: Rows) -> list[Made]:
    """Write the clips, several at a time, and return those of the recordings that could be read."""
    (folder / CLIPS).mkdir()
    steps = Steps(len(texts), "recordings")

    def attempt(places: Sequence[int]) -> list[ClipFile | RecordingUnusable]:
        try:
            first, text = texts[places[0]]
            if first.cut is not None:
                return make_cut_clips([texts[place] for place in places], folder, task.speech_level)
            return [make_clip(first, text, folder, task.speech_level)]
        except RecordingUnusable as problem:
            return [problem]
        finally:
            for _ in places:
                steps.advance()

    files = _of_one_file([recording for recording, _ in texts])
    results: dict[int, ClipFile | RecordingUnusable] = {}
    with ThreadPoolExecutor(available_cpus(), thread_name_prefix="clip") as pool:
        for places, found in zip(files, pool.map(attempt, files), strict=True):
            results |= zip(places, found, strict=True)
    made = []
    for place, (recording, text) in enumerate(texts):
        result = results[place]
        if isinstance(result, RecordingUnusable):
            cut = recording.cut if isinstance(result, CutUnusable) else None
            wrong = replace(recording, file=cut.file, row=cut.row) if cut else recording
            rows.reject(result.reason, str(result), wrong)
        else:
            rows.audio[result.source.sample_rate, result.source.channels, result.source.format] += 1
            rows.doubts += _doubts(recording, result)
            made.append((recording, text, result))
    return made


def _of_one_file(recordings: Sequence[Recording]) -> list[list[int]]:
    """Return the places of the recordings in order: one for each file, and all utterances that are cut from a channel."""
    together: dict[object, list[int]] = {}
    for place, recording in enumerate(recordings):
        file = place if recording.cut is None else (recording.path, recording.cut.channel)
        together.setdefault(file, []).append(place)
    return list(together.values())


def _doubts(recording: Recording, clip: ClipFile) -> list[Doubt]:
    return [
        Doubt(file=recording.file, row=recording.row, recording=recording.name, kind=w.kind, message=w.message)
        for w in clip.warnings
    ]


def leave_out_duplicates(made: Sequence[Made], rows: Rows) -> list[Made]:
    """Keep the first of recordings with equal samples, so that no clip is in two parts."""
    first: dict[str, tuple[Recording, str]] = {}
    kept = []
    for recording, text, clip in made:
        earlier, earlier_text = first.setdefault(clip.digest, (recording, text))
        if earlier is recording:
            kept.append((recording, text, clip))
            continue
        but = "" if earlier_text == text else f" but another transcript ({quoted(earlier_text)})"
        same = f"{recording.name} is the same recording as {earlier.name} ({earlier.file} row {earlier.row}){but}"
        rows.reject(RejectionReason.DUPLICATE_RECORDING, f"{same}; delete one of the two", recording)
    return kept
