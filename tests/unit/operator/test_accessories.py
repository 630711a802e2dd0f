"""The objects beside a server's Deployment, and what they have to do with its pods."""

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from speechmodel_api.log_format import LogFormat
from speechmodel_api.spec import Serving, SpeechModelSpec
from speechmodel_inference.settings import unknown_variables
from speechmodel_operator.resources import jobs, labels, serving
from speechmodel_operator.resources.accessories import accessories
from speechmodel_operator.resources.jobs import Images
from speechmodel_plan.task import Owner
from support.world import World

from .test_resources import MODEL, OWNER

IMAGES = Images("pipeline:1", "training:1", "coqui:1", "inference:1", "IfNotPresent", ("regcred", "second"))


def spec_of(**given: Any) -> SpeechModelSpec:
    return SpeechModelSpec.model_validate(World().spec | {"serving": given})


def pod_of(**given: Any) -> dict[str, Any]:
    deployment = serving.deployment(IMAGES, OWNER, spec_of(**given), MODEL)
    pod: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    "given, kinds",
    [
        ({}, set()),
        ({"replicas": 2}, {"PodDisruptionBudget"}),
        ({"autoscaling": {"maxReplicas": 4}}, {"HorizontalPodAutoscaler"}),
        (
            {"autoscaling": {"minReplicas": 2, "maxReplicas": 4}},
            {"HorizontalPodAutoscaler", "PodDisruptionBudget"},
        ),
        ({"autoscaling": {"maxReplicas": 4, "scaler": "External"}}, set()),
        ({"ingress": {"host": "a.example.com"}}, {"Ingress"}),
        ({"route": {"parentRefs": [{"name": "public"}]}}, {"HTTPRoute"}),
    ],
)
def test_a_field_asks_for_its_object(given: dict[str, Any], kinds: set[str]) -> None:
    spec = spec_of(**given)
    assert accessories(OWNER, spec).keys() == kinds
    deployment = serving.deployment(IMAGES, OWNER, spec, MODEL)
    named = deployment["metadata"]["annotations"].get(labels.ACCESSORIES, "")
    assert {kind for kind in named.split(",") if kind} == kinds


def test_ingress_and_route_lead_to_the_service_by_its_name() -> None:
    found = accessories(
        Owner("speech", "espejo", "uid-1"),
        spec_of(
            service={"name": "asr"},
            ingress={"host": "a.example.com", "ingressClassName": "nginx", "tls": {"secretName": "cert"}},
            route={"parentRefs": [{"name": "public", "namespace": "edge"}], "hostnames": ["a.example.com"]},
        ),
    )
    (rule,) = found["Ingress"]["spec"]["rules"]
    assert rule["http"]["paths"][0]["backend"]["service"] == {"name": "asr", "port": {"name": "http"}}
    assert found["Ingress"]["spec"]["tls"] == [{"hosts": ["a.example.com"], "secretName": "cert"}]
    assert found["HTTPRoute"]["spec"] == {
        "parentRefs": [{"name": "public", "namespace": "edge"}],
        "rules": [{"backendRefs": [{"name": "asr", "port": 80}]}],
        "hostnames": ["a.example.com"],
    }


def test_pull_secrets_of_the_installation_reach_every_pod_after_those_of_the_template() -> None:
    own = {"podTemplate": {"imagePullSecrets": [{"name": "own"}, {"name": "second"}]}}
    assert pod_of(**own)["imagePullSecrets"] == [{"name": "own"}, {"name": "second"}, {"name": "regcred"}]
    world = World()
    world.to_ready()
    seen = world.observe()
    for run in world.stage_runs.values():
        pod = jobs.stage_job(IMAGES, OWNER, seen.spec, run, {})["spec"]["template"]["spec"]
        assert pod["imagePullSecrets"] == [{"name": "regcred"}, {"name": "second"}]


def test_settings_and_variables_reach_the_server_and_ours_win() -> None:
    pod = pod_of(
        settings={
            "waiting": 3,
            "maxAudioSeconds": 12.5,
            "logLevel": "DEBUG",
            "modelAliases": ["a", "b"],
        },
        env=[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "A", "value": "$(HOME)"}],
    )
    (server,), (fetch,) = pod["containers"], pod["initContainers"]
    environment = {entry["name"]: entry.get("value") for entry in server["env"]}
    assert environment["SPEECHMODEL_WAITING"] == "3"
    assert environment["SPEECHMODEL_MAX_AUDIO_SECONDS"] == "12.5"
    assert environment["SPEECHMODEL_LOG_LEVEL"] == "DEBUG"
    assert environment["SPEECHMODEL_MODEL_ALIASES"] == "a,b"
    assert "SPEECHMODEL_DECODERS" not in environment
    assert environment["A"] == "$$(HOME)"
    assert {"name": "HTTPS_PROXY", "value": "http://proxy:3128"} in fetch["env"]
    own = [entry["name"] for entry in pod_of(env=[{"name": "STAGE_INPUT", "value": "x"}])["initContainers"][0]["env"]]
    assert own.index("STAGE_INPUT") < len(own) - 1 - own[::-1].index("STAGE_INPUT")  # the last one counts


def test_api_keys_are_a_mounted_secret_of_the_server_alone() -> None:
    pod = pod_of(apiKeysSecretRef={"name": "keys"})
    assert {"name": "api-keys", "secret": {"secretName": "keys"}} in pod["volumes"]
    (server,), (fetch,) = pod["containers"], pod["initContainers"]
    (mount,) = [each for each in server["volumeMounts"] if each["name"] == "api-keys"]
    assert {"name": "SPEECHMODEL_API_KEYS", "value": mount["mountPath"]} in server["env"]
    assert mount["readOnly"] is True
    assert "api-keys" not in [each["name"] for each in fetch["volumeMounts"]]
    assert "api-keys" not in str(pod_of())


def test_takes_are_kept_on_the_claim_of_the_dataset_which_the_server_alone_mounts() -> None:
    pod = pod_of(takes={"wanted": 7})
    (server,), (fetch,) = pod["containers"], pod["initContainers"]
    claim = {"name": "dataset", "persistentVolumeClaim": {"claimName": "clips"}}
    assert claim in pod["volumes"]
    (mount,) = [each for each in server["volumeMounts"] if each["name"] == "dataset"]
    assert "readOnly" not in mount
    assert "subPath" not in mount
    environment = {entry["name"]: entry.get("value") for entry in server["env"]}
    assert environment["SPEECHMODEL_TAKES"] == mount["mountPath"]
    assert environment["SPEECHMODEL_TAKES_WANTED"] == "7"
    assert "MISHEARD" not in str(pod)
    (guarded,) = pod_of(takes={"misheard": {}}, apiKeysSecretRef={"name": "keys"})["containers"]
    assert {"name": "SPEECHMODEL_MISHEARD_DAYS", "value": "14"} in guarded["env"]
    assert "dataset" not in [each["name"] for each in fetch["volumeMounts"]]
    assert claim not in pod_of()["volumes"]
    source = {"persistentVolumeClaim": {"claimName": "clips", "path": "es/mirror"}}
    spec = World().spec | {"dataset": {"source": source}, "serving": {"takes": {}}}
    below = serving.deployment(IMAGES, OWNER, SpeechModelSpec.model_validate(spec), MODEL)
    mounts = below["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert mount | {"subPath": "es/mirror"} in mounts, "nothing beside the dataset is writable"


def test_a_server_that_may_start_a_training_has_an_account_whose_token_it_alone_mounts() -> None:
    keys = {"name": "keys"}
    pod = pod_of(takes={"retrain": {}}, apiKeysSecretRef=keys)
    (server,), (fetch,) = pod["containers"], pod["initContainers"]
    assert pod["serviceAccountName"] == f"{OWNER.name}-retrain"
    assert pod["automountServiceAccountToken"] is False
    (volume,) = [each for each in pod["volumes"] if each["name"] == "service-account"]
    assert [list(source) for source in volume["projected"]["sources"]] == [
        ["serviceAccountToken"],
        ["configMap"],
        ["downwardAPI"],
    ]
    (mount,) = [each for each in server["volumeMounts"] if each["name"] == "service-account"]
    assert mount["readOnly"] is True
    assert {"name": "SPEECHMODEL_SERVICE_ACCOUNT", "value": mount["mountPath"]} in server["env"]
    assert "service-account" not in [each["name"] for each in fetch["volumeMounts"]]
    without = pod_of(takes={}, apiKeysSecretRef=keys)
    assert "serviceAccountName" not in without
    assert "service-account" not in str(without).lower().replace("_", "-")


def test_takes_of_a_dataset_in_a_bucket_are_kept_there_with_its_credentials() -> None:
    source = {"s3": {"bucket": "voices", "prefix": "es", "secretRef": {"name": "voices"}}}
    spec = World().spec | {"dataset": {"source": source}, "serving": {"takes": {}}}
    deployment = serving.deployment(IMAGES, OWNER, SpeechModelSpec.model_validate(spec), MODEL)
    pod = deployment["spec"]["template"]["spec"]
    environment = {entry["name"]: entry for entry in pod["containers"][0]["env"]}
    assert environment["SPEECHMODEL_TAKES_BUCKET"]["value"] == '{"bucket":"voices","prefix":"es","region":"us-east-1"}'
    assert environment["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["name"] == "voices"
    assert "SPEECHMODEL_TAKES" not in environment
    assert "dataset" not in [volume["name"] for volume in pod["volumes"]]
    spec["serving"] = {}
    without = str(serving.deployment(IMAGES, OWNER, SpeechModelSpec.model_validate(spec), MODEL))
    assert "SPEECHMODEL_TAKES" not in without
    assert "'voices'" not in without


def test_the_server_program_knows_every_variable_that_it_is_given() -> None:
    images = replace(IMAGES, log_format=LogFormat.JSON, tracing=(("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318"),))
    spec = spec_of(
        wyoming={"enabled": True},
        takes={"misheard": {}, "retrain": {}},
        apiKeysSecretRef={"name": "keys"},
        settings={"waiting": 3, "engine": "Native", "corsOrigins": ["*"], "streamIdleSeconds": 60},
    )
    (server,) = serving.deployment(images, OWNER, spec, MODEL)["spec"]["template"]["spec"]["containers"]
    given = {entry["name"]: str(entry.get("value", "")) for entry in server["env"]}
    assert "SPEECHMODEL_LOG_FIELDS" in given
    assert unknown_variables(given) == []


def test_the_port_of_wyoming_is_there_only_when_it_is_enabled() -> None:
    assert "wyoming" not in str(pod_of()).lower()
    (server,) = pod_of(wyoming={"enabled": True})["containers"]
    assert {"name": "wyoming", "containerPort": 10300} in server["ports"]
    assert {"name": "SPEECHMODEL_WYOMING_LISTEN", "value": ":10300"} in server["env"]
    ports = serving.service(OWNER, spec_of(wyoming={"enabled": True}))["spec"]["ports"]
    assert [(port["name"], port["port"], port["targetPort"]) for port in ports] == [
        ("http", 80, "http"),
        ("wyoming", 10300, "wyoming"),
    ]
    assert [port["name"] for port in serving.service(OWNER, spec_of())["spec"]["ports"]] == ["http"]


def test_servers_are_spread_over_zones() -> None:
    (rule,) = pod_of(topologySpread=[{"topologyKey": "topology.kubernetes.io/zone"}])["topologySpreadConstraints"]
    assert (rule["maxSkew"], rule["whenUnsatisfiable"]) == (1, "ScheduleAnyway")
    assert rule["labelSelector"]["matchLabels"] == {labels.MODEL: "espejo", labels.STAGE: "server"}


@pytest.mark.parametrize(
    "given, message",
    [
        ({"autoscaling": {"minReplicas": 5, "maxReplicas": 4}}, "must not be greater than maxReplicas"),
        ({"autoscaling": {"minReplicas": 0, "maxReplicas": 4}}, "or scaler must be External"),
        ({"env": [{"name": "SPEECHMODEL_FOLDER", "value": "/etc"}]}, "set serving.settings instead"),
        ({"ingress": {"host": "Not A Host"}}, "String should match pattern"),
        ({"route": {"parentRefs": []}}, "at least 1 item"),
    ],
)
def test_bad_values_are_refused_with_the_rule(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Serving.model_validate(given)


@pytest.mark.parametrize(
    "scaler, current, expected",
    [
        ("HorizontalPodAutoscaler", None, 2),
        ("HorizontalPodAutoscaler", 0, 2),
        ("HorizontalPodAutoscaler", 3, 3),
        ("HorizontalPodAutoscaler", 9, 4),
        ("External", None, 2),
        ("External", 0, 0),
        ("External", 9, 9),
    ],
)
def test_the_number_of_replicas_stays_where_the_scaler_put_it(scaler: str, current: int | None, expected: int) -> None:
    spec = spec_of(autoscaling={"scaler": scaler, "minReplicas": 2, "maxReplicas": 4})
    deployment = serving.deployment(IMAGES, OWNER, spec, MODEL)
    assert "replicas" not in deployment["spec"]
    assert serving.with_replicas(deployment, spec, current)["spec"]["replicas"] == expected
