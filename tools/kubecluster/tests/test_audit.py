"""Counting writes in an audit log."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from kubecluster import audit
from kubecluster.layout import Layout

NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def event(seconds: float, **changes: object) -> str:
    at = (NOON + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    document = {
        "requestURI": "/apis/speechops.dev/v1alpha1/namespaces/a/speechmodels/espejo/status",
        "verb": "patch",
        "user": {"username": "system:serviceaccount:speechops:operator"},
        "userAgent": "kopf/1.45.2",
        "objectRef": {"resource": "speechmodels", "subresource": "status", "apiGroup": "speechops.dev",
                      "namespace": "a", "name": "espejo"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": at,
    }  # fmt: skip
    return json.dumps(document | changes) + "\n"


@pytest.fixture
def log(layout: Layout) -> Layout:
    layout.logs.mkdir(parents=True)
    core = {"resource": "pods", "namespace": "b", "name": "x"}
    rotated = event(1)
    current = event(3) + event(4, objectRef=core, verb="create", user={"username": "someone"})
    (layout.logs / "audit-2026-01-02T12-00-02.000.log").write_text(rotated)
    layout.audit_log.write_text(current)
    return layout


def test_writes_are_found_in_their_window_also_in_rotated_logs(log: Layout) -> None:
    assert [w.at for w in audit.writes(log, NOON)] == [NOON + timedelta(seconds=s) for s in (1, 3, 4)]
    assert len(audit.writes(log, NOON + timedelta(seconds=3))) == 2
    assert len(audit.writes(log, NOON, NOON + timedelta(seconds=3))) == 1


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"user": "operator"}, 2),
        ({"user_agent": "kopf"}, 3),
        ({"user_agent": "kubectl"}, 0),
        ({"resource": "pods"}, 1),
        ({"resource": "speechmodels"}, 2),
        ({"resource": "speechmodels/status"}, 2),
        ({"resource": "speechmodels/scale"}, 0),
        ({"namespace": "b"}, 1),
        ({"namespace": "b", "user": "operator"}, 0),
    ],
)
def test_writes_are_filtered_by_who_and_what(log: Layout, wanted: dict[str, str], count: int) -> None:
    assert len(audit.writes(log, NOON, None, **wanted)) == count


def test_dry_runs_questions_and_half_written_lines_do_not_count(log: Layout) -> None:
    before = len(audit.writes(log, NOON))
    review = {"resource": "selfsubjectaccessreviews", "apiGroup": "authorization.k8s.io"}
    with log.audit_log.open("a") as out:
        out.write(event(5, requestURI="/api/v1/namespaces/a/pods?dryRun=All"))
        out.write(event(5, objectRef=review, verb="create"))
        out.write(event(5).rstrip("\n")[:40])
    assert len(audit.writes(log, NOON)) == before
