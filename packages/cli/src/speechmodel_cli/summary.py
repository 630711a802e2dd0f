"""The end of `speechmodel run`: the transcriptions of the test clips, the error rates, and where the model is."""

from collections.abc import Sequence

from pydantic import ValidationError
from rich import filesize
from rich.console import Console
from rich.table import Table
from rich.text import Text
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.base import Document
from speechmodel_api.stages.contract import StageName
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
    """The spoken words. Empty for a recording of something else, which must give nothing."""
    hypothesis: str
    foreign: bool = False
    """True when the spoken words are no phrase of the grammar, and must give nothing."""
    confidence: float | None = None
    """Probability from 0 to 1 that the hypothesis was said. Without a hypothesis, and in free text from before it had
    confidences, it has no such meaning and is not shown."""

    @property
    def expected(self) -> str:
        """The right hypothesis."""
        return "" if self.foreign else self.reference

    @property
    def right(self) -> bool:
        """True when the hypothesis has the expected words."""
        return folded(self.expected) == folded(self.hypothesis)


class EvaluationReport(Document):
    """The part of report.json that is shown."""

    grammar: dict[str, object] | None = None
    confidence: dict[str, object] | None = None
    results: tuple[Comparison, ...] = ()

    def comparisons(self) -> list[Comparison]:
        """Return the clips. In free text from before it had confidences, theirs is a log score and is left out."""
        confident = self.grammar is not None or self.confidence is not None
        return [
            Comparison(
                reference="" if CATCH_ALL in clip.reference else clip.reference,
                hypothesis=clip.hypothesis,
                foreign=clip.foreign,
                confidence=clip.confidence if confident else None,
            )
            for clip in self.results
        ]


def show_summary(console: Console, state: ModelState, status: SpeechModelStatus) -> None:
    """Show the test clips and where the model is."""
    model = status.model
    if model is None:
        return
    if report := _report(state, status):
        show_table(console, "test clips", report.comparisons())
    if measured := status.stage(StageName.EVALUATE):
        _line(console, "", wording.outcome(measured))
    _line(console, "model", model.uri)
    _line(console, "sha256", f"{model.sha256}  ({filesize.decimal(model.size_bytes)})")
    if model.tflite is not None:
        _line(console, "tflite", model.tflite.uri)
        _line(console, "sha256", f"{model.tflite.sha256}  ({filesize.decimal(model.tflite.size_bytes)})")


def show_table(console: Console, title: str, clips: Sequence[Comparison]) -> None:
    """Show each pair of spoken words and transcription once, with its confidences. Errors are red."""
    if not clips:
        return
    _line(console, "", title)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    confident = any(clip.confidence is not None for clip in clips)
    for column in ("spoken", "heard", *(["confidence"] if confident else []), ""):
        table.add_column(column)
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    for clip in clips:
        pairs.setdefault((clip.reference, clip.hypothesis), []).append(clip)
    for (reference, hypothesis), same in list(pairs.items())[:ROWS]:
        heard = Text(hypothesis or "(nothing)", style="green" if same[0].right else "red")
        times = f"{len(same)} times" if len(same) > 1 else ""
        confidence = [_confidence(same)] if confident else []
        table.add_row(Text(reference or "(something else)"), heard, *confidence, times)
    console.print(table)
    more = f"; {len(pairs) - ROWS} more rows not shown" if len(pairs) > ROWS else ""
    words = [clip for clip in clips if clip.expected]
    right = sum(clip.right for clip in words)
    others = [clip for clip in clips if not clip.expected]
    rejected = f"; {sum(not clip.hypothesis for clip in others)} of {len(others)} others rejected" if others else ""
    _line(console, "", f"{right} of {len(words)} word for word{rejected}{more}")


def _confidence(clips: Sequence[Comparison]) -> str:
    """Return the lowest and the highest confidence in percent; nothing for clips without one."""
    shown = sorted(f"{clip.confidence:4.0%}" for clip in clips if clip.hypothesis and clip.confidence is not None)
    if not shown:
        return ""
    return shown[0] if shown[0] == shown[-1] else f"{shown[0]} to {shown[-1].strip()}"


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
