"""The workspace claim."""

from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.training_spec import VolumeClaimTemplate
from speechmodel_plan.task import Owner

from speechmodel_operator.resources import labels
from speechmodel_operator.resources.pod import Manifest


def workspace_claim(owner: Owner, spec: SpeechModelSpec, name: str, *, owned: bool) -> Manifest:
    """Return the claim for dataset, checkpoints and exports. Unless it is `owned`, it outlives the SpeechModel."""
    template = spec.training.storage.volume_claim_template or VolumeClaimTemplate()
    metadata = labels.metadata(owner, name, "workspace", owned=owned)
    request: Manifest = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": template.storage}},
    }
    if template.storage_class_name is not None:
        request["storageClassName"] = template.storage_class_name
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": request}
