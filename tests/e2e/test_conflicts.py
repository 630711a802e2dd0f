"""Conflicts are told in the API server's words, cost no attempt, and take nothing over."""

from pathlib import Path

from support import recordings
from support.spaces import Space
from support.volumes import storage_class


def test_what_may_not_be_made_or_changed_is_reported_until_it_may_and_costs_no_attempt(
    space: Space, small_dataset: Path
) -> None:
    kubectl = space.kubectl
    space.dataset(small_dataset)
    kubectl.apply(recordings.claim("espejo-workspace"))
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}}
    kubectl.apply(quota | {"spec": {"hard": {"count/jobs.batch": "0"}}})
    kubectl.until(lambda: (kubectl.get("resourcequota", "none") or {}).get("status", {}).get("hard"), "the quota holds")

    own = f"own-{kubectl.namespace}"
    with storage_class(kubectl, own):
        manifest = space.manifest(storage={"volumeClaimTemplate": {"storage": "1Gi", "storageClassName": own}})
        model = space.apply(manifest)
        message = model.until_condition("Ready", status="False", reason="NameConflict")["message"]
        assert "PersistentVolumeClaim espejo-workspace exists and lacks the label" in message
        assert model.jobs() == []

        kubectl("delete", "pvc", "espejo-workspace")
        message = model.until_condition("Ready", status="False", reason="QuotaExceeded")["message"]
        assert "exceeded quota: none" in message
        assert model.status.get("stages", []) == []

        kubectl("delete", "resourcequota", "none")
        model.until_ready()
        assert {stage["attempt"] for stage in model.status["stages"]} == {1}

        kubectl.patch(model.name, {"training": {"storage": {"volumeClaimTemplate": {"storage": "2Gi"}}}})
        message = model.until_condition("Stalled", reason="ClaimSizeRefused")["message"]
        assert model.condition("Ready")["reason"] == "ClaimSizeRefused", "nothing is served that would keep it True"
        assert "espejo-workspace" in message
        kubectl("patch", "storageclass", own, "--type=merge", "-p", '{"allowVolumeExpansion": true}')
        kubectl("annotate", "speechmodel", model.name, "speechops.dev/retry=now")
        model.until_ready()
        claim = kubectl.get("pvc", "espejo-workspace")
        assert claim
        assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
