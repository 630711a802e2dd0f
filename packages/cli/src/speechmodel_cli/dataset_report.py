"""The report of prepare on a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text
from speechmodel_pipeline.prepare.coverage import summary
from speechmodel_pipeline.prepare_report import NEGATIVES, PrepareReport, SpeakerSource
from speechmodel_stagekit.dataset import Part

ROWS = 40
"""Longest table or list. --json shows all."""
_SOURCES = {
    SpeakerSource.COLUMN: "from a column of the table",
    SpeakerSource.LAYOUT: "from folders or file names",
    SpeakerSource.TAKES: "from recorded takes",
    SpeakerSource.GUESSED: "guessed from names of files or folders",
}


def show_report(console: Console, report: PrepareReport) -> None:
    """Show the coverage, the rows that are left out, what is doubtful, and what to record next."""
    coverage = report.coverage
    _line(console, "used", summary(coverage))
    if report.layout:
        _line(console, "layout", report.layout)
    if report.speakers_from:
        _line(console, "speakers", f"{coverage.speakers}, {_SOURCES[report.speakers_from]}")
    _line(console, "parts", ", ".join(_parts(report)))
    kinds = [f"{kind.recordings} of {kind.sample_rate} Hz {kind.format}" for kind in report.audio]
    _line(console, "audio", ", ".join(kinds))
    _table(
        console,
        ("phrase", "clips", "speakers", "seconds"),
        [(one.phrase, str(one.clips), str(one.speakers), f"{one.seconds:.1f}") for one in coverage.phrases],
    )
    words = [f"{rare.word} ({rare.clips})" for rare in coverage.rare_words]
    more = f" and {len(words) - ROWS} more" if len(words) > ROWS else ""
    _list(console, "words with few takes", [", ".join(words[:ROWS]) + more] if words else [])
    _list(console, f"rows left out: {len(report.rejected)}", [str(rejection) for rejection in report.rejected])
    _list(console, f"recordings without a row: {len(report.unnamed_files)}", report.unnamed_files)
    doubts = [str(doubt) for doubt in (*report.doubts, *coverage.suspicious)]
    _list(console, f"check: {len(doubts)}", doubts)
    _list(console, "record next", coverage.record_next)


def _parts(report: PrepareReport) -> Iterator[str]:
    """Yield the number of clips of each part, of negatives and of synthetic takes."""
    for part, clips in (*report.parts.items(), (NEGATIVES, report.negatives)):
        if clips or part != Part.SEEN:
            yield f"{clips or 'no'} {part}"
    if report.synthesized:
        yield f"{report.synthesized} synthetic takes"


def _table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows[:ROWS]:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)
    _more(console, len(rows) - ROWS)


def _list(console: Console, title: str, sentences: Sequence[str]) -> None:
    if not sentences:
        return
    console.print(Text(title, style="bold"), soft_wrap=True)
    for sentence in sentences[:ROWS]:
        console.print(Text(f"  {sentence}"), soft_wrap=True)
    _more(console, len(sentences) - ROWS)


def _more(console: Console, count: int) -> None:
    if count > 0:
        console.print(Text(f"  and {count} more; --json shows all", style="dim"), soft_wrap=True)


def _line(console: Console, name: str, text: str) -> None:
    console.print(Text.assemble((f"{name:<9}", "bold"), text), soft_wrap=True)
