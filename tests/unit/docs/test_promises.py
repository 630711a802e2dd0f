"""Every test that docs/promises.md names exists, and the README promises the same."""

import re

import pytest
from support.places import ROOT
from support.promises import Promise, promises


@pytest.mark.parametrize("row", promises(), ids=lambda row: row.event)
def test_a_promise_names_a_test_that_exists_or_says_that_it_is_missing(row: Promise) -> None:
    assert row.event and row.promised
    if row.test != "missing":
        file, _, name = row.test.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_the_readme_has_the_same_promises_and_all_seconds_that_a_cluster_shows() -> None:
    shown, every = promises("README.md"), promises()
    in_short = {row: row._replace(test=row.test.partition("::")[2]) for row in every}
    assert [in_short[row] for row in every if in_short[row] in shown] == shown
    on_a_cluster = [row for row in every if row.test.startswith("tests/e2e/")]
    seconds = [in_short[row] for row in on_a_cluster if re.search(r"\d s\b", row.promised)]
    assert len(seconds) >= 5
    assert [row for row in seconds if row not in shown] == []
