"""What `speechmodel run` says at its end: spoken against heard, the figures, where the model lies and how to serve it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text
from speechmodel_api.base import Document
from speechmodel_api.stages import StageName
from speechmodel_api.status import SpeechModelStatus

from speechmodel_cli import wording
from speechmodel_cli.local.state import ModelState

ROWS = 48
"""Most rows of a table."""


@dataclass(frozen=True)
class Spoken:
    """What was said in a recording and what was heard."""

    spoken: str
    heard: str


class ReportedClip(Document):
    """A clip in report.json."""

    reference: str
    hypothesis: str


class Report(Document):
    """What is shown of report.json."""

    results: tuple[ReportedClip, ...] = ()


def show_summary(console: Console, state: ModelState, status: SpeechModelStatus) -> None:
    """The test clips and where the model lies."""
    model = status.model
    if model is None:
        return
    if report := _report(state, status):
        clips = [Spoken(clip.reference, clip.hypothesis) for clip in report.results]
        show_table(console, "test clips", clips)
    if measured := status.stage(StageName.EVALUATE):
        _line(console, "", wording.outcome(measured))
    _line(console, "model", model.uri)
    _line(console, "sha256", f"{model.sha256}  ({wording.size(model.size_bytes)})")


def show_table(console: Console, title: str, clips: Sequence[Spoken]) -> None:
    """Spoken against heard, each pair once; what was heard wrong is red."""
    if not clips:
        return
    _line(console, "", title)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("spoken")
    table.add_column("heard")
    table.add_column("")
    pairs = Counter(clips)
    for clip, times in list(pairs.items())[:ROWS]:
        style = "green" if clip.spoken == clip.heard else "red"
        table.add_row(
            Text(clip.spoken), Text(clip.heard or "(nothing)", style=style), f"{times} times" if times > 1 else ""
        )
    console.print(table)
    right = sum(clip.spoken == clip.heard for clip in clips)
    more = f"; {len(pairs) - ROWS} more rows not shown" if len(pairs) > ROWS else ""
    _line(console, "", f"{right} of {len(clips)} word for word{more}")


def report_file(state: ModelState, status: SpeechModelStatus) -> Path | None:
    """evaluate's report on the workspace."""
    entry = status.stage(StageName.EVALUATE)
    return state.workspace / "reports" / entry.key / "report.json" if entry else None


def _report(state: ModelState, status: SpeechModelStatus) -> Report | None:
    """None when the workspace is gone: the published copy is in S3."""
    path = report_file(state, status)
    try:
        return Report.model_validate_json(path.read_bytes()) if path else None
    except (FileNotFoundError, ValidationError):
        return None


def _line(console: Console, name: str, text: str) -> None:
    console.print(Text.assemble((f"{name:<7}", "bold"), text), soft_wrap=True)
