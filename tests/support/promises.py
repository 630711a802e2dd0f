"""The table of docs/promises.md."""

from typing import NamedTuple

from support.places import ROOT

PATIENCE = 6
"""The seconds of a promise are those of an idle machine. One that is busy may take this many times as long."""


class Promise(NamedTuple):
    """A row of the table."""

    event: str
    promised: str
    test: str
    """File and function of the test that shows it, or "missing"."""


def promises() -> list[Promise]:
    """Return the rows."""
    lines = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and "what happens" not in line]
    return [Promise(*(cell.strip() for cell in row.strip("|").split("|"))) for row in rows]


def require_kept(promise: Promise, seconds: float) -> None:
    """Fail when a promise in seconds was kept too late even for a busy machine."""
    promised = float(promise.promised.removesuffix(" s"))
    late = f"{promise.event}: {seconds:.1f} s, and {promise.promised} are promised"
    assert seconds <= PATIENCE * promised, f"{late}, so a busy machine may take {PATIENCE * promised:g} s"
