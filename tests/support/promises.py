"""The tables of docs/promises.md, and the part of the first one in the README."""

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

from support.places import ROOT

HEADER = "| what happens | promise | test |"
REASONS = "| reason | test |"


class Promise(NamedTuple):
    """A row of the table."""

    event: str
    promised: str
    test: str
    """File and function of the test that shows it, or "missing". The README has the function alone."""


class Shown(NamedTuple):
    """A row of the table of reasons."""

    reason: str
    test: str
    """File and function of the test that shows it."""


def promises(document: str = "docs/promises.md") -> list[Promise]:
    """Return the rows."""
    return [Promise(*row) for row in _rows(document, HEADER)]


def shown_reasons() -> list[Shown]:
    """Return the rows of the table of reasons. A reason may have several tests."""
    found = ((re.match(r"`(\w+)`", cell), test) for cell, test in _rows("docs/promises.md", REASONS))
    return [Shown(word[1], test) for word, test in found if word]


def _rows(document: str, header: str) -> Iterator[list[str]]:
    """Yield the cells of each row of a table."""
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    rows = takewhile(lambda line: line.startswith("| "), lines[lines.index(header) + 2 :])
    return ([cell.strip() for cell in row.strip("|").split("|")] for row in rows)
