"""Every test that docs/promises.md names exists, and the README promises the same. Each reason of a cluster has a test there."""

import ast
import re

import pytest
from speechmodel_api.reasons import Reason
from support.places import ROOT
from support.promises import Promise, Shown, promises, shown_reasons


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


@pytest.mark.parametrize("row", shown_reasons(), ids="-".join)
def test_a_reason_is_expected_by_the_test_that_shows_it(row: Shown) -> None:
    assert row.reason in set(Reason)
    file, _, name = row.test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    (test,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    words = {
        node.value.lstrip("!")
        for node in ast.walk(test)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert row.reason in words


def test_every_reason_that_only_a_cluster_gives_is_shown_on_one() -> None:
    of_clusters = """
        Unschedulable ImagePullFailed VolumePending QuotaExceeded PodSecurityDenied CredentialsMissing OutOfMemory StorageFull NodeLost
        Evicted Preempted DeadlineExceeded QueuedByKueue RolloutBlocked NameConflict BackoffLimitExceeded
    """
    assert set(of_clusters.split()) <= {row.reason for row in shown_reasons()}
