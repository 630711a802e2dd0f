"""The files of a prepared dataset, and the digest that names its content.

clips/<audio digest>.wav            16 kHz, mono, 16 bit
train.csv  dev.csv  test.csv        as DeepSpeech has them, shortest clip first; paths relative to the folder
alphabet.txt                        as DeepSpeech has it
registry.csv                        what became of every row of the source, and of every recording of it
report.json                         PrepareReport
"""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechmodel_runtime import AudioInfo
from speechmodel_stagekit.alphabet import write_alphabet

from speechmodel_pipeline.prepare.clips import Clip
from speechmodel_pipeline.prepare.report import PrepareReport, Rejection
from speechmodel_pipeline.prepare.samples import Part, Sample

DEEPSPEECH_COLUMNS = ("wav_filename", "wav_filesize", "transcript")
REGISTRY_COLUMNS = (
    "source", "row", "id", "recording", "recorded_as", "clip", "part", "sha256", "seconds", "transcript_given", "transcript", "rejected"
)  # fmt: skip
"""`recorded_as` is what the recording was before it became a clip, `sha256` is over the clip's samples; `rejected` is the reason,
and recorded_as to seconds are then empty, transcript too."""


@dataclass(frozen=True)
class PreparedClip:
    """A clip of the dataset."""

    sample: Sample
    transcript: str
    """As it is trained."""
    clip: Clip
    part: Part


def dataset_digest(clips: Iterable[PreparedClip], alphabet: Sequence[str]) -> str:
    """sha256 over every clip's audio digest, transcript and part, and the alphabet.

    Neither names nor order nor the place of the files count: equal digests train the same.
    """
    content = sorted([clip.clip.digest, clip.transcript, clip.part.value] for clip in clips)
    return hashlib.sha256(json.dumps([content, list(alphabet)], ensure_ascii=False).encode()).hexdigest()


def write_dataset(folder: Path, clips: Sequence[PreparedClip], alphabet: Sequence[str], report: PrepareReport) -> None:
    """Write all files but the clips, which are there."""
    for part in Part:
        _write_part(folder / f"{part}.csv", [clip for clip in clips if clip.part is part])
    write_alphabet(folder / "alphabet.txt", alphabet)
    _write_registry(folder / "registry.csv", clips, report.rejected)
    (folder / "report.json").write_text(
        report.model_dump_json(by_alias=True, exclude_none=True, indent=1), encoding="utf-8"
    )


def _write_part(path: Path, clips: Sequence[PreparedClip]) -> None:
    rows = sorted((clip.clip.size_bytes, clip.clip.name, clip.transcript) for clip in clips)
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
        "source": clip.sample.file,
        "row": clip.sample.row,
        "id": clip.sample.id,
        "recording": clip.sample.name,
        "recorded_as": _recorded_as(clip.clip.source),
        "clip": clip.clip.name,
        "part": clip.part.value,
        "sha256": clip.clip.digest,
        "seconds": f"{clip.clip.seconds:.3f}",
        "transcript_given": clip.sample.transcript,
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
