"""The table of docs/promises.md, and the part of it in the README."""

from itertools import takewhile
from typing import NamedTuple

from support.places import ROOT

HEADER = "| what happens | promise | test |"


class Promise(NamedTuple):
    """A row of the table."""

    event: str
    promised: str
    test: str
    """File and function of the test that shows it, or "missing". The README has the function alone."""


def promises(document: str = "docs/promises.md") -> list[Promise]:
    """Return the rows."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    rows = takewhile(lambda line: line.startswith("| "), lines[lines.index(HEADER) + 2 :])
    return [Promise(*(cell.strip() for cell in row.strip("|").split("|"))) for row in rows]
