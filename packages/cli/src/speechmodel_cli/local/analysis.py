"""The analysis of a dataset by the program of prepare, in a temporary workspace that is removed."""

import tempfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from speechmodel_api.dataset_spec import InvalidSamplePolicy
from speechmodel_api.progress import StepProgress, parse_progress
from speechmodel_api.reasons import Reason
from speechmodel_api.workspace import REPORT, Workspace
from speechmodel_pipeline.prepare_report import PrepareReport
from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.stage import Outputs
from speechmodel_plan.task import Owner, Task

from speechmodel_cli.local import programs
from speechmodel_cli.local.child import Child
from speechmodel_cli.local.errors import DatasetUnusable
from speechmodel_cli.local.model import LocalModel
from speechmodel_cli.local.object_store import reading_access

LOG_LINES = 5
"""Lines of the log that an error shows when the program ended without a result."""


async def analyse(model: LocalModel, progressed: Callable[[StepProgress], None]) -> PrepareReport:
    """Return the report of prepare on the dataset of `model`.

    Rejected rows are in the report also where `invalidSamplePolicy` is Fail. The clips need about
    120 MB for each hour of recordings in the folder for temporary files. Raises DatasetUnusable or
    another LocalError.
    """
    model.require_dataset()
    model.require_negatives()
    program = programs.command(PREPARE.program)
    bucket = PREPARE.bucket(model.spec)
    access = reading_access(bucket, PREPARE.negatives_bucket(model.spec))
    place = f"s3://{bucket.bucket}/{bucket.prefix}" if bucket else str(model.dataset)
    with tempfile.TemporaryDirectory(prefix="speechmodel-") as temporary:
        folder = Path(temporary)
        result, log = folder / "result.json", folder / "log"
        task = Task(
            Owner(model.namespace, model.name, uid=""),
            model.spec,
            workspace=PurePosixPath(folder / "workspace"),
            dataset=PurePosixPath(model.dataset),
            negatives=PurePosixPath(model.negatives) if model.negatives else None,
        )
        document = PREPARE.document(task, 1, Outputs()).model_copy(
            update={"invalid_sample_policy": InvalidSamplePolicy.REJECT}
        )
        child = await Child.start(
            program,
            environment=programs.environment(document, result, access),
            folder=folder,
            log=log,
            on_line=lambda line: _on_line(line, progressed),
        )
        try:
            code = await child.wait()
        finally:
            child.kill()
            await child.wait()
        if code != 0:
            raise DatasetUnusable(_problem(code, result, log, place))
        return PrepareReport.model_validate_json(
            (Workspace(document.workspace).data(document.key) / REPORT).read_bytes()
        )


def _on_line(line: str, progressed: Callable[[StepProgress], None]) -> None:
    record = parse_progress(line)
    if isinstance(record, StepProgress):
        progressed(record)


def _problem(code: int, result: Path, log: Path, dataset: str) -> str:
    error = programs.reported_error(result)
    if error is None:
        last = " | ".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:])
        return f"{dataset}: prepare ended with code {code} and without a result: {last}"
    if error.reason == Reason.STORAGE_FULL:
        return f"{tempfile.gettempdir()} has no room for the clips; set TMPDIR to a folder with more room"
    return f"{dataset}: {error.reason}: {error.message}"
