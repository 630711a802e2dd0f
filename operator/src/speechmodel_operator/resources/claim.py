"""The workspace claim."""

from speechmodel_api.spec import SpeechModelSpec, VolumeClaimTemplate

from speechmodel_operator.resources import labels
from speechmodel_operator.resources.pod import Manifest


def workspace_claim(namespace: str, model: str, uid: str, spec: SpeechModelSpec, name: str, *, owned: bool) -> Manifest:
    """The claim that dataset, checkpoints and exports lie on. Without an owner it outlives the SpeechModel."""
    template = spec.training.storage.volume_claim_template or VolumeClaimTemplate()
    metadata: Manifest = {"name": name, "namespace": namespace, "labels": labels.common(model, "workspace")}
    if owned:
        metadata["ownerReferences"] = [labels.owner_reference(model, uid)]
    wanted: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": template.storage}},
    }
    if template.storage_class_name is not None:
        wanted["storageClassName"] = template.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": wanted}
