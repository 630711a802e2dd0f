"""The operator says why a stage does not start or has failed, as the cluster makes it happen. Each reason clears as documented."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kube import ENDLESS, Kubectl, Model, Object
from support.spaces import Space, make_space, remove_space, upgrade
from support.target import Target
from support.tones import tone
from support.volumes import report_expansion, small_disk, storage_class

UNCONFINED = {"container.apparmor.security.beta.kubernetes.io/stage": "unconfined"}
"""An annotation that the Pod Security Standards forbid; AppArmor used to be configured by annotations."""


@pytest.fixture
def space(target: Target, operator: Kubectl, small_dataset: Path) -> Iterator[Space]:
    """A namespace with a dataset."""
    made = make_space(target, "reasons")
    made.dataset(small_dataset)
    yield made
    remove_space(made)


def signal(model: Model, pod: str, name: str) -> None:
    """Send a signal to all that runs in a pod but its first process."""
    model.kubectl("exec", pod, "--", "sh", "-c", f"kill -{name} -1")


def test_what_keeps_a_pod_from_running_is_reported_one_after_the_other(
    space: Space, small_dataset: Path, target: Target, tmp_path: Path
) -> None:
    """The pod is forbidden, has no volume, no Secret, and no image: each is corrected as docs/reasons.md says. The keys of its
    two buckets are in two Secrets.
    """
    kubectl = space.kubectl
    for file in (path for path in small_dataset.rglob("*") if path.is_file()):
        space.s3.upload_file(str(file), space.bucket, f"recordings/{file.relative_to(small_dataset)}")
    for number in range(2):
        other = tone(tmp_path / f"{number}.wav", 900 + 50 * number)
        space.s3.upload_file(str(other), space.bucket, f"radio/{other.name}")
    later = f"later-{kubectl.namespace}"
    manifest = space.manifest("waits", podTemplate={"annotations": UNCONFINED})
    manifest["spec"]["training"]["storage"] = {"volumeClaimTemplate": {"storageClassName": later, "storage": "1Gi"}}
    bucket = {"bucket": space.bucket, "endpoint": target.s3_endpoint}
    radio = {"s3": bucket | {"prefix": "radio", "secretRef": {"name": "s3"}}}
    manifest["spec"]["dataset"] = {
        "source": {"s3": bucket | {"prefix": "recordings", "secretRef": {"name": "later"}}},
        "negatives": {"builtIn": False, "source": radio},
    }
    model = space.apply(manifest)

    denied = model.until_condition("Ready", status="False", reason="PodSecurityDenied")
    assert "violates PodSecurity" in denied["message"]
    kubectl.patch(model.name, {"training": {"podTemplate": {"annotations": None}}})

    model.until_condition("Ready", status="False", reason="VolumePending")
    with storage_class(kubectl, later):
        missing = model.until_condition("Ready", status="False", reason="CredentialsMissing")
        assert "later" in missing["message"]
        upgrade(target, "images.training.tag=absent")
        try:
            space.secret("later")
            pulled = model.until_condition("Ready", status="False", reason="ImagePullFailed")
            assert ":absent" in pulled["message"]
        finally:
            upgrade(target)
        kubectl("annotate", "speechmodel", model.name, "speechops.dev/retry=now")
        model.until_done("train")
        assert " negatives" in model.condition("DatasetReady")["message"]
    model.until_reported_once("!PodSecurityDenied", "!VolumePending", "!CredentialsMissing", "!ImagePullFailed")


def test_how_a_training_ends_badly_is_reported_and_each_remedy_continues_it(space: Space) -> None:
    """The training runs out of memory, exceeds its deadline and crashes. After each remedy it continues, and finally it finishes."""
    kubectl = space.kubectl
    small = {"resources": {"limits": {"memory": "64Mi"}}}
    model = space.apply(space.manifest("ends", maxEpochs=ENDLESS, maxAttempts=1, podTemplate=small))
    killed = model.until_condition("Ready", status="False", reason="OutOfMemory")
    assert "64Mi" in killed["message"]
    assert "limits.memory" in killed["message"]
    model.until_reported_once("!OutOfMemory")

    kubectl.patch(model.name, {"training": {"podTemplate": {"resources": None}}})
    slow = model.until_running("train")["metadata"]["name"]
    model.until_epoch(1)
    signal(model, slow, "STOP")  # no work from here on
    kubectl.patch(model.name, {"training": {"activeDeadlineSeconds": 60}})  # earlier, a slow start would exceed it
    late = model.until_condition("Ready", status="False", reason="DeadlineExceeded")
    assert "60 s" in late["message"]
    model.until_reported_once("!DeadlineExceeded")
    signal(model, slow, "CONT")

    kubectl.patch(model.name, {"training": {"activeDeadlineSeconds": None}})
    crashing = model.until_running("train", besides=[slow])["metadata"]["name"]
    # status.epoch may still be that of the pod before
    kubectl.until(lambda: kubectl("logs", crashing, check=False), f"{crashing} writes a line")
    signal(model, crashing, "KILL")
    crashed = model.until_condition("Ready", status="False", reason="BackoffLimitExceeded")
    assert kubectl("logs", crashing).splitlines()[-1] in crashed["message"]
    assert model.condition("Stalled")["reason"] == "BackoffLimitExceeded"

    last = model.status["training"]["epoch"] + 2
    kubectl.patch(model.name, {"training": {"maxEpochs": last}})
    kubectl("annotate", "speechmodel", model.name, "speechops.dev/retry=now")
    assert model.until_done("train")["epoch"] >= last, "the checkpoint may be some epochs ahead of the status"
    assert model.condition("Stalled") == {}
    model.until_reported_once("!OutOfMemory", "!DeadlineExceeded", "!BackoffLimitExceeded")


def test_a_namespace_with_a_quota_on_limits_names_each_field_that_it_needs(space: Space) -> None:
    """The pods of the stages need limits of their own, then more memory, and that of train those of a LimitRange. The purge has
    the limits of the stages. Meanwhile, the pod of another model waits until the quota has room for it.
    """
    kubectl, hard = space.kubectl, {"limits.cpu": "8", "limits.memory": "16Gi"}
    kubectl.apply(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "compute"}, "spec": {"hard": hard}}
    )
    kubectl.until(
        lambda: (kubectl.get("resourcequota", "compute") or {}).get("status", {}).get("hard"), "the quota holds"
    )
    manifest = space.manifest("bounded", maxEpochs=1)
    manifest["spec"]["publish"]["deletionPolicy"] = "Delete"
    model = space.apply(manifest)
    greedy = space.apply(space.manifest("greedy", stageResources=limits("32Gi")))
    rejected = model.until_condition("Stalled", reason="ResourcesRefused")["message"]
    assert "must specify limits.cpu for: stage" in rejected
    assert "training.stageResources" in rejected
    exceeded = greedy.until_condition("DatasetReady", status="False", reason="QuotaExceeded")["message"]
    assert "exceeded quota: compute, requested: limits.memory=32Gi" in exceeded
    assert greedy.stage("prepare")["state"] == "Running", "the quota keeps back the pod, and not its Job"
    kubectl(
        "patch",
        "resourcequota",
        "compute",
        "--type=merge",
        "-p",
        json.dumps({"spec": {"hard": {"limits.memory": "64Gi"}}}),
    )

    kubectl.patch(model.name, {"training": {"stageResources": limits("48Mi")}})
    killed = model.until_condition("Stalled", reason="OutOfMemory")["message"]
    assert "exceeded its memory limit 48Mi" in killed
    assert "set training.stageResources.limits.memory to 96Mi" in killed
    greedy.until_done("prepare")
    assert greedy.stage("prepare")["attempt"] == 1
    greedy.until_reported_once("!QuotaExceeded")
    kubectl("delete", "speechmodel", greedy.name, "--wait=false")

    kubectl.patch(model.name, {"training": {"stageResources": limits("2Gi")}})
    rejected = model.until_condition("Stalled", reason="ResourcesRefused")["message"]
    assert "training.podTemplate.resources" in rejected
    assert model.stage("prepare")["state"] == "Succeeded"

    default = {"default": limits("4Gi")["limits"], "defaultRequest": limits("4Gi")["requests"]}
    found = {"limits": [{"type": "Container", **default}]}
    kubectl.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "defaults"}, "spec": found})
    model.until_ready()
    model.until_reported_once("!ResourcesRefused", "!OutOfMemory", "!ResourcesRefused")
    assert space.objects(), "it is published"
    kubectl("delete", "speechmodel", model.name)
    assert space.objects() == []


def limits(memory: str) -> Object:
    """Return resources with that limit of memory, whose requests fit on any node."""
    return {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "2", "memory": memory}}


def test_a_full_volume_is_reported_and_the_stage_goes_on_once_its_claim_was_expanded(space: Space) -> None:
    """What nothing refers to goes first. No CSI driver runs here, so the test expands the volume and reports that as the
    resizer of a driver does.
    """
    kubectl, old = space.kubectl, "full/data/00000000"
    with small_disk(space, "1m") as disk:
        disk.fill(old, kilobytes=900)
        manifest = space.manifest("full")
        storage = {"storageClassName": disk.name, "storage": "1Gi"}
        manifest["spec"]["training"]["storage"] = {"volumeClaimTemplate": storage}
        model = space.apply(manifest)
        model.until_condition("Ready", status="False", reason="StorageFull")
        assert not disk.has(old), "the volume was over 85 % full, so this did not wait for keepFor"
        use = model.status["storage"]
        assert use["usedBytes"] + use["freeBytes"] == disk.size
        kubectl.patch(model.name, {"training": {"storage": {"volumeClaimTemplate": {"storage": "2Gi"}}}})
        claim = kubectl.until(lambda: asking_for(kubectl, "full-workspace", "2Gi"), "the operator asks for more")
        disk.grow("64m")
        report_expansion(kubectl, claim)
        model.until_done("train")
        model.until_reported_once("!StorageFull")
        use = model.status["storage"]
        assert use["usedBytes"] + use["freeBytes"] == disk.size == 64 << 20
        assert 0 < use["usedBytes"] < 0.85 * disk.size


def asking_for(kubectl: Kubectl, claim: str, size: str) -> Object | None:
    """Return the claim once it requests that size."""
    found = kubectl.get("pvc", claim)
    return found if found and found["spec"]["resources"]["requests"]["storage"] == size else None
