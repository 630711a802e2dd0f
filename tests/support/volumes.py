"""Volumes of the tests: StorageClasses of their own, and a small disk that can be full."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from support.kube import Kubectl, Object
from support.recordings import USER
from support.spaces import Space


@contextmanager
def storage_class(kubectl: Kubectl, name: str) -> Iterator[None]:
    """Offer the default StorageClass by another name while the block runs. It allows no expansion."""
    (default,) = (
        found
        for found in kubectl.find("storageclasses")
        if found["metadata"].get("annotations", {}).get("storageclass.kubernetes.io/is-default-class") == "true"
    )
    kept = {field: value for field, value in default.items() if field != "metadata"}
    kubectl.apply(kept | {"metadata": {"name": name}, "allowVolumeExpansion": False})
    try:
        yield
    finally:
        kubectl("delete", "storageclass", name)


def report_expansion(kubectl: Kubectl, claim: Object) -> None:
    """Write that the volume of a bound claim has the size that the claim requests, as the resizer of a CSI driver does."""
    name, volume = claim["metadata"]["name"], claim["spec"]["volumeName"]
    capacity = {"capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]}}
    kubectl("patch", "pv", volume, "--type=merge", "-p", json.dumps({"spec": capacity}))
    kubectl("patch", "pvc", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": capacity}))


class Disk:
    """A file system in memory, as a PersistentVolume of the node that runs the pod `name`."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self._kubectl, self.name = kubectl, name

    def grow(self, size: str) -> None:
        """Give it another size."""
        self._run(f"mount -o remount,size={size} /disk")

    def fill(self, folder: str, kilobytes: int) -> None:
        """Make a folder that belongs to the stages, with a file of that size."""
        root = folder.partition("/")[0]
        self._run(
            f"cd /disk && mkdir -p {folder} && head -c {kilobytes}K /dev/zero > {folder}/file && chown -R {USER} {root}"
        )

    def has(self, folder: str) -> bool:
        """Return True if there is such a folder."""
        return self._run(f"test -d /disk/{folder} && echo yes || true") == "yes\n"

    @property
    def size(self) -> int:
        """The size of the file system in bytes."""
        return int(self._run("stat -f -c %b /disk")) * int(self._run("stat -f -c %S /disk"))

    def _run(self, script: str) -> str:
        return self._kubectl("exec", self.name, "--", "sh", "-ec", script)


@contextmanager
def small_disk(space: Space, size: str) -> Iterator[Disk]:
    """Offer a full-sized volume on a small disk while the block runs, by a StorageClass of the name that it gives, which
    allows expansion.
    """
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
    kind: Object = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "kubernetes.io/no-provisioner",
        "allowVolumeExpansion": True,
    }
    system = Kubectl(space.target.kubectl, space.target.kubeconfig, space.target.context, "kube-system")
    system.apply(kind, volume, pod)
    try:
        system.until_ready(name)
        yield Disk(system, name)
    finally:
        space.kubectl("delete", "speechmodels", "--all", "--wait=true", "--timeout=180s", check=False)
        system("exec", name, "--", "umount", "--lazy", "/disk", check=False)
        system("delete", "pod", name)
        system("delete", f"pv/{name}", f"storageclass/{name}", "--wait=false")
