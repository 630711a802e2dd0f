"""Labels and annotations: how objects are found again, and what they were made from."""

from speechmodel_api.crd import GROUP, KIND, VERSION

MODEL = f"{GROUP}/model"
"""Name of the SpeechModel; every object has it, and watches select by it."""
STAGE = f"{GROUP}/stage"
"""prepare ... publish, purge; server for the inference pods."""
KEY = f"{GROUP}/key"
ATTEMPT = f"{GROUP}/attempt"
SETTINGS = f"{GROUP}/settings"
"""Annotation: hash of the pod settings that a Job was made with."""
VERSION_SERVED = f"{GROUP}/version"
"""Of the Deployment's pod template: the published version."""
APPLIED = f"{GROUP}/applied"
"""Annotation: hash of what was applied, so that nothing is written twice."""
FINALIZER = f"{GROUP}/cleanup"
SERVER = "server"
PURGE = "purge"


def common(model: str, component: str) -> dict[str, str]:
    """The labels of every object."""
    return {
        MODEL: model,
        STAGE: component,
        "app.kubernetes.io/name": "speechmodel",
        "app.kubernetes.io/instance": model,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "speechmodel-operator",
    }


def owner_reference(name: str, uid: str) -> dict[str, object]:
    """Makes an object go when the SpeechModel goes."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
