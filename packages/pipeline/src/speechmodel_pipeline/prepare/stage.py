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
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.dataset_spec import DatasetFormat, InvalidSamplePolicy
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.prepare import PrepareInput, PrepareOutput
from speechmodel_api.workspace import ALPHABET, Workspace
from speechmodel_decoding.text.normalise import TranscriptUnusable
from speechmodel_decoding.text.rejections import RejectionReason, quoted
from speechmodel_runtime import WarningKind
from speechmodel_stagekit.alphabet import alphabet_digest, read_alphabet
from speechmodel_stagekit.artefacts import once
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.bounded import ERROR_BYTES, note, sentences
from speechmodel_pipeline.prepare.coverage import (
    Take,
    measure_coverage,
    missing_parts,
    more_takes,
    rare_script,
    summary,
    untrained_phrases,
)
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
from speechmodel_pipeline.prepare.recordings import Listing
from speechmodel_pipeline.prepare.rows import (
    Made,
    Rows,
    leave_out_duplicates,
    make_clips,
    normalise_rows,
    normalised_or_given,
    normalised_text,
)
from speechmodel_pipeline.prepare.speakers import with_one_name_each
from speechmodel_pipeline.prepare.split import Candidate, divide
from speechmodel_pipeline.prepare.synthesis import Synthesized, synthesize_takes
from speechmodel_pipeline.prepare.takes import with_takes
from speechmodel_pipeline.prepare.words import with_unusable_words
from speechmodel_pipeline.prepare_report import (
    AudioKind,
    Coverage,
    PrepareReport,
    Rejection,
    SpeakerClips,
    SpeakerSource,
)

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


@dataclass(frozen=True)
class _Clips:
    """The clips of a dataset by their origin."""

    spoken: list[PreparedClip]
    takes: list[PreparedClip]
    """Synthetic takes."""
    negatives: list[PreparedClip]

    @property
    def all(self) -> list[PreparedClip]:
        """All of them, in the order of the tables."""
        return [*self.spoken, *self.takes, *self.negatives]

    @property
    def parts(self) -> Counter[Part]:
        """Numbers of spoken clips by part."""
        return Counter(clip.part for clip in self.spoken)


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
    rows = Rows(list(listing.rejected))
    texts = normalise_rows(listing.recordings, task, rows)
    made = make_clips(texts, task, folder, rows)
    if other is not None:
        refuse_recordings_of_rows(other, [recording for recording, _, _ in made])
        refuse_copies_of_clips(other, {recording.name: clip for recording, _, clip in made}, task.speech_level)
    kept = leave_out_duplicates(made, rows)
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
    synthesized = _synthesize(spoken, folder, task, negatives=bool(negatives))
    coverage = _cover(spoken, _untrained(spoken, synthesized.takes, task), rows, task)
    log.info("coverage: %s", summary(coverage))
    for clip in coverage.suspicious:
        log.warning("check: %s", clip)
    for sentence in coverage.record_next:
        log.info("record next: %s", sentence)
    if unread := synthesized.unread:
        log.warning(
            "phrases that no voice of espeak-ng for the language can read, and that get no synthetic takes: %d; record "
            "people saying them",
            len(unread),
        )
        sentence = _recorded_by_people(unread)
        coverage = coverage.model_copy(update={"record_next": (*coverage.record_next, sentence)})
    clips = _Clips(spoken, synthesized.takes, [*negatives, *synthesized.near_misses])
    report = _report(listing, rows, clips, alphabet, coverage)
    write_dataset(folder, clips.all, alphabet, report)
    return _output(task, listing, rows, clips, report)


def _list(task: PrepareInput) -> tuple[Listing, OtherSpeech | None]:
    try:
        listing = list_recordings(
            Path(task.source), task.format, task.language, task.name_pattern, only_inside=task.bucket is not None
        )
        listing = with_takes(listing, Path(task.source), lambda text: normalised_or_given(text, task))
        listing = replace(listing, recordings=with_one_name_each(listing.recordings))
        if (other := find_other_speech(task)) is not None:
            unnamed = other.not_in_folder(listing.unnamed_files, Path(task.source))
            listing = replace(listing, unnamed_files=unnamed)
    except PermissionError as error:
        denied = f"{error.filename} cannot be read (permission denied for user {os.geteuid()})"
        raise BadData(Reason.INVALID_DATASET, f"{denied}; make it readable, as with `chmod -R a+rX`") from error
    return listing, other


def _require_good_rows(listing: Listing, kept: Sequence[Made], rows: Rows, policy: InvalidSamplePolicy) -> None:
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


def _reject_negatives(rejected: Sequence[Rejection], rows: Rows, policy: InvalidSamplePolicy) -> None:
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


def _cover(clips: Sequence[PreparedClip], untrained: Sequence[str], rows: Rows, task: PrepareInput) -> Coverage:
    unrecorded = []
    for rejection in rows.rejected:
        if rejection.transcript is not None and rejection.reason in WITHOUT_AUDIO:
            with suppress(TranscriptUnusable):
                unrecorded.append(normalised_text(rejection.transcript, task).text)
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
    divided = any(clip.recording.part is None and clip.transcript in untrained for clip in clips)
    first += more_takes(untrained, divided=divided)
    if not task.alphabet:
        first += rare_script([(clip.recording.name, clip.transcript) for clip in clips])
    return measured.model_copy(update={"record_next": (*first, *measured.record_next)})


def _untrained(spoken: Sequence[PreparedClip], takes: Sequence[PreparedClip], task: PrepareInput) -> list[str]:
    """Return the phrases that training does not hear, not even in synthetic takes. Sentences of other formats than Commands
    are no phrases.
    """
    if task.format is not DatasetFormat.COMMANDS:
        return []
    return untrained_phrases([(clip.transcript, clip.part) for clip in (*spoken, *takes)])


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


def _report(
    listing: Listing, rows: Rows, clips: _Clips, alphabet: tuple[str, ...], coverage: Coverage
) -> PrepareReport:
    return PrepareReport(
        rows=listing.rows,
        recordings=len(listing.recordings),
        clips=len(clips.spoken),
        negatives=len(clips.negatives),
        synthesized=len(clips.takes),
        parts={part: clips.parts[part] for part in Part if part is not Part.NEGATIVES},
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
        speakers=_speakers(clips.all),
        layout=listing.layout,
        coverage=coverage,
    )


def _output(task: PrepareInput, listing: Listing, rows: Rows, clips: _Clips, report: PrepareReport) -> PrepareOutput:
    return PrepareOutput(
        dataset_digest=dataset_digest(clips.all, report.alphabet),
        alphabet_digest=alphabet_digest(report.alphabet),
        labels=len(report.alphabet),
        train_clips=clips.parts[Part.TRAIN],
        dev_clips=clips.parts[Part.DEV],
        test_clips=clips.parts[Part.TEST],
        seen_clips=clips.parts[Part.SEEN],
        audio_seconds=round(sum(clip.file.seconds for clip in clips.spoken), 3),
        negatives=len(clips.negatives),
        synthesized=len(clips.takes),
        rejected=len(rows.rejected),
        normalised=len(rows.changes),
        speakers=len(report.speakers),
        speakers_guessed=listing.speakers_from is SpeakerSource.GUESSED,
        speakers_digest=speakers_digest(clips.all),
        unseen_test_speakers=sum(
            bool(speaker.parts[Part.TEST]) and not speaker.parts[Part.TRAIN] for speaker in report.speakers
        ),
        speech_level=task.speech_level,
        given_alphabet=task.alphabet,
        annotations=task.annotations,
        numbers=task.numbers,
        note=note(listing, rows.rejected, len(_untrained(clips.spoken, clips.takes, task))),
    )


def _speakers(clips: Sequence[PreparedClip]) -> tuple[SpeakerClips, ...]:
    counted: dict[str, Counter[Part]] = {}
    for clip in clips:
        if speaker := clip.recording.speaker:
            counted.setdefault(speaker, Counter())[clip.part] += 1
    return tuple(
        SpeakerClips(speaker=speaker, parts={part: parts[part] for part in Part})
        for speaker, parts in sorted(counted.items())
    )
