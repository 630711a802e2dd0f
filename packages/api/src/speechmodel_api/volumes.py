"""Volumes that a pod template adds to pods: the kinds that the Pod Security Standard "restricted" allows and whose files the user names."""

import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import Field

from speechmodel_api.base import ApiModel
from speechmodel_api.schema import LocalObjectReference, ObjectName, Quantity, cel

OUR_VOLUMES = (
    "tmp",
    "workspace",
    "dataset",
    "negatives",
    "initial",
    "ca-bundle",
    "models",
    "cache",
    "api-keys",
    "service-account",
)
"""Names of the volumes that the operator gives to pods."""
OUR_FOLDERS = (
    *("/tmp", "/workspace", "/dataset", "/negatives", "/initial"),  # noqa: S108 - names of mounts
    *("/ca-bundle", "/models", "/cache", "/api-keys", "/service-account"),
)
"""Paths at which the operator mounts volumes."""
SYSTEM_FOLDERS = ("/opt", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/dev", "/proc", "/sys")
"""Paths of the programs in the images, and of the kernel."""
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the name of a mount


def _quoted(words: Iterable[str]) -> str:
    """Return a list in CEL."""
    return f"[{', '.join(repr(word) for word in words)}]"


_KINDS = ("configMap", "secret", "emptyDir", "persistentVolumeClaim", "csi", "ephemeral")
_ONE_KIND_RULE = f"[{', '.join(f'has(self.{kind})' for kind in _KINDS)}].filter(given, given).size() == 1"
_ONE_KIND_MESSAGE = (
    f"set exactly one of {', '.join(_KINDS[:-1])} and {_KINDS[-1]}; other kinds, such as hostPath, are not allowed"
)
_NAME_RULE = f"!(self.name in {_quoted(OUR_VOLUMES)})"
_NAME_MESSAGE = f"name must not be one of the operator's own volumes ({', '.join(OUR_VOLUMES)}); choose another name"
_RESERVED = (*OUR_FOLDERS, *SYSTEM_FOLDERS)
_PATH_RULE = (
    f"self.mountPath == '{SHARED_MEMORY}' || self.mountPath != '/etc' && "
    f"!{_quoted(_RESERVED)}.exists(path, self.mountPath == path || self.mountPath.startsWith(path + '/'))"
)
_PATH_MESSAGE = (
    "mountPath must not be in a folder of the operator or of the image "
    f"({', '.join(_RESERVED)}), except for {SHARED_MEMORY}, and not be /etc itself; choose another one, such as /mnt/NAME"
)
_UNIQUE_NAMES_MESSAGE = "volumes must have different names; rename one of them"
_UNIQUE_PATHS_MESSAGE = "volumeMounts must have different mountPaths; change one of them"
_UNKNOWN_MESSAGE = "volumeMounts must have the name of one of volumes; correct the name, or add the volume"
VOLUME_RULES = cel(
    "!has(self.volumes) || self.volumes.all(v, self.volumes.exists_one(other, other.name == v.name))",
    _UNIQUE_NAMES_MESSAGE,
    (
        "!has(self.volumeMounts) || "
        "self.volumeMounts.all(m, self.volumeMounts.exists_one(other, other.mountPath == m.mountPath))",
        _UNIQUE_PATHS_MESSAGE,
    ),
    (
        "!has(self.volumeMounts) || "
        "self.volumeMounts.all(m, has(self.volumes) && self.volumes.exists(v, v.name == m.name))",
        _UNKNOWN_MESSAGE,
    ),
)
"""Rules about the fields volumes and volumeMounts together."""

_SEGMENT = r"\.?[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*"
VolumeName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
RelativePath = Annotated[str, Field(max_length=1024, pattern=rf"^({_SEGMENT}(/{_SEGMENT})*)?$")]
Mode = Annotated[int, Field(ge=0, le=511)]


class KeyToPath(ApiModel):
    """A key of a ConfigMap or a Secret, and the file that has its value."""

    key: Annotated[str, Field(min_length=1, max_length=253)]
    """Key of the ConfigMap or the Secret."""
    path: Annotated[RelativePath, Field(min_length=1)]
    """Path of the file in the volume, without a leading slash."""
    mode: Mode | None = None
    """Permissions of the file, from 0 to 0777 in octal or 511 in decimal. Defaults to defaultMode."""


Items = Annotated[tuple[KeyToPath, ...], Field(max_length=32)]


class ConfigMapVolume(ApiModel):
    """The keys of a ConfigMap as files."""

    name: ObjectName
    """Name of a ConfigMap in the namespace of the SpeechModel. Pods wait until it exists, unless it is
    optional."""
    items: Items = ()
    """Keys to mount, and their paths. If empty, every key is a file of that name."""
    default_mode: Mode | None = None
    """Permissions of the files, from 0 to 0777 in octal or 511 in decimal. Defaults to 0644 (420)."""
    optional: bool = False
    """If true, pods start without the ConfigMap or the keys, and the volume is then empty. Defaults to
    false."""


class SecretVolume(ApiModel):
    """The keys of a Secret as files. The operator does not read them."""

    secret_name: ObjectName
    """Name of a Secret in the namespace of the SpeechModel. Pods wait until it exists, unless it is
    optional."""
    items: Items = ()
    """Keys to mount, and their paths. If empty, every key is a file of that name."""
    default_mode: Mode | None = None
    """Permissions of the files, from 0 to 0777 in octal or 511 in decimal. Defaults to 0644 (420)."""
    optional: bool = False
    """If true, pods start without the Secret or the keys, and the volume is then empty. Defaults to
    false."""


class EmptyDirVolume(ApiModel):
    """An empty folder of one pod, which is removed with the pod."""

    medium: Annotated[str, Field(pattern="^(Memory)?$")] = ""
    """Memory keeps the files in memory, which counts towards the memory limits of the containers. If
    empty, they are on the disk of the node."""
    size_limit: Quantity | None = None
    """Size from which on the pod is evicted, or the limit of a folder in memory. If not set, the node's
    disk or memory is the limit."""


class ClaimVolume(ApiModel):
    """A PersistentVolumeClaim that exists already."""

    claim_name: ObjectName
    """Name of a PersistentVolumeClaim in the namespace of the SpeechModel. Pods stay unscheduled until it
    exists. If pods mount the claim anyway, such as the workspace, it stays one volume of the pod."""
    read_only: bool = False
    """If true, every mount of the claim is read-only. Defaults to false."""


class CSIVolume(ApiModel):
    """A volume that a CSI driver makes for one pod."""

    driver: ObjectName
    """Name of the CSI driver, such as csi.spiffe.io. It must be on the node and support ephemeral inline
    volumes."""
    read_only: bool = False
    """If true, the driver makes the volume read-only. Defaults to false."""
    fs_type: Annotated[str, Field(max_length=63)] | None = None
    """File system of the volume, such as ext4. Defaults to what the driver chooses."""
    volume_attributes: Annotated[
        dict[Annotated[str, Field(max_length=253)], Annotated[str, Field(max_length=1024)]], Field(max_length=16)
    ] = {}
    """Settings of the volume that the driver defines."""
    node_publish_secret_ref: LocalObjectReference | None = None
    """Secret in the namespace of the SpeechModel that the driver receives. The operator does not read
    it."""


class ClaimRequests(ApiModel):
    """Amounts that a claim asks for."""

    storage: Quantity
    """Size of the volume, such as 100Gi."""


class ClaimResources(ApiModel):
    """Resources of a claim, as in a PersistentVolumeClaim."""

    requests: ClaimRequests
    """Amounts that the claim asks for: its size."""


class EphemeralClaimSpec(ApiModel):
    """Claim that a pod has for itself, with the fields of a PersistentVolumeClaim."""

    access_modes: Annotated[
        tuple[Annotated[str, Field(pattern="^(ReadWriteOnce|ReadWriteOncePod|ReadWriteMany|ReadOnlyMany)$")], ...],
        Field(min_length=1, max_length=4),
    ]
    """Access modes of the claim, usually ReadWriteOnce alone."""
    storage_class_name: ObjectName | None = None
    """Name of the StorageClass, such as that of a fast local disk. Defaults to the default StorageClass of
    the cluster."""
    resources: ClaimResources
    """Size of the volume, as in a PersistentVolumeClaim."""


class EphemeralClaimTemplate(ApiModel):
    """Template of the claim."""

    spec: EphemeralClaimSpec
    """Access modes, class and size of the claim."""


class EphemeralVolume(ApiModel):
    """A PersistentVolumeClaim that Kubernetes creates for each pod, and deletes with it."""

    volume_claim_template: EphemeralClaimTemplate
    """Template of the claim of each pod, which is named `<pod>-<volume>`."""


class Volume(ApiModel, json_schema_extra=cel(_ONE_KIND_RULE, _ONE_KIND_MESSAGE, (_NAME_RULE, _NAME_MESSAGE))):
    """A volume of the pods, as in a pod. Exactly one kind is set. hostPath, projected tokens and network
    drives without a driver are not allowed; use a PersistentVolumeClaim for the last."""

    name: VolumeName
    """Name by which volumeMounts refers to the volume. Those of the operator's own volumes, such as
    workspace and tmp, are rejected."""
    config_map: ConfigMapVolume | None = None
    """Keys of a ConfigMap as files, such as the certificates of a private CA."""
    secret: SecretVolume | None = None
    """Keys of a Secret as files, such as a token of a service."""
    empty_dir: EmptyDirVolume | None = None
    """Empty folder of one pod, such as `{medium: Memory}` at /dev/shm."""
    persistent_volume_claim: ClaimVolume | None = None
    """PersistentVolumeClaim that exists already, such as one of a network drive."""
    csi: CSIVolume | None = None
    """Volume that a CSI driver makes for one pod, such as the socket of a plugin."""
    ephemeral: EphemeralVolume | None = None
    """Claim that Kubernetes creates for one pod, such as scratch space on a fast disk."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rules to manifests that do not pass through an API server."""
        del context
        kinds = (self.config_map, self.secret, self.empty_dir, self.persistent_volume_claim, self.csi, self.ephemeral)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError(_ONE_KIND_MESSAGE)
        if self.name in OUR_VOLUMES:
            raise ValueError(_NAME_MESSAGE)


class VolumeMount(ApiModel, json_schema_extra=cel(_PATH_RULE, _PATH_MESSAGE)):
    """Place of a volume in the containers, as in a pod."""

    name: VolumeName
    """Name of the one of volumes that is mounted."""
    mount_path: Annotated[str, Field(max_length=1024, pattern=rf"^(/{_SEGMENT})+$")]
    """Absolute path of the folder or file, such as /mnt/plugin. Paths of the operator's own volumes and of
    the programs in the images are rejected."""
    sub_path: RelativePath = ""
    """Path in the volume of what is mounted, without a leading slash. A file of a ConfigMap or Secret that
    is mounted so does not change until the pod is replaced. Defaults to the whole volume."""
    read_only: bool = False
    """If true, the containers cannot write to it. Those of ConfigMaps and Secrets never can. Defaults to
    false."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        ours = re.match(rf"({'|'.join(_RESERVED)})(/|$)", self.mount_path)
        if self.mount_path == "/etc" or (ours and self.mount_path != SHARED_MEMORY):
            raise ValueError(_PATH_MESSAGE)


Volumes = Annotated[tuple[Volume, ...], Field(max_length=8)]
VolumeMounts = Annotated[tuple[VolumeMount, ...], Field(max_length=16)]


def refuse_unmatched(volumes: tuple[Volume, ...], mounts: tuple[VolumeMount, ...]) -> None:
    """Raise ValueError where volumes and their mounts do not fit together: the rules of VOLUME_RULES."""
    names, paths = [volume.name for volume in volumes], [mount.mount_path for mount in mounts]
    if len(set(names)) < len(names):
        raise ValueError(_UNIQUE_NAMES_MESSAGE)
    if len(set(paths)) < len(paths):
        raise ValueError(_UNIQUE_PATHS_MESSAGE)
    if any(mount.name not in names for mount in mounts):
        raise ValueError(_UNKNOWN_MESSAGE)
