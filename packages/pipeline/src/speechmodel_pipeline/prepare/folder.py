"""The files of a prepared dataset, and the digest of its content.

clips/<audio digest>.wav            16 kHz, mono, 16 bit
train.csv  dev.csv  test.csv  seen.csv   in DeepSpeech's format, the shortest clip first; relative paths
alphabet.txt                        in DeepSpeech's format
registry.csv                        every clip with its origin, and every row that was rejected
report.json                         PrepareReport
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.workspace import ALPHABET, REGISTRY, REPORT, part_table
from speechmodel_runtime import AudioInfo
from speechmodel_stagekit.alphabet import write_alphabet
from speechmodel_stagekit.dataset import Part

from speechmodel_pipeline.prepare.clips import ClipFile
from speechmodel_pipeline.prepare.recordings import Recording
from speechmodel_pipeline.prepare_report import PrepareReport, Rejection

DEEPSPEECH_COLUMNS = ("wav_filename", "wav_filesize", "transcript")
REGISTRY_COLUMNS = (
    "source", "row", "id", "recording", "speaker", "recorded_as", "clip", "part", "sha256", "seconds",
    "transcript_given", "transcript", "rejected"
)  # fmt: skip
"""`recorded_as` is the kind of the recording, `sha256` is over the samples of the clip. `rejected`
is the reason; the columns from speaker to seconds, and transcript, are then empty."""


@dataclass(frozen=True)
class PreparedClip:
    """A clip of the dataset with its origin."""

    recording: Recording
    transcript: str
    """As it is trained."""
    file: ClipFile
    part: Part


def dataset_digest(clips: Iterable[PreparedClip], alphabet: Sequence[str]) -> str:
    """Return the sha256 over every clip's audio digest, transcript and part, and the alphabet.

    Names, order and folders of the files do not count: equal digests give equal models.
    """
    content = sorted([clip.file.digest, clip.transcript, clip.part.value] for clip in clips)
    return hashlib.sha256(json.dumps([content, list(alphabet)], ensure_ascii=False).encode()).hexdigest()


def speakers_digest(clips: Iterable[PreparedClip]) -> str | None:
    """Return the sha256 over the speaker of every clip that has one, or None if none has."""
    content = sorted([clip.file.digest, clip.recording.speaker] for clip in clips if clip.recording.speaker)
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest() if content else None


def write_dataset(folder: Path, clips: Sequence[PreparedClip], alphabet: Sequence[str], report: PrepareReport) -> None:
    """Write all files but the clips, which are written already."""
    for part in Part:
        _write_part(folder / part_table(part), [clip for clip in clips if clip.part is part])
    write_alphabet(folder / ALPHABET, alphabet)
    _write_registry(folder / REGISTRY, clips, report.rejected)
    (folder / REPORT).write_text(report.model_dump_json(by_alias=True, exclude_none=True, indent=1), encoding="utf-8")


def _write_part(path: Path, clips: Sequence[PreparedClip]) -> None:
    rows = sorted((clip.file.size_bytes, clip.file.name, clip.transcript) for clip in clips)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(DEEPSPEECH_COLUMNS)
        writer.writerows((name, size, transcript) for size, name, transcript in rows)


def _write_registry(path: Path, clips: Sequence[PreparedClip], rejected: Sequence[Rejection]) -> None:
    rows = [_used(clip) for clip in clips] + [row for rejection in rejected for row in _rejected(rejection)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, REGISTRY_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: (row["source"], row["row"], row["recording"])))


def _used(clip: PreparedClip) -> dict[str, str | int]:
    return {
        "source": clip.recording.file,
        "row": clip.recording.row,
        "id": clip.recording.id,
        "recording": clip.recording.name,
        "speaker": clip.recording.speaker or "",
        "recorded_as": _recorded_as(clip.file.source),
        "clip": clip.file.name,
        "part": clip.part.value,
        "sha256": clip.file.digest,
        "seconds": f"{clip.file.seconds:.3f}",
        "transcript_given": clip.recording.transcript,
        "transcript": clip.transcript,
    }


def _recorded_as(source: AudioInfo) -> str:
    channels = "1 channel" if source.channels == 1 else f"{source.channels} channels"
    return f"{source.sample_rate} Hz, {channels}, {source.format}"


def _rejected(rejection: Rejection) -> Iterator[dict[str, str | int]]:
    for recording in rejection.recordings or ("",):
        yield {
            "source": rejection.file,
            "row": rejection.row,
            "id": rejection.id or "",
            "recording": recording,
            "transcript_given": rejection.transcript or "",
            "rejected": rejection.reason.value,
        }
