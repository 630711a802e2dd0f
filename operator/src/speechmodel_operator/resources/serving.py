"""The server: a Deployment that downloads one published version from S3, and the Service in front of it."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from speechmodel_api.credentials import CA_BUNDLE
from speechmodel_api.dataset_spec import ClaimSource
from speechmodel_api.serving_spec import WYOMING_PORT, Engine, Scaler
from speechmodel_api.spec import Serving, SpeechModelSpec
from speechmodel_api.stages.publish import FetchInput
from speechmodel_api.status import ModelStatus
from speechmodel_plan import names
from speechmodel_plan.stages.compare import published_at, trusted_keys
from speechmodel_plan.task import Owner

from speechmodel_operator.resources import labels
from speechmodel_operator.resources.accessories import accessories, service_name
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.pod import (
    DATASET_MOUNT,
    LIGHT,
    Manifest,
    container,
    credentials,
    environment,
    log_env,
    on_x86_64,
    pod_spec,
    program,
    program_env,
    resources,
    trace_env,
)

FOLDER = "/models"
KEYS_FOLDER = "/api-keys"
ACCOUNT_FOLDER = "/service-account"
CACHE = "/cache"
PORT = 8080
LAME_DUCK_SECONDS = 5
"""Time for which a server accepts requests after SIGTERM, and after each that still comes, while its endpoint is
removed: 20 s at most, of the grace period's 60."""
GRACE_SECONDS = 60
TOKEN_SECONDS = 3600
"""Lifetime of the token of a ServiceAccount. kubelet replaces it in time."""
STRATEGY = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}


def deployment(images: Images, owner: Owner, spec: SpeechModelSpec, served: ModelStatus) -> Manifest:
    """Return the Deployment of one version. A roll-out keeps the old replicas until the new ones have transcribed their clip.

    With autoscaling it has no number of replicas (see `with_replicas`).
    """
    serving, beside = _serving(spec), accessories(owner, spec)
    return labels.signed(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": labels.metadata(owner, names.deployment_name(owner.name), labels.SERVER)
            | ({"annotations": {labels.ACCESSORIES: ",".join(sorted(beside))}} if beside else {}),
            "spec": {
                **({} if serving.autoscaling else {"replicas": serving.replicas}),
                "selector": {"matchLabels": labels.server_selector(owner)},
                "strategy": STRATEGY,
                "template": _template(images, owner, spec, served, labels.SERVER),
            },
        }
    )


def canary(images: Images, owner: Owner, spec: SpeechModelSpec, tried: ModelStatus, replicas: int) -> Manifest:
    """Return the Deployment of a version that is tried. Its pods are those of the server but for a label, and the Service
    selects them too.
    """
    return labels.signed(
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": labels.metadata(owner, names.canary_name(owner.name), labels.CANARY),
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels.canary_selector(owner)},
                "strategy": STRATEGY,
                "template": _template(images, owner, spec, tried, labels.CANARY),
            },
        }
    )


def service(owner: Owner, spec: SpeechModelSpec) -> Manifest:
    """Return the Service that forwards port 80, and the port of Wyoming, to the replicas that are ready."""
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    if _serving(spec).wyoming.enabled:
        ports.append({"name": "wyoming", "port": WYOMING_PORT, "targetPort": "wyoming", "protocol": "TCP"})
    return labels.signed(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": labels.metadata(owner, service_name(owner, _serving(spec)), labels.SERVER),
            "spec": {
                "selector": labels.service_selector(owner),
                "ports": ports,
            },
        }
    )


def with_replicas(manifest: Manifest, spec: SpeechModelSpec, current: int | None) -> Manifest:
    """Return the Deployment with the number of replicas to apply; `current` is None before it exists.

    With autoscaling the current number stays, because the API server would set 1 if it were left out. A HorizontalPodAutoscaler
    does not act on 0 replicas, so the bounds hold here too. An external scaler decides alone.
    """
    autoscaling = _serving(spec).autoscaling
    if autoscaling is None:
        return manifest
    replicas = max(autoscaling.min_replicas, 1) if current is None else current
    if autoscaling.scaler is Scaler.HORIZONTAL_POD_AUTOSCALER:
        replicas = min(max(replicas, autoscaling.min_replicas), autoscaling.max_replicas)
    return manifest | {"spec": manifest["spec"] | {"replicas": replicas}}


def applied_hash(manifest: Mapping[str, Any]) -> str:
    """Return the hash that an object of this file carries."""
    digest: str = manifest["metadata"]["annotations"][labels.APPLIED]
    return digest


def _template(images: Images, owner: Owner, spec: SpeechModelSpec, served: ModelStatus, component: str) -> Manifest:
    """Return the pods of a version."""
    serving, bucket = _serving(spec), published_at(spec, served)
    found = labels.common(owner, component)
    fetch = FetchInput(
        target=bucket.location,
        version_uri=served.version_uri,
        version_sha256=served.version_sha256,
        public_keys=trusted_keys(spec, served),
        list_versions=True if serving.takes else None,
        folder=PurePosixPath(FOLDER),
        cache=PurePosixPath(CACHE) if serving.cache else None,
    )
    keys = serving.api_keys_secret_ref
    retrain = serving.takes.retrain if serving.takes else None
    models: list[Manifest] = [
        {"name": "models", "mountPath": FOLDER},
        *([{"name": "cache", "mountPath": CACHE}] if serving.cache else []),
    ]
    recordings = spec.dataset.source.persistent_volume_claim if serving.takes else None
    in_bucket = bool(serving.takes and spec.dataset.source.s3)
    # a variable of serving.env takes precedence, and a pod waits for each ConfigMap that it mounts
    bundle = images.ca_bundle if CA_BUNDLE not in {variable.name for variable in serving.env} else None
    ca_env, ca_mount = ([bundle.env], [bundle.mount]) if bundle else ([], [])
    given = environment(serving.env)
    init = container(
        "fetch",
        images.pipeline,
        images.pull_policy,
        program("speechmodel_pipeline.fetch"),
        env=[
            *given,
            *log_env(images.log_format, owner, "fetch"),
            *_traces(images, owner, serving, "fetch"),
            *program_env(fetch),
            *credentials(bucket.secret_ref),
            *ca_env,
        ],
        mounts=[*models, *ca_mount],
        # it ends before the server starts, so the pod reserves no more than the server does
        resources=resources(serving.pod_template.resources, LIGHT),
    )
    server = container(
        labels.SERVER,
        images.inference,
        images.pull_policy,
        program("speechmodel_inference"),
        env=[
            *given,
            *log_env(images.log_format, owner, labels.SERVER),
            *_traces(images, owner, serving, labels.SERVER),
            {"name": "SPEECHMODEL_NAME", "value": owner.name},
            {"name": "SPEECHMODEL_FOLDER", "value": FOLDER},
            {"name": "SPEECHMODEL_LISTEN", "value": f":{PORT}"},
            {"name": "SPEECHMODEL_LAME_DUCK_SECONDS", "value": str(LAME_DUCK_SECONDS)},
            *([{"name": "SPEECHMODEL_API_KEYS", "value": KEYS_FOLDER}] if keys else []),
            *_takes(spec),
            *(ca_env if in_bucket else []),
            *([{"name": "SPEECHMODEL_SERVICE_ACCOUNT", "value": ACCOUNT_FOLDER}] if retrain else []),
            *([{"name": "SPEECHMODEL_WYOMING_LISTEN", "value": f":{WYOMING_PORT}"}] if serving.wyoming.enabled else []),
            *({"name": name, "value": value} for name, value in serving.settings.environment().items()),
        ],
        mounts=[
            *(
                {**mount, "readOnly": True}
                for mount in (
                    *models,
                    *([{"name": "api-keys", "mountPath": KEYS_FOLDER}] if keys else []),
                    *([{"name": "service-account", "mountPath": ACCOUNT_FOLDER}] if retrain else []),
                    *(ca_mount if in_bucket else []),
                )
            ),
            *([_mount(recordings)] if recordings else []),
        ],
        ports=[
            {"name": "http", "containerPort": PORT},
            *([{"name": "wyoming", "containerPort": WYOMING_PORT}] if serving.wyoming.enabled else []),
        ],
        resources=resources(serving.pod_template.resources, LIGHT),
        startupProbe=_probe("/readyz", period=1, failures=300, timeout=1),
        readinessProbe=_probe("/readyz", period=1, failures=3),
        livenessProbe=_probe("/livez", period=10, failures=3),
    )
    pod = pod_spec(
        serving.pod_template,
        [server],
        [
            {"name": "models", "emptyDir": {}},
            *(
                [{"name": "cache", "persistentVolumeClaim": {"claimName": serving.cache.claim_name}}]
                if serving.cache
                else []
            ),
            *([{"name": "api-keys", "secret": {"secretName": keys.name}}] if keys else []),
            *(
                [{"name": "dataset", "persistentVolumeClaim": {"claimName": recordings.claim_name}}]
                if recordings
                else []
            ),
            *([_service_account()] if retrain else []),
            *([bundle.volume] if bundle else []),
        ],
        images.pull_secrets,
        init_containers=[init],
        terminationGracePeriodSeconds=GRACE_SECONDS,
        **_spread(serving, {labels.MODEL: owner.name, labels.STAGE: component}),
        **({"serviceAccountName": names.retrain_account(owner.name)} if retrain else {}),
    )
    engines, engine = served.arm64_engines, serving.settings.engine or Engine.AUTO
    anywhere = engines is None or engine in engines
    return {
        "metadata": {
            "labels": labels.of_template(serving.pod_template.labels) | found | {labels.VERSION_SERVED: served.version},
            "annotations": dict(serving.pod_template.annotations),
        },
        "spec": pod if anywhere else on_x86_64(pod),
    }


def _probe(path: str, *, period: int, failures: int, timeout: int = 5) -> Manifest:
    """Return a probe that tolerates late answers: a busy server has not failed, and it may be the only one.

    A deleted pod leaves the Service without waiting for a probe.
    """
    asked = {"httpGet": {"path": path, "port": "http"}}
    return asked | {"periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": failures}


def _traces(images: Images, owner: Owner, serving: Serving, program: str) -> list[Manifest]:
    """Return the variables by which a program sends traces. Those of serving.env take precedence."""
    given = {variable.name for variable in serving.env}
    return [variable for variable in trace_env(images.tracing, owner, program) if variable["name"] not in given]


def _takes(spec: SpeechModelSpec) -> list[Manifest]:
    """Return the variables of a server on whose page people record takes. Those of a bucket have its credentials."""
    takes, bucket = _serving(spec).takes, spec.dataset.source.s3
    if takes is None:
        return []
    found = takes.environment(bucket.location if bucket else PurePosixPath(DATASET_MOUNT))
    return [
        *({"name": name, "value": value} for name, value in found.items()),
        *(credentials(bucket.secret_ref) if bucket else []),
    ]


def _mount(recordings: ClaimSource) -> Manifest:
    """Return the mount of the folder of the dataset, and of nothing beside it on its claim."""
    below = {"subPath": recordings.path} if recordings.path else {}
    return {"name": "dataset", "mountPath": DATASET_MOUNT, **below}


def _service_account() -> Manifest:
    """Return the volume with what a pod needs to call the API server. Unlike the one that Kubernetes adds to a pod, it is
    mounted into the server alone, without fetch and sidecars.
    """
    sources: list[Manifest] = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_SECONDS}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    return {"name": "service-account", "projected": {"sources": sources}}


def _spread(serving: Serving, selector: Mapping[str, str]) -> Manifest:
    """Return the rules that spread the pods of one roll-out."""
    if not serving.topology_spread:
        return {}
    rules = [
        rule.model_dump(by_alias=True, mode="json")
        | {"labelSelector": {"matchLabels": dict(selector)}, "matchLabelKeys": ["pod-template-hash"]}
        for rule in serving.topology_spread
    ]
    return {"topologySpreadConstraints": rules}


def _serving(spec: SpeechModelSpec) -> Serving:
    if spec.serving is None:
        raise ValueError("spec.serving is not set, so there is no server to build")
    return spec.serving
