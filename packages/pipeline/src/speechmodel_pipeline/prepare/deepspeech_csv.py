"""The format `DeepSpeechCSV`: ready-made `train.csv`, `dev.csv` and `test.csv` at the dataset's
root; the last two may be absent.

The columns `wav_filename` and `transcript` are found by name, and so is `speaker` or `client_id` if
there is one; others, also `wav_filesize`, are ignored. Paths are relative to the folder of the CSV
file, as in upstream, with slashes or backslashes. Absolute paths and those outside of the dataset's
folder are allowed on a claim, but not in a bucket, which others may be able to write. The part of a clip is that of its CSV file.
"""

from pathlib import Path

from speechmodel_api.workspace import part_table
from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_stagekit.dataset import Part

from speechmodel_pipeline.prepare.recordings import (
    Listing,
    Recording,
    is_absolute,
    is_file,
    is_inside,
    missing,
    path_below,
    printable,
)
from speechmodel_pipeline.prepare.speakers import SPEAKER_COLUMNS
from speechmodel_pipeline.prepare.table import Row, Table, read_table
from speechmodel_pipeline.prepare_report import Rejection, SpeakerSource

FILENAME, TRANSCRIPT = "wav_filename", "transcript"


def read_deepspeech(source: Path, *, only_inside: bool = False) -> Listing:
    """Return the dataset in `source`. With `only_inside`, rows that name a file outside of it are
    rejected. Raises BadData when it lacks `train.csv` or a column."""
    if not (source / part_table(Part.TRAIN)).is_file():
        raise missing(part_table(Part.TRAIN), source)
    rows = 0
    recordings: list[Recording] = []
    rejected: list[Rejection] = []
    for part in (Part.TRAIN, Part.DEV, Part.TEST):
        path = source / part_table(part)
        if not path.is_file():
            continue
        table = read_table(path, path.name)
        columns = table.column(FILENAME), table.column(TRANSCRIPT), table.find(*SPEAKER_COLUMNS)
        rows += len(table.rows) + len(table.malformed)
        rejected += table.malformed
        for row in table.rows:
            match _recording(source, table, row, columns, part, only_inside=only_inside):
                case Recording() as recording:
                    recordings.append(recording)
                case Rejection() as rejection:
                    rejected.append(rejection)
    named = any(recording.speaker for recording in recordings)
    return Listing(rows, tuple(recordings), tuple(rejected), speakers_from=SpeakerSource.COLUMN if named else None)


def _recording(
    source: Path, table: Table, row: Row, columns: tuple[str, str, str | None], part: Part, *, only_inside: bool
) -> Recording | Rejection:
    filename, text, speaker_column = columns
    name, transcript = row.cells[filename], row.cells[text]
    speaker = row.cells[speaker_column] or None if speaker_column else None
    path = path_below(source, name)
    if not name:
        problem = f"{FILENAME} is empty; give the path of the recording"
    elif only_inside and not is_inside(path, source):
        problem = f"the recording {name} is outside of the folder of the dataset; use a path relative to the CSV file"
    elif not is_file(path):
        advice = "use a path relative to the CSV file" if is_absolute(name) else "paths are relative to the CSV file"
        problem = f"the recording {name} is missing; {advice}"
    else:
        return Recording(table.name, row.line, name, path, printable(path, source), transcript, part, speaker)
    return Rejection(
        file=table.name,
        row=row.line,
        id=name,
        transcript=transcript,
        reason=RejectionReason.NO_RECORDING,
        message=problem,
    )
