"""Every test that docs/promises.md names exists."""

import pytest
from support.places import ROOT
from support.promises import Promise, promises


@pytest.mark.parametrize("row", promises(), ids=lambda row: row.event)
def test_a_promise_names_a_test_that_exists_or_says_that_it_is_missing(row: Promise) -> None:
    assert row.event and row.promised
    if row.test != "missing":
        file, _, name = row.test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
