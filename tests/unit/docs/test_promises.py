"""Every test that docs/promises.md names exists."""

import pytest
from support.places import ROOT
from support.promises import Promise, promises, require_kept


@pytest.mark.parametrize("row", promises(), ids=lambda row: row.event)
def test_a_promise_names_a_test_that_exists_or_says_that_it_is_missing(row: Promise) -> None:
    assert row.event and row.promised
    if row.test != "missing":
        file, _, name = row.test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_a_promise_may_be_kept_late_on_a_busy_machine_but_not_ever_so_late() -> None:
    promise = Promise("the operator is killed: the next stage starts", "10 s", "missing")
    require_kept(promise, 60)
    with pytest.raises(AssertionError, match=r"60\.1 s, and 10 s are promised, so a busy machine may take 60 s"):
        require_kept(promise, 60.1)
