"""prepare, from the input document to the finished folder `data/<key>/`.

    download the buckets -> list the recordings -> normalise the transcripts -> make the clips (in parallel)
    -> leave out what cannot be used -> divide -> add negatives and synthetic takes -> write

Every row that is left out is reported by file and row. With `invalidSamplePolicy: Fail` one of them
fails the stage.
"""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.dataset_spec import DatasetFormat, InvalidSamplePolicy
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.prepare import PrepareInput, PrepareOutput
from speechmodel_api.workspace import ALPHABET, CLIPS, Workspace
from speechmodel_decoding.text.normalise import Normalised, TranscriptUnusable
from speechmodel_decoding.text.rejections import RejectionReason, quoted
from speechmodel_decoding.text.settings import TextSettings, normalise_for
from speechmodel_runtime import WarningKind
from speechmodel_stagekit.alphabet import alphabet_digest, read_alphabet
from speechmodel_stagekit.artefacts import once
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.bounded import ERROR_BYTES, note, sentences
from speechmodel_pipeline.prepare.clips import ClipFile, CutUnusable, RecordingUnusable, make_clip
from speechmodel_pipeline.prepare.coverage import (
    Take,
    measure_coverage,
    missing_parts,
    rare_script,
    second_takes,
    summary,
    untrained_phrases,
)
from speechmodel_pipeline.prepare.cutting import make_cut_clips
from speechmodel_pipeline.prepare.downloads import Downloads
from speechmodel_pipeline.prepare.folder import PreparedClip, dataset_digest, speakers_digest, write_dataset
from speechmodel_pipeline.prepare.formats import list_recordings
from speechmodel_pipeline.prepare.negatives import make_negatives
from speechmodel_pipeline.prepare.other_speech import (
    OtherSpeech,
    find_other_speech,
    refuse_copies_of_clips,
    refuse_recordings_of_rows,
)
from speechmodel_pipeline.prepare.recordings import Listing, Recording
from speechmodel_pipeline.prepare.speakers import with_one_name_each
from speechmodel_pipeline.prepare.split import Candidate, divide
from speechmodel_pipeline.prepare.synthesis import Synthesized, synthesize_takes
from speechmodel_pipeline.prepare.takes import with_takes
from speechmodel_pipeline.prepare.words import with_unusable_words
from speechmodel_pipeline.prepare_report import (
    AudioKind,
    Change,
    Coverage,
    Doubt,
    PrepareReport,
    Rejection,
    SpeakerClips,
    SpeakerSource,
)
from speechmodel_pipeline.progress import Steps

log = logging.getLogger(__name__)

WITHOUT_AUDIO = frozenset(
    {
        RejectionReason.NO_RECORDING,
        RejectionReason.DUPLICATE_RECORDING,
        RejectionReason.EMPTY_AUDIO,
        RejectionReason.NOT_AUDIO,
        RejectionReason.SILENT,
        RejectionReason.TOO_SHORT,
        RejectionReason.TOO_LONG,
    }
)
"""Reasons of rows whose transcript is still to be recorded, unless another recording has it."""

Made = tuple[Recording, str, ClipFile]
"""A recording, its transcript as it is trained, and its clip."""


def prepare(task: PrepareInput) -> PrepareOutput:
    """Make the dataset in `data/<key>/`, unless it is complete.

    Raises BadData (InvalidDataset) when the source cannot be read as a dataset or no good row is
    left, and TryAgain (DownloadFailed) when a bucket cannot be read.
    """
    downloads = Downloads(task)

    def make(partial: Path) -> PrepareOutput:
        downloads.fetch()
        return _make(task, partial).model_copy(update={"listing_digest": downloads.digest})

    def is_current(output: PrepareOutput) -> bool:
        return task.pinned or output.listing_digest == downloads.digest

    folder = Workspace(task.workspace).data(task.key)
    output = once(folder, PrepareOutput, make, is_current)
    return with_unusable_words(output, task, read_alphabet(folder / ALPHABET))


@dataclass
class _Rows:
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


def _make(task: PrepareInput, folder: Path) -> PrepareOutput:
    if task.alphabet and " " not in task.alphabet:
        log.info("dataset.alphabet gets the space, which separates words, as its last label")
        task = task.model_copy(update={"alphabet": (*task.alphabet, " ")})
    listing, other = _list(task)
    if listing.layout:
        log.info("layout of the recordings: %s", listing.layout)
    if listing.speakers_from is SpeakerSource.GUESSED:
        log.info("the speakers are guessed from the file names; a column speaker in the table names them")
    for name in listing.ignored_folders:
        log.warning("the folder %s is not read, because another folder has the name of its part", name)
    for name in listing.unnamed_files:
        log.warning("no row names the recording %s; add a row or delete it", name)
    rows = _Rows(list(listing.rejected))
    texts = _normalise(listing.recordings, task, rows)
    made = _make_clips(texts, task, folder, rows)
    if other is not None:
        refuse_recordings_of_rows(other, [recording for recording, _, _ in made])
        refuse_copies_of_clips(other, {recording.name: clip for recording, _, clip in made}, task.speech_level)
    kept = _leave_out_duplicates(made, rows)
    rows.rejected.sort(key=lambda rejection: (rejection.file, rejection.row, rejection.recordings))
    for rejection in rows.rejected:
        log.warning("left out: %s", rejection)
    for doubt in rows.doubts:
        log.warning("check: %s", doubt)
    _require_good_rows(listing, kept, rows, task.invalid_sample_policy)
    spoken = _divide(kept, task)
    alphabet = task.alphabet or tuple(sorted({" ", *(character for clip in spoken for character in clip.transcript)}))
    made_negatives = make_negatives(
        spoken, folder, other, built_in=task.negatives.built_in, speech_level=task.speech_level
    )
    _reject_negatives(made_negatives.rejected, rows, task.invalid_sample_policy)
    if negatives := made_negatives.clips:
        alphabet = (*(label for label in alphabet if label != CATCH_ALL), CATCH_ALL)
    coverage = _cover(spoken, rows, task)
    log.info("coverage: %s", summary(coverage))
    for clip in coverage.suspicious:
        log.warning("check: %s", clip)
    for sentence in coverage.record_next:
        log.info("record next: %s", sentence)
    synthesized = _synthesize(spoken, folder, task, negatives=bool(negatives))
    if unread := synthesized.unread:
        log.warning(
            "phrases that no voice of espeak-ng for the language can read, and that get no synthetic takes: %d; record "
            "people saying them",
            len(unread),
        )
        sentence = _recorded_by_people(unread)
        coverage = coverage.model_copy(update={"record_next": (*coverage.record_next, sentence)})
    takes, negatives = synthesized.takes, [*negatives, *synthesized.near_misses]
    clips, parts = [*spoken, *takes, *negatives], Counter(clip.part for clip in spoken)
    report = PrepareReport(
        rows=listing.rows,
        recordings=len(listing.recordings),
        clips=len(spoken),
        negatives=len(negatives),
        synthesized=len(takes),
        parts={part: parts[part] for part in Part if part is not Part.NEGATIVES},
        alphabet=alphabet,
        audio=tuple(
            AudioKind(sample_rate=rate, channels=channels, format=kind, recordings=count)
            for (rate, channels, kind), count in sorted(rows.audio.items(), key=lambda item: (-item[1], item[0]))
        ),
        rejected=tuple(rows.rejected),
        doubts=tuple(rows.doubts),
        normalised=tuple(rows.changes),
        unnamed_files=listing.unnamed_files,
        speakers_from=listing.speakers_from,
        speakers=_speakers(clips),
        layout=listing.layout,
        coverage=coverage,
    )
    write_dataset(folder, clips, alphabet, report)
    return PrepareOutput(
        dataset_digest=dataset_digest(clips, alphabet),
        alphabet_digest=alphabet_digest(alphabet),
        labels=len(alphabet),
        train_clips=parts[Part.TRAIN],
        dev_clips=parts[Part.DEV],
        test_clips=parts[Part.TEST],
        seen_clips=parts[Part.SEEN],
        audio_seconds=round(sum(clip.file.seconds for clip in spoken), 3),
        negatives=len(negatives),
        synthesized=len(takes),
        rejected=len(rows.rejected),
        normalised=len(rows.changes),
        speakers=len(report.speakers),
        speakers_guessed=listing.speakers_from is SpeakerSource.GUESSED,
        speakers_digest=speakers_digest(clips),
        unseen_test_speakers=sum(
            bool(speaker.parts[Part.TEST]) and not speaker.parts[Part.TRAIN] for speaker in report.speakers
        ),
        speech_level=task.speech_level,
        given_alphabet=task.alphabet,
        annotations=task.annotations,
        numbers=task.numbers,
        note=note(listing, rows.rejected, len(_untrained(spoken, task))),
    )


def _list(task: PrepareInput) -> tuple[Listing, OtherSpeech | None]:
    try:
        listing = list_recordings(
            Path(task.source), task.format, task.language, task.name_pattern, only_inside=task.bucket is not None
        )
        listing = with_takes(listing, Path(task.source), lambda text: _normalised_or_given(text, task))
        listing = replace(listing, recordings=with_one_name_each(listing.recordings))
        if (other := find_other_speech(task)) is not None:
            unnamed = other.not_in_folder(listing.unnamed_files, Path(task.source))
            listing = replace(listing, unnamed_files=unnamed)
    except PermissionError as error:
        denied = f"{error.filename} cannot be read (permission denied for user {os.geteuid()})"
        raise BadData(Reason.INVALID_DATASET, f"{denied}; make it readable, as with `chmod -R a+rX`") from error
    return listing, other


def _normalise(recordings: Sequence[Recording], task: PrepareInput, rows: _Rows) -> list[tuple[Recording, str]]:
    texts: list[tuple[Recording, str]] = []
    for _, group in groupby(recordings, lambda recording: (recording.file, recording.row)):
        of_row = list(group)  # a row may have several recordings
        try:
            normalised = _normalised(of_row[0].transcript, task)
        except TranscriptUnusable as problem:
            several = f" ({len(of_row)} recordings)" if len(of_row) > 1 else ""
            rows.reject(problem.reason, f"{problem}{several}", *of_row)
            continue
        texts += [(recording, normalised.text) for recording in of_row]
        if normalised.rules:
            rows.changes.append(_change(of_row[0], normalised))
    return texts


def _normalised(transcript: str, task: PrepareInput) -> Normalised:
    settings = TextSettings(task.language, frozenset(task.alphabet), task.annotations, task.numbers)
    return normalise_for(settings, transcript)


def _normalised_or_given(transcript: str, task: PrepareInput) -> str:
    try:
        return _normalised(transcript, task).text
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


def _make_clips(texts: Sequence[tuple[Recording, str]], task: PrepareInput, folder: Path, rows: _Rows) -> list[Made]:
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


def _leave_out_duplicates(made: Sequence[Made], rows: _Rows) -> list[Made]:
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


def _require_good_rows(listing: Listing, kept: Sequence[Made], rows: _Rows, policy: InvalidSamplePolicy) -> None:
    if listing.rows == 0:
        raise BadData(Reason.INVALID_DATASET, "the dataset has no rows below its header; add rows")
    with_rejections = {(rejection.file, rejection.row) for rejection in rows.rejected}
    counted = f"{len(with_rejections)} rejected of {listing.rows} rows"
    if not kept:
        raise BadData(
            Reason.INVALID_DATASET, f"no usable row is left: {counted}; {sentences(rows.rejected, ERROR_BYTES)}"
        )
    if rows.rejected and policy is InvalidSamplePolicy.FAIL:
        raise BadData(
            Reason.INVALID_DATASET,
            f"{counted} and invalidSamplePolicy is Fail; {sentences(rows.rejected, ERROR_BYTES)}",
        )


def _reject_negatives(rejected: Sequence[Rejection], rows: _Rows, policy: InvalidSamplePolicy) -> None:
    for rejection in rejected:
        log.warning("left out: %s", rejection)
    rows.rejected += rejected
    if rejected and policy is InvalidSamplePolicy.FAIL:
        counted = f"{len(rejected)} of the negatives rejected and invalidSamplePolicy is Fail"
        raise BadData(Reason.INVALID_DATASET, f"{counted}; {sentences(rejected, ERROR_BYTES)}")


def _divide(kept: Sequence[Made], task: PrepareInput) -> list[PreparedClip]:
    drawn = divide(
        [Candidate(clip.digest, text, recording.speaker) for recording, text, clip in kept if recording.part is None],
        task.split,
    )
    clips = [
        PreparedClip(recording, text, clip, recording.part or drawn[clip.digest]) for recording, text, clip in kept
    ]
    if not any(clip.part is Part.TRAIN for clip in clips):
        raise BadData(
            Reason.INVALID_DATASET,
            "no clip is left to train on: the part train has no rows, or every one was rejected; the log has the reasons",
        )
    return clips


def _cover(clips: Sequence[PreparedClip], rows: _Rows, task: PrepareInput) -> Coverage:
    unrecorded = []
    for rejection in rows.rejected:
        if rejection.transcript is not None and rejection.reason in WITHOUT_AUDIO:
            with suppress(TranscriptUnusable):
                unrecorded.append(_normalised(rejection.transcript, task).text)
    takes = [
        Take(
            recording=clip.recording.name,
            file=clip.recording.file,
            row=clip.recording.row,
            transcript=clip.transcript,
            speaker=clip.recording.speaker,
            seconds=clip.file.seconds,
            sample_rate=clip.file.source.sample_rate,
            clipped=any(warning.kind is WarningKind.CLIPPED for warning in clip.file.warnings),
            speech=clip.file.speech,
        )
        for clip in clips
    ]
    measured = measure_coverage(takes, closed_set=task.format is DatasetFormat.COMMANDS, unrecorded=unrecorded)
    first = [*missing_parts(Counter(clip.part for clip in clips))]
    first += second_takes(_untrained(clips, task))
    if not task.alphabet:
        first += rare_script([(clip.recording.name, clip.transcript) for clip in clips])
    return measured.model_copy(update={"record_next": (*first, *measured.record_next)})


def _untrained(clips: Sequence[PreparedClip], task: PrepareInput) -> list[str]:
    """Return the phrases that training does not hear. Sentences of other formats than Commands are no phrases."""
    if task.format is not DatasetFormat.COMMANDS:
        return []
    return untrained_phrases([(clip.transcript, clip.part) for clip in clips])


def _synthesize(clips: Sequence[PreparedClip], folder: Path, task: PrepareInput, *, negatives: bool) -> Synthesized:
    if task.synthesize is None:
        return Synthesized([], [])
    return synthesize_takes(
        clips,
        folder,
        task.synthesize,
        task.language,
        speech_level=task.speech_level,
        closed_set=task.format is DatasetFormat.COMMANDS,
        negatives=negatives,
    )


def _recorded_by_people(unread: Sequence[str]) -> str:
    others, them = len(unread) - 1, "it" if len(unread) == 1 else "them"
    more = f" and {others} other phrase{'' if others == 1 else 's'}" if others else ""
    return f"{quoted(unread[0])}{more} by people: espeak-ng cannot read {them}"


def _speakers(clips: Sequence[PreparedClip]) -> tuple[SpeakerClips, ...]:
    counted: dict[str, Counter[Part]] = {}
    for clip in clips:
        if speaker := clip.recording.speaker:
            counted.setdefault(speaker, Counter())[clip.part] += 1
    return tuple(
        SpeakerClips(speaker=speaker, parts={part: parts[part] for part in Part})
        for speaker, parts in sorted(counted.items())
    )
