"""The server: a Deployment that fetches one published version from S3, and the Service in front of it."""

import hashlib
import json
from pathlib import PurePosixPath

from speechmodel_api.spec import LocalObjectReference, S3Location, Serving, SpeechModelSpec
from speechmodel_api.stages import FetchInput
from speechmodel_api.status import ModelStatus
from speechmodel_plan import names

from speechmodel_operator.resources import labels
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.pod import LIGHT, Manifest, container, credentials, pod_spec, program_env, resources

FOLDER = "/models"
PORT = 8080
LAME_DUCK_SECONDS = 5
"""How long a server that was told to end still takes requests: endpoints need a moment to drain."""
GRACE_SECONDS = 60


def deployment(
    images: Images, namespace: str, model: str, uid: str, spec: SpeechModelSpec, served: ModelStatus
) -> Manifest:
    """Replicas that serve one version; a roll-out keeps the old ones until the new ones transcribed their self-test clip."""
    serving = _serving(spec)
    found = labels.common(model, labels.SERVER)
    fetch = FetchInput(
        target=_where(served),
        version_uri=served.version_uri,
        version_sha256=served.version_sha256,
        folder=PurePosixPath(FOLDER),
    )
    models: list[Manifest] = [{"name": "models", "mountPath": FOLDER}]
    init = container(
        "fetch",
        images.pipeline,
        images.pull_policy,
        ["python", "-m", "speechmodel_pipeline.fetch"],
        env=program_env(fetch) + credentials(_secret(spec, served)),
        volumeMounts=models,
        resources=LIGHT,
    )
    server = container(
        labels.SERVER,
        images.inference,
        images.pull_policy,
        ["python", "-m", "speechmodel_inference"],
        env=[
            {"name": "SPEECHMODEL_NAME", "value": model},
            {"name": "SPEECHMODEL_FOLDER", "value": FOLDER},
            {"name": "SPEECHMODEL_LISTEN", "value": f":{PORT}"},
            {"name": "SPEECHMODEL_LAME_DUCK_SECONDS", "value": str(LAME_DUCK_SECONDS)},
        ],
        volumeMounts=[{**mount, "readOnly": True} for mount in models],
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
            "metadata": {
                "name": names.deployment_name(model),
                "namespace": namespace,
                "labels": found,
                "ownerReferences": [labels.owner_reference(model, uid)],
            },
            "spec": {
                "replicas": serving.replicas,
                "selector": {"matchLabels": {labels.MODEL: model, labels.STAGE: labels.SERVER}},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": template,
            },
        }
    )


def service(namespace: str, model: str, uid: str, spec: SpeechModelSpec) -> Manifest:
    """Port 80, to the replicas that are ready."""
    found = labels.common(model, labels.SERVER)
    return _signed(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": _serving(spec).service.name or model,
                "namespace": namespace,
                "labels": found,
                "ownerReferences": [labels.owner_reference(model, uid)],
            },
            "spec": {
                "selector": {labels.MODEL: model, labels.STAGE: labels.SERVER},
                "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
            },
        }
    )


def _where(served: ModelStatus) -> S3Location:
    """Where the version lies: `publish.s3` may have been edited since."""
    bucket = served.version_uri.removeprefix("s3://").split("/")[0]
    return S3Location(bucket=bucket, endpoint=served.endpoint, region=served.region)


def _secret(spec: SpeechModelSpec, served: ModelStatus) -> LocalObjectReference | None:
    """The Secret that opens the version's bucket: an edit counts at once, unless it is about another place."""
    where, now = _where(served), spec.publish.s3
    if (now.bucket, now.endpoint) == (where.bucket, where.endpoint):
        return now.secret_ref
    return LocalObjectReference(name=served.secret_name) if served.secret_name else None


def _serving(spec: SpeechModelSpec) -> Serving:
    if spec.serving is None:
        raise ValueError("spec.serving is absent: there is no server to build")
    return spec.serving


def _signed(manifest: Manifest) -> Manifest:
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    metadata = manifest["metadata"] | {"annotations": {labels.APPLIED: digest}}
    return manifest | {"metadata": metadata}
