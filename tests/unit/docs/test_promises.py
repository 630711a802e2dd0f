"""Every test that docs/promises.md names exists."""

import pytest
from support.places import ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and "what happens" not in line
]


@pytest.mark.parametrize("what, promise, test", ROWS, ids=[row[0] for row in ROWS])
def test_a_promise_names_a_test_that_exists_or_says_that_it_is_missing(what: str, promise: str, test: str) -> None:
    assert what and promise
    if test != "missing":
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
