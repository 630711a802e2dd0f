"""Pod templates with volumes: good ones, and those that the API server and the types refuse."""

from typing import Any

CAS: dict[str, Any] = {"name": "cas", "configMap": {"name": "cas", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
VOLUMES: dict[str, Any] = {
    "volumes": [
        CAS,
        {"name": "token", "secret": {"secretName": "token", "defaultMode": 288, "optional": True}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "clips", "persistentVolumeClaim": {"claimName": "more-clips", "readOnly": True}},
        {"name": "plugin", "csi": {"driver": "csi.spiffe.io", "readOnly": True, "volumeAttributes": {"a": "b"}}},
        {
            "name": "scratch",
            "ephemeral": {
                "volumeClaimTemplate": {
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "storageClassName": "nvme",
                        "resources": {"requests": {"storage": "100Gi"}},
                    }
                }
            },
        },
    ],
    "volumeMounts": [
        {"name": "cas", "mountPath": "/etc/ssl/private", "readOnly": True},
        {"name": "token", "mountPath": "/mnt/token/key", "subPath": "key"},
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "clips", "mountPath": "/mnt/clips"},
        {"name": "plugin", "mountPath": "/run/plugin.d"},
        {"name": "scratch", "mountPath": "/scratch"},
    ],
}
"""A volume of each kind, and where it is mounted."""


def _mounted(path: str, **more: str) -> dict[str, Any]:
    return {"volumes": [CAS], "volumeMounts": [{"name": "cas", "mountPath": path, **more}]}


BAD_VOLUMES: list[tuple[dict[str, Any], str]] = [
    ({"volumes": [{"name": "none"}]}, "set exactly one of configMap, secret, emptyDir,"),
    ({"volumes": [CAS | {"emptyDir": {}}]}, "set exactly one of configMap, secret, emptyDir,"),
    ({"volumes": [CAS | {"name": "workspace"}]}, "name must not be one of the operator's own volumes"),
    ({"volumes": [CAS, CAS]}, "volumes must have different names; rename one of them"),
    (_mounted("/mnt", name="sac"), "volumeMounts must have the name of one of volumes"),
    ({"volumeMounts": [{"name": "cas", "mountPath": "/mnt"}]}, "volumeMounts must have the name of one of volumes"),
    (_mounted("/workspace"), "mountPath must not be in a folder of the operator or of the image"),
    (_mounted("/dataset/es"), "mountPath must not be in a folder of the operator or of the image"),
    (_mounted("/opt/speechmodel"), "mountPath must not be in a folder of the operator or of the image"),
    (_mounted("/etc"), "mountPath must not be in a folder of the operator or of the image"),
    (_mounted("/dev/shm/a"), "mountPath must not be in a folder of the operator or of the image"),
    (_mounted("/"), "volumeMounts[0].mountPath"),
    (_mounted("mnt"), "volumeMounts[0].mountPath"),
    (_mounted("/mnt/../workspace"), "volumeMounts[0].mountPath"),
    (_mounted("/mnt//x"), "volumeMounts[0].mountPath"),
    (_mounted("/mnt", subPath="../x"), "volumeMounts[0].subPath"),
    (_mounted("/mnt", subPath="/x"), "volumeMounts[0].subPath"),
    (
        {"volumes": [CAS], "volumeMounts": [{"name": "cas", "mountPath": "/mnt"}] * 2},
        "volumeMounts must have different mountPaths; change one of them",
    ),
]
"""Pod templates that are refused, with a part of the sentence or the field that it names."""

ROOT_CAS: dict[str, Any] = {
    "volumes": [
        {"name": "cas", "configMap": {"name": "kube-root-ca.crt"}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ],
    "volumeMounts": [{"name": "cas", "mountPath": "/mnt/cas"}, {"name": "shm", "mountPath": "/dev/shm"}],
}
"""Volumes that every namespace can have: Kubernetes makes this ConfigMap in each."""
