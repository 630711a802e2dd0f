"""Labels, annotations and owner references: how objects are found again, and what they were created from."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from speechmodel_api.crd import GROUP, KIND, VERSION
from speechmodel_plan.task import Owner

MODEL = f"{GROUP}/model"
"""Name of the SpeechModel. Every object has it, and watches select by it."""
STAGE = f"{GROUP}/stage"
"""prepare ... publish, purge; server for the inference pods, and canary for those of a version that is tried."""
FOUND_BY = (MODEL, STAGE)
"""Labels by which watches and steps find an object again."""
KEY = f"{GROUP}/key"
ATTEMPT = f"{GROUP}/attempt"
SETTINGS = f"{GROUP}/settings"
"""Annotation: hash of the settings that a Job was created with."""
INHERITED_AS = f"{GROUP}/inherited"
"""Annotation of a Job: the inherited labels that it was created with. A webhook, such as that of Kueue, may have added others."""
VERSION_SERVED = f"{GROUP}/version"
"""Label of the server's pods: the published version."""
APPLIED = f"{GROUP}/applied"
"""Annotation: hash of the object that was applied last, so that nothing is written twice."""
ACCESSORIES = f"{GROUP}/accessories"
"""Annotation of the Deployment: kinds of objects that the server has beside it, separated by commas. It is written before they
are created, so an object that is not wanted any more is found again without reading every kind."""
FINALIZER = f"{GROUP}/cleanup"
QUEUE = "kueue.x-k8s.io/queue-name"
INHERITED = (QUEUE, "kueue.x-k8s.io/priority-class")
"""Labels of the SpeechModel that its Jobs carry too. No other label or annotation is copied to an object: tools such as
Argo CD recognise their own objects by them.
"""
OPERATOR = f"{GROUP}/operator"
"""Label of a NetworkPolicy: the name of the release whose operator wrote it. Annotation: its namespace and name."""
WORKERS = f"{GROUP}/workers"
"""Label of the pods of a Job of several workers: their number. A NetworkPolicy selects by it."""
RESTORES = f"{GROUP}/restores"
"""Label of the pod of a stage that works on the workspace alone, but takes a published model from its bucket this time: the version. A
NetworkPolicy selects by it."""
SERVER = "server"
CANARY = "canary"
COMPONENT = "app.kubernetes.io/component"
"""Label: as STAGE, but server for the pods of a canary too."""
PURGE = "purge"


def common(owner: Owner, component: str) -> dict[str, str]:
    """Return the labels of every object."""
    return {
        MODEL: owner.name,
        STAGE: component,
        "app.kubernetes.io/name": "speechmodel",
        "app.kubernetes.io/instance": owner.name,
        COMPONENT: SERVER if component == CANARY else component,
        "app.kubernetes.io/managed-by": "speechmodel-operator",
    }


def of_template(given: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a podTemplate without those of our group, by which NetworkPolicies and steps select pods."""
    return {name: value for name, value in given.items() if not name.startswith(f"{GROUP}/")}


def inherited(model: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a SpeechModel that its Jobs carry too."""
    return {name: model[name] for name in INHERITED if name in model}


def inherited_as(inherited: Mapping[str, str]) -> str:
    """Return the value of the annotation INHERITED_AS."""
    return ",".join(f"{name}={value}" for name, value in sorted(inherited.items()))


def owner_reference(owner: Owner) -> dict[str, object]:
    """Return the reference that deletes an object together with its SpeechModel."""
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(owner: Owner, name: str, component: str, *, owned: bool = True) -> dict[str, Any]:
    """Return the metadata of an object that belongs to a SpeechModel."""
    found: dict[str, Any] = {"name": name, "namespace": owner.namespace, "labels": common(owner, component)}
    return found | {"ownerReferences": [owner_reference(owner)]} if owned else found


def server_selector(owner: Owner) -> dict[str, str]:
    """Return the labels that select the server's pods, without those of a canary."""
    return {MODEL: owner.name, STAGE: SERVER}


def canary_selector(owner: Owner) -> dict[str, str]:
    """Return the labels that select the pods of a canary."""
    return {MODEL: owner.name, STAGE: CANARY}


def service_selector(owner: Owner) -> dict[str, str]:
    """Return the labels that select every pod that answers requests."""
    return {MODEL: owner.name, COMPONENT: SERVER}


def signed(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest with the annotation APPLIED, the hash of everything else."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    metadata = manifest["metadata"]
    return manifest | {"metadata": metadata | {"annotations": {**metadata.get("annotations", {}), APPLIED: digest}}}
