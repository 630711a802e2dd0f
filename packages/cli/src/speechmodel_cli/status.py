"""`speechmodel status`: the columns of `kubectl get speechmodels`, for the models that ran here."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text
from speechmodel_api.crd import COLUMNS
from speechmodel_api.status import ConditionType, SpeechModelStatus, StageState

from speechmodel_cli import wording
from speechmodel_cli.local.errors import LocalError, StateBusy
from speechmodel_cli.local.state import ModelState, known_models


def status(folder: Path, name: str | None) -> int:
    """Print the table, and with a name the model's conditions. Return 1 when there is nothing to show."""
    models = [state for state in known_models(folder) if name in (None, state.name)]
    if not models:
        what = f"no model {name}" if name else "no models"
        sys.stderr.write(
            f"{what} in {folder.absolute()}; run `speechmodel run MANIFEST` to create one, or give another folder with --state\n"
        )
        return 1
    console = Console(soft_wrap=True, highlight=False)
    try:
        _show_table(console, models)
        if name:
            _show_conditions(console, models[0].read_status())
    except LocalError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def row(state: ModelState, now: datetime) -> list[str]:
    """Return one model's cells. `(guessed)` marks a figure for speakers that were guessed from the names of files."""
    recorded = state.read_status()
    record = state.known_record()
    ready = recorded.condition(ConditionType.READY)
    model = recorded.model
    unseen = model.wer_unseen_speakers if model else None
    created = wording.age(record.created_at, now) if record else ""
    return [
        state.name,
        _phase(state, recorded),
        recorded.progress or "",
        f"{model.wer:g}" if model and model.wer is not None else "",
        f"{unseen.rate:g}{' (guessed)' if unseen.speakers_guessed else ''}" if unseen else "",
        model.version if model else "",
        ready.status if ready else "",
        created,
    ]


def _show_table(console: Console, models: list[ModelState]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="")
    for column in ("Name", *(name for name, _, _ in COLUMNS)):
        table.add_column(column.upper(), no_wrap=True)
    now = datetime.now(UTC)
    for state in models:
        table.add_row(*(Text(cell) for cell in row(state, now)))
    console.print(table)


def _show_conditions(console: Console, recorded: SpeechModelStatus) -> None:
    console.print()
    for condition in recorded.conditions:
        console.print(Text(f"{condition.type:<13} {condition.status:<6} {condition.reason:<20} {condition.message}"))


def _phase(state: ModelState, recorded: SpeechModelStatus) -> str:
    """Return the recorded phase, with `(stopped)` when the process that ran the stage has ended."""
    running = any(stage.state is StageState.RUNNING for stage in recorded.stages)
    return f"{recorded.phase or ''}" + (" (stopped)" if running and not _busy(state) else "")


def _busy(state: ModelState) -> bool:
    try:
        with state.owned():
            return False
    except StateBusy:
        return True
