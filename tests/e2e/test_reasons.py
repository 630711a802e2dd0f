"""The operator says why a stage does not start or has failed, as the cluster makes it happen. Each reason clears as documented."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.kube import ENDLESS, Kubectl, Model, Object
from support.spaces import Space, make_space, remove_space, upgrade
from support.target import Target
from support.tones import tone

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
    reasons = ("PodSecurityDenied", "VolumePending", "CredentialsMissing", "ImagePullFailed")
    assert {f"!{reason}" for reason in reasons} <= model.reported().keys()


@contextmanager
def storage_class(kubectl: Kubectl, name: str) -> Iterator[None]:
    """Offer the default StorageClass by another name while the block runs."""
    (default,) = (
        found
        for found in kubectl.find("storageclasses")
        if found["metadata"].get("annotations", {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    )
    kept = {field: value for field, value in default.items() if field != "metadata"}
    kubectl.apply(kept | {"metadata": {"name": name}})
    try:
        yield
    finally:
        kubectl("delete", "storageclass", name)


def test_how_a_training_ends_badly_is_reported_and_each_remedy_continues_it(space: Space) -> None:
    """The training runs out of memory, exceeds its deadline and crashes. After each remedy it continues, and finally it finishes."""
    kubectl = space.kubectl
    small = {"resources": {"limits": {"memory": "64Mi"}}}
    model = space.apply(space.manifest("ends", maxEpochs=ENDLESS, maxAttempts=1, podTemplate=small))
    killed = model.until_condition("Ready", status="False", reason="OutOfMemory")
    assert "64Mi" in killed["message"]
    assert "limits.memory" in killed["message"]
    model.until_reported("!OutOfMemory")

    kubectl.patch(model.name, {"training": {"podTemplate": {"resources": None}}})
    slow = model.until_running("train")["metadata"]["name"]
    model.until_epoch(1)
    signal(model, slow, "STOP")  # no work from here on
    kubectl.patch(model.name, {"training": {"activeDeadlineSeconds": 60}})  # earlier, a slow start would exceed it
    late = model.until_condition("Ready", status="False", reason="DeadlineExceeded")
    assert "60 s" in late["message"]
    model.until_reported("!DeadlineExceeded")
    signal(model, slow, "CONT")

    kubectl.patch(model.name, {"training": {"activeDeadlineSeconds": None}})
    crashing = model.until_running("train", besides=[slow])["metadata"]["name"]
    # status.epoch may still be that of the pod before
    kubectl.until(lambda: kubectl("logs", crashing, check=False), f"{crashing} writes a line")
    signal(model, crashing, "KILL")
    crashed = model.until_condition("Ready", status="False", reason="BackoffLimitExceeded")
    assert kubectl("logs", crashing).splitlines()[-1] in crashed["message"]

    last = model.status["training"]["epoch"] + 2
    kubectl.patch(model.name, {"training": {"maxEpochs": last}})
    kubectl("annotate", "speechmodel", model.name, "speechops.dev/retry=now")
    assert model.until_done("train")["epoch"] >= last, "the checkpoint may be some epochs ahead of the status"


def test_a_namespace_with_a_quota_on_limits_names_each_field_that_it_needs(space: Space) -> None:
    """The pods of the stages need limits of their own, then more memory, and that of train those of a LimitRange. The purge has
    the limits of the stages.
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
    rejected = model.until_condition("Stalled", reason="ResourcesRefused")["message"]
    assert "must specify limits.cpu for: stage" in rejected
    assert "training.stageResources" in rejected

    kubectl.patch(model.name, {"training": {"stageResources": limits("48Mi")}})
    killed = model.until_condition("Stalled", reason="OutOfMemory")["message"]
    assert "exceeded its memory limit 48Mi" in killed
    assert "set training.stageResources.limits.memory to 96Mi" in killed

    kubectl.patch(model.name, {"training": {"stageResources": limits("2Gi")}})
    rejected = model.until_condition("Stalled", reason="ResourcesRefused")["message"]
    assert "training.podTemplate.resources" in rejected
    assert model.stage("prepare")["state"] == "Succeeded"

    default = {"default": limits("4Gi")["limits"], "defaultRequest": limits("4Gi")["requests"]}
    found = {"limits": [{"type": "Container", **default}]}
    kubectl.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "defaults"}, "spec": found})
    model.until_ready()
    assert {"!ResourcesRefused", "!OutOfMemory"} <= model.reported().keys()
    assert space.objects(), "it is published"
    kubectl("delete", "speechmodel", model.name)
    assert space.objects() == []


def limits(memory: str) -> Object:
    """Return resources with that limit of memory, whose requests fit on any node."""
    return {"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"cpu": "2", "memory": memory}}


def test_a_full_volume_is_reported_and_the_stage_goes_on_once_there_is_room(space: Space) -> None:
    with small_disk(space, "1m") as disk:
        manifest = space.manifest("full")
        storage = {"storageClassName": disk.name, "storage": "1Gi"}
        manifest["spec"]["training"]["storage"] = {"volumeClaimTemplate": storage}
        model = space.apply(manifest)
        model.until_condition("Ready", status="False", reason="StorageFull")
        disk.grow("500m")
        model.until_done("train")


class Disk:
    """A file system in memory, as a PersistentVolume of the node that runs the pod `name`."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self._kubectl, self.name = kubectl, name

    def grow(self, size: str) -> None:
        """Give it another size."""
        self._kubectl("exec", self.name, "--", "mount", "-o", f"remount,size={size}", "/disk")


@contextmanager
def small_disk(space: Space, size: str) -> Iterator[Disk]:
    """Offer a full-sized volume on a small disk while the block runs, by a StorageClass of the name that it gives."""
    name = f"disk-{space.kubectl.namespace}"
    image = f"{space.target.registry}/speechops/pipeline:{space.target.tag}"
    (loader,) = (found for found in space.kubectl.find("pods") if found["metadata"]["name"].startswith("load-"))
    node = loader["spec"]["nodeName"]
    folder = f"/var/tmp/{name}"
    volume: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": name,
            "local": {"path": folder},
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
                    ]
                }
            },
        },
    }
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "disk",
                    "image": image,
                    "command": [
                        "sh",
                        "-c",
                        f"mount -t tmpfs -o size={size},mode=0777 tmpfs /disk && exec sleep infinity",
                    ],
                    "securityContext": {"privileged": True, "runAsUser": 0},
                    "volumeMounts": [{"name": "disk", "mountPath": "/disk", "mountPropagation": "Bidirectional"}],
                    "readinessProbe": {"exec": {"command": ["mountpoint", "/disk"]}},
                }
            ],
            "volumes": [{"name": "disk", "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}],
        },
    }
    system = Kubectl(space.target.kubectl, space.target.kubeconfig, space.target.context, "kube-system")
    system.apply(volume, pod)
    try:
        system.until_ready(name)
        yield Disk(system, name)
    finally:
        space.kubectl("delete", "speechmodels", "--all", "--wait=true", "--timeout=180s", check=False)
        system("exec", name, "--", "umount", "--lazy", "/disk", check=False)
        system("delete", "pod", name)
        system("delete", "pv", name, "--wait=false")
