"""The server: a Deployment that downloads one published version from S3, and the Service in front of it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from speechmodel_api.spec import Serving, SpeechModelSpec
from speechmodel_api.stages import FetchInput
from speechmodel_api.status import ModelStatus
from speechmodel_plan import names
from speechmodel_plan.stages.compare import published_at
from speechmodel_plan.task import Owner

from speechmodel_operator.resources import labels
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.pod import (
    LIGHT,
    Manifest,
    container,
    credentials,
    pod_spec,
    program,
    program_env,
    resources,
)

FOLDER = "/models"
PORT = 8080
LAME_DUCK_SECONDS = 5
"""Time for which a server accepts requests after SIGTERM, while its endpoint is removed."""
GRACE_SECONDS = 60


def deployment(images: Images, owner: Owner, spec: SpeechModelSpec, served: ModelStatus) -> Manifest:
    """Return the Deployment of one version. A roll-out keeps the old replicas until the new ones have transcribed their clip."""
    serving, bucket = _serving(spec), published_at(spec, served)
    found = labels.common(owner, labels.SERVER)
    fetch = FetchInput(
        target=bucket.location,
        version_uri=served.version_uri,
        version_sha256=served.version_sha256,
        folder=PurePosixPath(FOLDER),
    )
    models: list[Manifest] = [{"name": "models", "mountPath": FOLDER}]
    init = container(
        "fetch",
        images.pipeline,
        images.pull_policy,
        program("speechmodel_pipeline.fetch"),
        env=program_env(fetch) + credentials(bucket.secret_ref),
        mounts=models,
        resources=LIGHT,
    )
    server = container(
        labels.SERVER,
        images.inference,
        images.pull_policy,
        program("speechmodel_inference"),
        env=[
            {"name": "SPEECHMODEL_NAME", "value": owner.name},
            {"name": "SPEECHMODEL_FOLDER", "value": FOLDER},
            {"name": "SPEECHMODEL_LISTEN", "value": f":{PORT}"},
            {"name": "SPEECHMODEL_LAME_DUCK_SECONDS", "value": str(LAME_DUCK_SECONDS)},
        ],
        mounts=[{**mount, "readOnly": True} for mount in models],
        ports=[{"name": "http", "containerPort": PORT}],
        resources=resources(serving.pod_template.resources) or LIGHT,
        startupProbe={"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1, "failureThreshold": 300},
        readinessProbe={"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 2, "failureThreshold": 1},
        livenessProbe={"httpGet": {"path": "/livez", "port": "http"}, "periodSeconds": 10, "timeoutSeconds": 5},
    )
    pod = pod_spec(
        serving.pod_template,
        [server],
        [{"name": "models", "emptyDir": {}}],
        initContainers=[init],
        terminationGracePeriodSeconds=GRACE_SECONDS,
    )
    template = {
        "metadata": {
            "labels": dict(serving.pod_template.labels) | found | {labels.VERSION_SERVED: served.version},
            "annotations": dict(serving.pod_template.annotations),
        },
        "spec": pod,
    }
    return _signed(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": labels.metadata(owner, names.deployment_name(owner.name), labels.SERVER),
            "spec": {
                "replicas": serving.replicas,
                "selector": {"matchLabels": {labels.MODEL: owner.name, labels.STAGE: labels.SERVER}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": template,
            },
        }
    )


def service(owner: Owner, spec: SpeechModelSpec) -> Manifest:
    """Return the Service that forwards port 80 to the replicas that are ready."""
    return _signed(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": labels.metadata(owner, _serving(spec).service.name or owner.name, labels.SERVER),
            "spec": {
                "selector": {labels.MODEL: owner.name, labels.STAGE: labels.SERVER},
                "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
            },
        }
    )


def applied_hash(manifest: Mapping[str, Any]) -> str:
    """Return the hash that an object of this file carries."""
    digest: str = manifest["metadata"]["annotations"][labels.APPLIED]
    return digest


def _serving(spec: SpeechModelSpec) -> Serving:
    if spec.serving is None:
        raise ValueError("spec.serving is not set, so there is no server to build")
    return spec.serving


def _signed(manifest: Manifest) -> Manifest:
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    metadata = manifest["metadata"] | {"annotations": {labels.APPLIED: digest}}
    return manifest | {"metadata": metadata}
