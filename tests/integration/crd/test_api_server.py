"""Manifests and a real API server: it accepts the examples and rejects bad ones with a message that helps."""

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from speechmodel_api.spec import SpeechModelSpec
from support.kube import Kubectl
from support.places import ROOT
from support.target import Target

pytestmark = pytest.mark.cluster

GOOD: dict[str, Any] = {
    "apiVersion": "speechops.dev/v1alpha1",
    "kind": "SpeechModel",
    "metadata": {"name": "espejo"},
    "spec": {
        "language": "es",
        "dataset": {"source": {"persistentVolumeClaim": {"claimName": "clips"}}},
        "publish": {"s3": {"bucket": "speech-models"}},
    },
}
# path, value (None removes the field), part of the message
BAD: list[tuple[str, Any, str]] = [
    ("metadata.name", "x" * 37, "metadata.name must be at most 36 lowercase letters"),
    ("metadata.name", "7seven", "metadata.name must be at most 36 lowercase letters"),
    ("spec.language", None, "spec.language: Required value"),
    ("spec.language", "spanish please", "spec.language"),
    ("spec.suspend", "no", "spec.suspend"),
    ("spec.dataset", None, "spec.dataset: Required value"),
    ("spec.publish.signing", {"publicKeys": ["MFkw"]}, "spec.publish.signing.privateKeySecretRef: Required value"),
    (
        "spec.publish.signing",
        {"privateKeySecretRef": {"name": "signing"}, "publicKeys": ["MFkw"]},
        "spec.publish.signing.publicKeys[0]",
    ),
    (
        "spec.publish.signing",
        {"privateKeySecretRef": {"name": "signing"}, "publicKeys": []},
        "spec.publish.signing.publicKeys",
    ),
    ("spec.dataset.source", {}, "set exactly one of persistentVolumeClaim and s3"),
    (
        "spec.dataset.source",
        {"persistentVolumeClaim": {"claimName": "clips"}, "s3": {"bucket": "voices"}},
        "set exactly one of persistentVolumeClaim and s3",
    ),
    ("spec.dataset.source", {"s3": {"bucket": "voices", "prefix": "es/"}}, "spec.dataset.source.s3.prefix"),
    ("spec.dataset.source", {"s3": {"prefix": "es"}}, "spec.dataset.source.s3.bucket: Required value"),
    ("spec.dataset.source.persistentVolumeClaim.path", "../other", "spec.dataset.source.persistentVolumeClaim.path"),
    ("spec.dataset.source.persistentVolumeClaim.path", "/abs", "spec.dataset.source.persistentVolumeClaim.path"),
    ("spec.dataset.format", "Other", 'supported values: "Commands", "DeepSpeechCSV", "CommonVoice", "LibriSpeech"'),
    ("spec.dataset.alphabet", ["ab"], "spec.dataset.alphabet[0]"),
    ("spec.dataset.alphabet", ["a", "a"], "spec.dataset.alphabet[1]: Duplicate value"),
    ("spec.dataset.alphabet", [chr(0x400 + i) for i in range(256)], "spec.dataset.alphabet"),
    ("spec.dataset.split", {"devPercent": 51}, "spec.dataset.split.devPercent"),
    (
        "spec.dataset.split",
        {"devPercent": 50, "testPercent": 50},
        "devPercent and testPercent must add up to at most 90",
    ),
    ("spec.training", {"maxEpochs": 0}, "spec.training.maxEpochs"),
    ("spec.training", {"maxEpochs": "75"}, "spec.training.maxEpochs"),
    ("spec.training", {"hyperparameters": {"learningRate": 0}}, "spec.training.hyperparameters.learningRate"),
    ("spec.training", {"hyperparameters": {"learningRate": "0.001"}}, "spec.training.hyperparameters.learningRate"),
    ("spec.training", {"hyperparameters": {"hiddenUnits": 8}}, "spec.training.hyperparameters.hiddenUnits"),
    ("spec.training", {"hyperparameters": {"dropout": 1}}, "spec.training.hyperparameters.dropout"),
    ("spec.training", {"hyperparameters": {"batchSize": "Auto"}}, "spec.training.hyperparameters.batchSize"),
    ("spec.training", {"schedule": {"type": "cosine"}}, "spec.training.schedule.type"),
    ("spec.training", {"initFrom": {"dropLayers": 1}}, "set exactly one of persistentVolumeClaim and s3"),
    (
        "spec.training",
        {"initFrom": {"persistentVolumeClaim": {"claimName": "old"}, "s3": {"bucket": "old"}}},
        "set exactly one of persistentVolumeClaim and s3",
    ),
    ("spec.training", {"initFrom": {"s3": {"prefix": "en"}}}, "spec.training.initFrom.s3.bucket: Required value"),
    (
        "spec.training",
        {"initFrom": {"s3": {"bucket": "old", "prefix": "en/"}}},
        "spec.training.initFrom.s3.prefix",
    ),
    (
        "spec.training",
        {"initFrom": {"persistentVolumeClaim": {"claimName": "old"}, "dropLayers": 6}},
        "spec.training.initFrom.dropLayers",
    ),
    ("spec.training", {"numWorkers": 0}, "spec.training.numWorkers"),
    ("spec.training", {"engine": "Coqui"}, 'supported values: "Native", "CoquiSTT"'),
    (
        "spec.training",
        {"engine": "CoquiSTT", "schedule": {"type": "Cosine"}},
        "schedule.type must be Constant or Auto with the engine CoquiSTT",
    ),
    (
        "spec.training",
        {"engine": "CoquiSTT", "earlyStop": {"minDelta": 0.1}, "reduceOnPlateau": {}},
        "earlyStop.minDelta and reduceOnPlateau.minDelta must be equal",
    ),
    (
        "spec.training",
        {"engine": "CoquiSTT", "podTemplate": {"resources": {"limits": {"cpu": "2", "nvidia.com/gpu": "1"}}}},
        "podTemplate.resources must not have GPUs",
    ),
    (
        "spec.training",
        {"engine": "CoquiSTT", "podTemplate": {"resources": {"requests": {"nvidia.com/mig-1g.10gb": "1"}}}},
        "podTemplate.resources must not have GPUs",
    ),
    (
        "spec.training",
        {"stageResources": {"limits": {"nvidia.com/gpu": "1"}}},
        "stageResources must not have GPUs in limits or requests, because only train uses them",
    ),
    ("spec.training", {"stageResources": {"limits": {"memory": "2 GB"}}}, "stageResources.limits.memory"),
    ("spec.training", {"earlyStop": {"patience": 0}}, "spec.training.earlyStop.patience"),
    ("spec.training", {"reduceOnPlateau": {"factor": 1}}, "spec.training.reduceOnPlateau.factor"),
    ("spec.training", {"schedule": {"warmupPercent": 51}}, "spec.training.schedule.warmupPercent"),
    ("spec.training", {"augmentation": "Always"}, "spec.training.augmentation"),
    ("spec.training", {"augmentation": ["reverb[p=0.1"]}, "spec.training.augmentation[0]"),
    ("spec.training", {"augmentation": ["reverb"] * 33}, "spec.training.augmentation"),
    ("spec.evaluation", {"gate": {}}, "set at least one of maxWER, maxFalseAccept and notWorseThanServing"),
    ("spec.evaluation", {"gate": {"maxWER": 15}}, "spec.evaluation.gate.maxWER"),
    ("spec.serving", {"pinnedVersion": "latest"}, "spec.serving.pinnedVersion"),
    ("spec.dataset.negatives", {"path": "../other"}, "spec.dataset.negatives.path"),
    ("spec.dataset.negatives", {"source": {}}, "set exactly one of persistentVolumeClaim and s3"),
    (
        "spec.dataset.negatives",
        {"path": "other", "source": {"s3": {"bucket": "radio"}}},
        "set either path or source, not both",
    ),
    (
        "spec.dataset.negatives",
        {"source": {"persistentVolumeClaim": {"claimName": "clips"}}},
        "negatives.source must not be the place of source",
    ),
    (
        "spec.training",
        {"storage": {"claimName": "a", "volumeClaimTemplate": {}}},
        "set either claimName or volumeClaimTemplate, not both",
    ),
    ("spec.training", {"storage": {"volumeClaimTemplate": {"storage": "ten"}}}, "volumeClaimTemplate.storage"),
    ("spec.training", {"storage": {"keepFor": "a week"}}, "spec.training.storage.keepFor"),
    ("spec.training", {"podTemplate": {"tolerations": [{"operator": "Maybe"}]}}, "tolerations[0].operator"),
    ("spec.training", {"precision": "Float16"}, 'supported values: "Auto", "Float32", "BFloat16"'),
    ("spec.dataset.annotations", "Drop", 'supported values: "Reject", "Strip"'),
    ("spec.dataset.numbers", "Drop", 'supported values: "Reject", "Spell"'),
    ("spec.publish", None, "spec.publish: Required value"),
    ("spec.publish.s3.bucket", "No_Bucket", "spec.publish.s3.bucket"),
    ("spec.publish.s3.prefix", "/a/", "spec.publish.s3.prefix"),
    ("spec.publish.s3.endpoint", "s3:8333", "spec.publish.s3.endpoint"),
    ("spec.publish.deletionPolicy", "Keep", 'supported values: "Retain", "Delete"'),
    ("spec.serving", {"replicas": -1}, "spec.serving.replicas"),
    ("spec.serving", {"service": {"name": "Upper"}}, "spec.serving.service.name"),
    ("spec.serving", {"autoscaling": {}}, "spec.serving.autoscaling.maxReplicas: Required value"),
    ("spec.serving", {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}, "must not be greater than maxReplicas"),
    ("spec.serving", {"autoscaling": {"minReplicas": 0, "maxReplicas": 2}}, "or scaler must be External"),
    ("spec.serving", {"canary": {"percent": 60}}, "spec.serving.canary.percent"),
    ("spec.serving", {"canary": {"maxErrorRate": 2}}, "spec.serving.canary.maxErrorRate"),
    ("spec.serving", {"env": [{"name": "SPEECHMODEL_FOLDER"}]}, "set serving.settings instead"),
    ("spec.serving", {"ingress": {"host": "A b"}}, "spec.serving.ingress.host"),
    ("spec.serving", {"route": {"parentRefs": []}}, "spec.serving.route.parentRefs"),
    ("spec.serving", {"takes": {"wanted": 0}}, "spec.serving.takes.wanted"),
    ("spec.serving", {"takes": {"misheard": {"keepDays": 0}}}, "spec.serving.takes.misheard.keepDays"),
    ("spec.serving", {"takes": {"misheard": {}}}, "set apiKeysSecretRef too"),
    ("spec.serving", {"takes": {"retrain": {}}}, "lets users of the server start a training: set apiKeysSecretRef too"),
    ("spec.serving", {"settings": {"decoders": 0}}, "spec.serving.settings.decoders"),
    ("spec.serving", {"settings": {"modelAliases": ["a,b"]}}, "spec.serving.settings.modelAliases[0]"),
    ("spec.serving", {"settings": {"corsOrigins": ["home.example"]}}, "spec.serving.settings.corsOrigins[0]"),
    ("spec.serving", {"settings": {"rootPath": "speech/"}}, "spec.serving.settings.rootPath"),
    ("spec.serving", {"podTemplate": {"hostNetwork": True}}, "unknown field"),
    ("spec.decoding", {"beamWidth": 0}, "spec.decoding.beamWidth"),
    ("spec.decoding", {"grammar": "Other"}, "spec.decoding.grammar"),
    ("spec.decoding", {"foreignSpeech": "Maybe"}, 'supported values: "Transcribe", "Reject"'),
    ("spec.decoding", {"scorer": {"path": "../es.scorer"}}, "spec.decoding.scorer.path"),
    ("spec.decoding", {"scorer": {"path": "es.scorer", "build": {}}}, "set exactly one of path and build"),
    ("spec.decoding", {"scorer": {"build": {"text": "/text"}}}, "spec.decoding.scorer.build.text"),
    ("spec.decoding", {"scorer": {"build": {"order": 7}}}, "spec.decoding.scorer.build.order"),
    ("spec.decoding", {"scorer": {"path": "a", "hotWords": {"ok": 101}}}, "spec.decoding.scorer.hotWords.ok"),
    ("spec.decoding", {"hotWords": {"ok": 1}}, "unknown field"),
    ("spec.decoding", {"scorer": {}}, "set exactly one of path and build"),
    ("spec.decoding", {"grammar": "Phrases"}, "set phrases or intents if grammar is Phrases"),
    ("spec.decoding", {"grammar": "Dataset", "phrases": ["ok"]}, "leave both out if grammar is Dataset"),
    ("spec.decoding", {"grammar": "Dataset", "intents": {"TurnOn": ["ok"]}}, "leave both out if grammar is Dataset"),
    ("spec.decoding", {"intents": {"TurnOn": []}}, "spec.decoding.intents.TurnOn"),
    ("spec.training", {"podTemplate": {"serviceAccountName": "admin"}}, "unknown field"),
    ("spec.training", {"podTemplate": {"volumes": []}}, "unknown field"),
]


@pytest.fixture(scope="module")
def kubectl(target: Target, operator: Kubectl) -> Kubectl:
    """kubectl on the cluster where the chart installed the CRD."""
    del operator
    return Kubectl(target.kubectl, target.kubeconfig, target.context, "default")


def create(kubectl: Kubectl, manifest: dict[str, Any]) -> str:
    """Return the object as the API server would store it, or its rejection."""
    argv = kubectl.argv("create", "--dry-run=server", "--validate=strict", "-o", "yaml", "-f", "-")
    done = subprocess.run(argv, input=yaml.safe_dump(manifest), text=True, capture_output=True)
    return done.stdout if done.returncode == 0 else f"refused: {done.stderr}"


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return GOOD with one field changed."""
    manifest = copy.deepcopy(GOOD)
    at = manifest
    *parents, last = path.split(".")
    for part in parents:
        at = at.setdefault(part, {})
    if value is None:
        del at[last]
    else:
        at[last] = value
    return manifest


@pytest.mark.parametrize("path, value, message", BAD, ids=[f"{p}={v}"[:60] for p, v, _ in BAD])
def test_a_bad_manifest_is_refused_with_a_sentence_that_names_the_field(
    kubectl: Kubectl, path: str, value: Any, message: str
) -> None:
    answer = create(kubectl, changed(path, value))
    assert answer.startswith("refused:")
    assert message in answer


def test_the_least_manifest_gets_the_defaults_of_the_types(kubectl: Kubectl) -> None:
    stored = yaml.safe_load(create(kubectl, GOOD))
    assert SpeechModelSpec.of(stored) == SpeechModelSpec.of(GOOD)
    assert stored["spec"]["training"]["schedule"]["type"] == "Auto"
    assert stored["spec"]["training"]["hyperparameters"] == {"seed": 4568}, "the others are chosen from the dataset"
    assert "serving" not in stored["spec"], "nothing is served unless asked for"
    assert "claimName" not in stored["spec"]["training"]["storage"]


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*/*.yaml")), ids=lambda p: p.parent.name)
def test_every_example_is_taken(kubectl: Kubectl, example: Path) -> None:
    for document in yaml.safe_load_all(example.read_text(encoding="utf-8")):
        if document["kind"] == "SpeechModel":
            assert not create(kubectl, document).startswith("refused")


def test_kubectl_explain_describes_the_kind_and_its_fields(kubectl: Kubectl) -> None:
    kind = _unwrapped(kubectl("explain", "speechmodel"))
    assert "SpeechModel describes a speech recogniser." in kind
    assert "Standard object's metadata." in kind, "the API server adds its own"
    training = _unwrapped(kubectl("explain", "speechmodel.spec.training"))
    assert "Raise it on a finished model to continue training from the last checkpoint." in training


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


def test_the_short_name_is_sm(kubectl: Kubectl) -> None:
    kubectl("get", "sm")


def test_kubectl_diff_after_apply_is_empty_and_a_second_manager_does_not_conflict(kubectl: Kubectl) -> None:
    """The operator writes the status and its finalizer only, so no tool that applies the manifest disagrees with it."""
    manifest = copy.deepcopy(GOOD) | {"metadata": {"name": "applied"}}
    manifest["spec"]["suspend"] = True
    manifest["spec"]["publish"]["deletionPolicy"] = "Delete"
    text = yaml.safe_dump(manifest)
    try:
        kubectl("apply", "-f", "-", stdin=text)
        kubectl.until(lambda: _reported(kubectl, 1), "the operator has written the status")
        # the operator may write the status between the two calls of kubectl
        kubectl.until(lambda: not kubectl.differs("-f", "-", stdin=text), "nothing differs")
        server_side = ("--server-side", "--field-manager=argocd-controller", "-f", "-")
        kubectl("apply", *server_side, stdin=text)
        manifest["metadata"]["labels"] = {"argocd.argoproj.io/instance": "models"}
        kubectl("apply", *server_side, stdin=yaml.safe_dump(manifest))
        again = yaml.safe_dump(manifest)
        kubectl.until(lambda: not kubectl.differs(*server_side, stdin=again), "nothing differs")
        conditions = _reported(kubectl, 1)
        assert conditions is not None
        assert {each["type"]: each["observedGeneration"] for each in conditions}["Ready"] == 1
        assert {each["type"] for each in conditions} >= {"Ready", "Reconciling"}
    finally:
        kubectl("patch", "sm", "applied", "--type=merge", "-p", '{"spec":{"publish":{"deletionPolicy":"Retain"}}}')
        kubectl("delete", "sm", "applied", "--wait=false")


def _reported(kubectl: Kubectl, generation: int) -> list[dict[str, Any]] | None:
    """Return the conditions once the operator has written them for this generation."""
    status = (kubectl.get("speechmodel", "applied") or {}).get("status", {})
    found: list[dict[str, Any]] | None = status.get("conditions")
    return found if status.get("observedGeneration") == generation else None
