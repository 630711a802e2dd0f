"""The end of `speechmodel run`: the transcriptions of the test clips, the error rates, and where the model is."""

from collections import Counter
from collections.abc import Sequence

from pydantic import ValidationError
from rich import filesize
from rich.console import Console
from rich.table import Table
from rich.text import Text
from speechmodel_api.base import Document
from speechmodel_api.stages import StageName
from speechmodel_api.status import SpeechModelStatus
from speechmodel_api.words import folded
from speechmodel_api.workspace import REPORT, Workspace

from speechmodel_cli import wording
from speechmodel_cli.local.state import ModelState

ROWS = 48
"""Longest table, in rows."""


class Comparison(Document):
    """The words of a recording and their transcription. Clips in report.json have these fields."""

    reference: str
    hypothesis: str

    @property
    def right(self) -> bool:
        """True when both have the same words."""
        return folded(self.reference) == folded(self.hypothesis)


class EvaluationReport(Document):
    """The part of report.json that is shown."""

    results: tuple[Comparison, ...] = ()


def show_summary(console: Console, state: ModelState, status: SpeechModelStatus) -> None:
    """Show the test clips and where the model is."""
    model = status.model
    if model is None:
        return
    if report := _report(state, status):
        show_table(console, "test clips", report.results)
    if measured := status.stage(StageName.EVALUATE):
        _line(console, "", wording.outcome(measured))
    _line(console, "model", model.uri)
    _line(console, "sha256", f"{model.sha256}  ({filesize.decimal(model.size_bytes)})")


def show_table(console: Console, title: str, clips: Sequence[Comparison]) -> None:
    """Show each pair of spoken words and transcription once. Errors are red."""
    if not clips:
        return
    _line(console, "", title)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("spoken")
    table.add_column("heard")
    table.add_column("")
    pairs = Counter(clips)
    for clip, times in list(pairs.items())[:ROWS]:
        heard = Text(clip.hypothesis or "(nothing)", style="green" if clip.right else "red")
        table.add_row(Text(clip.reference), heard, f"{times} times" if times > 1 else "")
    console.print(table)
    right = sum(clip.right for clip in clips)
    more = f"; {len(pairs) - ROWS} more rows not shown" if len(pairs) > ROWS else ""
    _line(console, "", f"{right} of {len(clips)} word for word{more}")


def _report(state: ModelState, status: SpeechModelStatus) -> EvaluationReport | None:
    """Return evaluate's report; None when the workspace is gone, although the published copy is in S3."""
    entry = status.stage(StageName.EVALUATE)
    if entry is None:
        return None
    try:
        return EvaluationReport.model_validate_json(
            (Workspace(state.workspace).report(entry.key) / REPORT).read_bytes()
        )
    except (FileNotFoundError, ValidationError):
        return None


def _line(console: Console, name: str, text: str) -> None:
    console.print(Text.assemble((f"{name:<7}", "bold"), text), soft_wrap=True)
