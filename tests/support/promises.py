"""The table of docs/promises.md."""

from typing import NamedTuple

from support.places import ROOT


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
