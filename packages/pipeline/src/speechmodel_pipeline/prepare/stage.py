"""prepare, from the input document to the finished folder `data/<key>/`.

    list the samples -> normalise the transcripts -> make the clips (in parallel) -> leave out what cannot be used
    -> divide -> write

Every row that is left out is reported by file and row; with `invalidSamplePolicy: Fail` one of them is enough to fail.
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, groupby
from pathlib import Path

from speechmodel_api.spec import DatasetFormat, InvalidSamplePolicy
from speechmodel_api.stages import PrepareInput, PrepareOutput
from speechmodel_stagekit.alphabet import alphabet_digest
from speechmodel_stagekit.artefacts import once
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.clips import Clip, RecordingUnusable, make_clip
from speechmodel_pipeline.prepare.commands_csv import read_commands
from speechmodel_pipeline.prepare.deepspeech_csv import read_deepspeech
from speechmodel_pipeline.prepare.folder import PreparedClip, dataset_digest, write_dataset
from speechmodel_pipeline.prepare.report import AudioKind, Change, PrepareReport, Reason, Rejection, quoted
from speechmodel_pipeline.prepare.samples import Listing, Part, Sample
from speechmodel_pipeline.prepare.split import divide
from speechmodel_pipeline.prepare.transcripts import Normalised, TranscriptUnusable, normalise
from speechmodel_pipeline.progress import Steps

log = logging.getLogger(__name__)

NOTE_BYTES, ERROR_BYTES = 500, 1200
"""What is told of rejections must fit RESULT_LIMIT, as JSON writes it; report.json and the log have all of it."""


def prepare(task: PrepareInput) -> PrepareOutput:
    """The dataset in `data/<key>/`, made unless it is there already.

    Raises BadData("InvalidDataset") when the source cannot be read as a dataset or no good row is left.
    """
    return once(Path(task.workspace) / "data" / task.key, PrepareOutput, lambda folder: _make(task, folder))


@dataclass
class _Rows:
    """What becomes of the samples on their way."""

    rejected: list[Rejection]
    changes: list[Change] = field(default_factory=list)
    audio: Counter[tuple[int, int, str]] = field(default_factory=Counter)
    """Recordings by rate, channels and format."""

    def reject(self, reason: Reason, message: str, *recordings: Sample) -> None:
        """Leave out these recordings of one row."""
        sample = recordings[0]
        self.rejected.append(
            Rejection(
                file=sample.file,
                row=sample.row,
                id=sample.id,
                recordings=tuple(recording.name for recording in recordings),
                transcript=sample.transcript,
                reason=reason,
                message=message,
            )
        )


def _make(task: PrepareInput, folder: Path) -> PrepareOutput:
    listing = _list(task)
    rows = _Rows(list(listing.rejected))
    texts = _normalise(listing.samples, task, rows)
    made = _make_clips(texts, folder, rows)
    kept = _leave_out_duplicates(made, rows)
    rows.rejected.sort(key=lambda rejection: (rejection.file, rejection.row, rejection.recordings))
    for rejection in rows.rejected:
        log.warning("left out: %s", rejection)
    _require_good_rows(listing, kept, rows, task.invalid_sample_policy)
    clips = _divide(kept, task)
    alphabet = task.alphabet or tuple(sorted({character for clip in clips for character in clip.transcript}))
    parts = Counter(clip.part for clip in clips)
    report = PrepareReport(
        rows=listing.rows,
        recordings=len(listing.samples),
        clips=len(clips),
        parts={part: parts[part] for part in Part},
        alphabet=alphabet,
        audio=tuple(
            AudioKind(sample_rate=rate, channels=channels, format=kind, recordings=count)
            for (rate, channels, kind), count in sorted(rows.audio.items(), key=lambda item: (-item[1], item[0]))
        ),
        rejected=tuple(rows.rejected),
        normalised=tuple(rows.changes),
        unnamed_files=listing.unnamed_files,
    )
    write_dataset(folder, clips, alphabet, report)
    note = f"{len(rows.rejected)} rejected; first: {_told(rows.rejected[:1], NOTE_BYTES)}" if rows.rejected else ""
    return PrepareOutput(
        dataset_digest=dataset_digest(clips, alphabet),
        alphabet_digest=alphabet_digest(alphabet),
        labels=len(alphabet),
        train_clips=parts[Part.TRAIN],
        dev_clips=parts[Part.DEV],
        test_clips=parts[Part.TEST],
        audio_seconds=round(sum(clip.clip.seconds for clip in clips), 3),
        rejected=len(rows.rejected),
        normalised=len(rows.changes),
        note=note,
    )


def _list(task: PrepareInput) -> Listing:
    source = Path(task.source)
    match task.format:
        case DatasetFormat.COMMANDS:
            return read_commands(source, task.language)
        case DatasetFormat.DEEPSPEECH_CSV:
            return read_deepspeech(source)


def _normalise(samples: Sequence[Sample], task: PrepareInput, rows: _Rows) -> list[tuple[Sample, str]]:
    alphabet = frozenset(task.alphabet)
    texts: list[tuple[Sample, str]] = []
    for _, of_row in groupby(samples, lambda sample: (sample.file, sample.row)):  # a row may have several recordings
        recordings = list(of_row)
        try:
            normalised = normalise(recordings[0].transcript, language=task.language, alphabet=alphabet)
        except TranscriptUnusable as problem:
            several = f" ({len(recordings)} recordings)" if len(recordings) > 1 else ""
            rows.reject(problem.reason, f"{problem}{several}", *recordings)
            continue
        texts += [(sample, normalised.text) for sample in recordings]
        if normalised.rules:
            rows.changes.append(_change(recordings[0], normalised))
    return texts


def _change(sample: Sample, normalised: Normalised) -> Change:
    return Change(
        file=sample.file,
        row=sample.row,
        given=sample.transcript,
        used=normalised.text,
        rules=tuple(rule.value for rule in normalised.rules),
    )


def _make_clips(texts: Sequence[tuple[Sample, str]], folder: Path, rows: _Rows) -> list[tuple[Sample, str, Clip]]:
    (folder / "clips").mkdir()
    steps = Steps(len(texts), "recordings")

    def attempt(pair: tuple[Sample, str]) -> Clip | RecordingUnusable:
        sample, text = pair
        try:
            return make_clip(sample, text, folder)
        except RecordingUnusable as problem:
            return problem
        finally:
            steps.advance()

    made = []
    with ThreadPoolExecutor(available_cpus(), thread_name_prefix="clip") as pool:
        for (sample, text), result in zip(texts, pool.map(attempt, texts), strict=True):
            if isinstance(result, RecordingUnusable):
                rows.reject(result.reason, str(result), sample)
                continue
            rows.audio[result.source.sample_rate, result.source.channels, result.source.format] += 1
            made.append((sample, text, result))
    return made


def _leave_out_duplicates(made: Sequence[tuple[Sample, str, Clip]], rows: _Rows) -> list[tuple[Sample, str, Clip]]:
    """Every recording once: of equal samples the first row counts, so that none is trained on and measured with."""
    first: dict[str, tuple[Sample, str]] = {}
    kept = []
    for sample, text, clip in made:
        earlier, said = first.setdefault(clip.digest, (sample, text))
        if earlier is sample:
            kept.append((sample, text, clip))
            continue
        but = "" if said == text else f" but another transcript ({quoted(said)})"
        problem = f"{sample.name} is the same recording as {earlier.name} ({earlier.file} row {earlier.row}){but}; delete one of the two"
        rows.reject(Reason.DUPLICATE_RECORDING, problem, sample)
    return kept


def _require_good_rows(
    listing: Listing, kept: Sequence[tuple[Sample, str, Clip]], rows: _Rows, policy: InvalidSamplePolicy
) -> None:
    if listing.rows == 0:
        raise BadData("InvalidDataset", "the dataset has no rows below its header")
    with_rejections = {(rejection.file, rejection.row) for rejection in rows.rejected}
    counted = f"{len(with_rejections)} rejected of {listing.rows} rows"
    if not kept:
        raise BadData("InvalidDataset", f"no good row is left: {counted}; {_told(rows.rejected, ERROR_BYTES)}")
    if rows.rejected and policy is InvalidSamplePolicy.FAIL:
        raise BadData(
            "InvalidDataset", f"{counted} and invalidSamplePolicy is Fail; {_told(rows.rejected, ERROR_BYTES)}"
        )


def _divide(kept: Sequence[tuple[Sample, str, Clip]], task: PrepareInput) -> list[PreparedClip]:
    drawn = divide((clip.digest for sample, _, clip in kept if sample.part is None), task.split)
    clips = [PreparedClip(sample, text, clip, sample.part or drawn[clip.digest]) for sample, text, clip in kept]
    if not any(clip.part is Part.TRAIN for clip in clips):
        raise BadData(
            "InvalidDataset", "no clip is left to train on: every row of train.csv was rejected; the log says why"
        )
    return clips


def _told(rejected: Sequence[Rejection], most_bytes: int) -> str:
    """As many of the rejections as fit, the first cut where it must be, and how many more there are."""
    told = ""
    for count, rejection in enumerate(rejected):
        sentence = f"; {rejection}" if told else _beginning(str(rejection), most_bytes)
        if told and _json_bytes(told + sentence) > most_bytes:
            return f"{told}; and {len(rejected) - count} more"
        told += sentence
    return told


def _beginning(text: str, most_bytes: int) -> str:
    if _json_bytes(text) <= most_bytes:
        return text
    fitting = sum(end <= most_bytes for end in accumulate(map(_json_bytes, text)))
    return f"{text[:fitting]} ..."


def _json_bytes(text: str) -> int:
    """What it takes in the result: JSON writes a control character in six bytes."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - len('""')
