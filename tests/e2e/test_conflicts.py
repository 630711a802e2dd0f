"""Conflicts are told in the API server's words, cost no attempt, and take nothing over."""

from pathlib import Path

from support import recordings
from support.spaces import Space


def test_somebody_elses_claim_is_never_used(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    space.kubectl.apply(recordings.claim("espejo-workspace"))
    model = space.apply(space.manifest())
    condition = model.until_condition("Ready", status="False", reason="NameConflict")
    assert (
        "PersistentVolumeClaim espejo-workspace exists and does not belong to this SpeechModel" in condition["message"]
    )
    assert model.jobs() == []
    space.kubectl("delete", "pvc", "espejo-workspace")
    model.until_ready()


def test_a_job_that_is_refused_is_reported_and_made_once_it_may_be(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    space.kubectl.apply(quota | {"spec": {"hard": {"count/jobs.batch": "0"}}})
    space.kubectl.until(
        lambda: (space.kubectl.get("resourcequota", "none") or {}).get("status", {}).get("hard"), "the quota holds"
    )
    model = space.apply(space.manifest())
    condition = model.until_condition("Ready", status="False", reason="QuotaExceeded")
    assert "exceeded quota: none" in condition["message"]
    assert model.status.get("stages", []) == []
    space.kubectl("delete", "resourcequota", "none")
    model.until_ready()
    assert {stage["attempt"] for stage in model.status["stages"]} == {1}


def test_a_workspace_that_cannot_grow_says_so(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    model = space.apply(space.manifest(storage={"volumeClaimTemplate": {"storage": "1Gi"}}))
    model.until_ready()
    space.kubectl.patch(model.name, {"training": {"storage": {"volumeClaimTemplate": {"storage": "2Gi"}}}})
    condition = model.until_condition("Stalled", reason="Refused")
    assert model.condition("Ready")["reason"] == "Refused", "nothing is served that would keep it True"
    assert "espejo-workspace" in condition["message"]
    space.kubectl.patch(model.name, {"training": {"storage": {"volumeClaimTemplate": {"storage": "1Gi"}}}})
    model.until_ready()
