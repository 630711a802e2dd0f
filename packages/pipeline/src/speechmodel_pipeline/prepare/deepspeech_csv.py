"""The format `DeepSpeechCSV`: ready-made `train.csv`, `dev.csv` and `test.csv` at the dataset's
root; the last two may be absent.

The columns `wav_filename` and `transcript` are found by name; others, also `wav_filesize`, are
ignored. Paths are relative to the folder of the CSV file, as in upstream. The part of a clip is
that of its CSV file.
"""

from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_api.workspace import part_table
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.recordings import Listing, Recording, is_file, missing, printable
from speechmodel_pipeline.prepare.report import Rejection, RejectionReason
from speechmodel_pipeline.prepare.table import Row, Table, read_table

FILENAME, TRANSCRIPT = "wav_filename", "transcript"


def read_deepspeech(source: Path) -> Listing:
    """Return the dataset in `source`. Raises BadData when it lacks `train.csv` or a column."""
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
        _require_columns(table)
        rows += len(table.rows) + len(table.malformed)
        rejected += table.malformed
        for row in table.rows:
            match _recording(source, table, row, part):
                case Recording() as recording:
                    recordings.append(recording)
                case Rejection() as rejection:
                    rejected.append(rejection)
    return Listing(rows, tuple(recordings), tuple(rejected))


def _require_columns(table: Table) -> None:
    if absent := [column for column in (FILENAME, TRANSCRIPT) if column not in table.columns]:
        header = ", ".join(table.columns)
        raise BadData(Reason.INVALID_DATASET, f"{table.name} has no column {absent[0]}; its first line names: {header}")


def _recording(source: Path, table: Table, row: Row, part: Part) -> Recording | Rejection:
    name = row.cells[FILENAME]
    path = source / name
    if not name:
        problem = f"{FILENAME} is empty; give the path of the recording"
    elif not is_file(path):
        advice = (
            "use a path relative to the CSV file" if Path(name).is_absolute() else "paths are relative to the CSV file"
        )
        problem = f"the recording {name} is missing; {advice}"
    else:
        return Recording(table.name, row.line, name, path, printable(path, source), row.cells[TRANSCRIPT], part)
    return Rejection(
        file=table.name,
        row=row.line,
        id=name,
        transcript=row.cells[TRANSCRIPT],
        reason=RejectionReason.NO_RECORDING,
        message=problem,
    )
