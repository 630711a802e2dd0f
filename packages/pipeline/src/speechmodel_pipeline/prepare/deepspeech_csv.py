"""The format `DeepSpeechCSV`: ready-made `train.csv`, `dev.csv` and `test.csv` at the dataset's root; the last two may be absent.

Columns `wav_filename` and `transcript`, found by name; others, `wav_filesize` too, are ignored. Paths are relative to the CSV's
folder, as upstream has it. Which part a clip belongs to is what its file says.
"""

from pathlib import Path

from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.report import Reason, Rejection
from speechmodel_pipeline.prepare.samples import Listing, Part, Sample, is_file, missing, printable
from speechmodel_pipeline.prepare.table import Row, Table, read_table

FILENAME, TRANSCRIPT = "wav_filename", "transcript"


def read_deepspeech(source: Path) -> Listing:
    """The dataset in `source`; BadData when it lacks `train.csv` or a column."""
    if not (source / f"{Part.TRAIN}.csv").is_file():
        raise missing(f"{Part.TRAIN}.csv", source)
    rows = 0
    samples: list[Sample] = []
    rejected: list[Rejection] = []
    for part in Part:
        path = source / f"{part}.csv"
        if not path.is_file():
            continue
        table = read_table(path, path.name)
        _require_columns(table)
        rows += len(table.rows) + len(table.malformed)
        rejected += table.malformed
        for row in table.rows:
            match _sample(source, table, row, part):
                case Sample() as sample:
                    samples.append(sample)
                case Rejection() as rejection:
                    rejected.append(rejection)
    return Listing(rows, tuple(samples), tuple(rejected))


def _require_columns(table: Table) -> None:
    if absent := [column for column in (FILENAME, TRANSCRIPT) if column not in table.columns]:
        header = ", ".join(table.columns)
        raise BadData("InvalidDataset", f"{table.name} has no column {absent[0]}; its first line names: {header}")


def _sample(source: Path, table: Table, row: Row, part: Part) -> Sample | Rejection:
    name = row.cells[FILENAME]
    path = source / name
    if not name:
        problem = f"{FILENAME} is empty"
    elif not is_file(path):
        advice = (
            "paths relative to the CSV file travel with it"
            if Path(name).is_absolute()
            else "paths are relative to the CSV file"
        )
        problem = f"the recording {name} is missing; {advice}"
    else:
        return Sample(table.name, row.line, name, path, printable(path, source), row.cells[TRANSCRIPT], part)
    return Rejection(
        file=table.name,
        row=row.line,
        id=name,
        transcript=row.cells[TRANSCRIPT],
        reason=Reason.NO_RECORDING,
        message=problem,
    )
