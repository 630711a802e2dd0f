"""The workers of training: an Indexed Job whose pods find each other by a headless Service.

A pod that fails ends the Job, and with it the whole set: the pods have to start together, so a new attempt creates all
of them.
"""

import json
from collections.abc import Mapping
from typing import Any

from speechmodel_api.stages.contract import StageName
from speechmodel_plan import names
from speechmodel_plan.plan import StageRun
from speechmodel_plan.task import Owner

from speechmodel_operator.resources import labels
from speechmodel_operator.resources.pod import Manifest

PORT, PORT_NAME = 2222, "workers"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation and label of a pod of an Indexed Job."""
JOB_NAME = "batch.kubernetes.io/job-name"


def service(owner: Owner) -> Manifest:
    """Return the headless Service that gives every worker a name. It does not wait for them to be ready, since they
    become ready together.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": labels.metadata(owner, names.workers_service(owner.name), StageName.TRAIN.value),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {labels.MODEL: owner.name, labels.STAGE: StageName.TRAIN.value},
            "ports": [{"name": PORT_NAME, "port": PORT, "targetPort": PORT_NAME}],
        },
    }


def job_fields(run: StageRun) -> Manifest:
    """Return the fields of the Job of several workers. Without a podFailurePolicy, every failure of a pod ends it."""
    return {"completionMode": "Indexed", "completions": run.workers, "parallelism": run.workers}


def environment(owner: Owner, run: StageRun) -> list[Manifest]:
    """Return TF_CONFIG, which names all workers and the one of this pod."""
    if run.workers == 1:
        return []
    domain = f"{names.workers_service(owner.name)}.{owner.namespace}.svc"
    addresses = [f"{run.name}-{index}.{domain}:{PORT}" for index in range(run.workers)]
    index = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}
    config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 0}}
    # the kubelet puts in the value of a variable that comes before
    text = json.dumps(config).replace('"index": 0', f'"index": $({INDEX_VARIABLE})')
    return [{"name": INDEX_VARIABLE, "valueFrom": index}, {"name": "TF_CONFIG", "value": text}]


def ports(run: StageRun) -> Manifest:
    """Return the port of a worker's container, by which NetworkPolicies name it."""
    return {"ports": [{"name": PORT_NAME, "containerPort": PORT}]} if run.workers > 1 else {}


def placed(owner: Owner, run: StageRun) -> Manifest:
    """Return the fields of a worker's pod that give it a name below the Service."""
    return {"subdomain": names.workers_service(owner.name)} if run.workers > 1 else {}


def labelled(run: StageRun) -> dict[str, str]:
    """Return the labels of a worker's pod beyond those of every pod."""
    return {labels.WORKERS: str(run.workers)} if run.workers > 1 else {}


def together(affinity: Mapping[str, Any], run: StageRun) -> Manifest:
    """Return the affinity that also keeps all workers on one node."""
    rule = {"labelSelector": {"matchLabels": {JOB_NAME: run.name}}, "topologyKey": "kubernetes.io/hostname"}
    found, required = affinity.get("podAffinity", {}), "requiredDuringSchedulingIgnoredDuringExecution"
    return {**affinity, "podAffinity": {**found, required: [*found.get(required, []), rule]}}
