"""Manifests and a real API server: it accepts the examples and rejects bad ones with a message that helps."""

import copy
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError
from speechmodel_api.crd import crd
from speechmodel_api.decoding_spec import MOST_GRAMMAR_BYTES
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from support import built
from support.api_server import api_server
from support.kube import Kubectl
from support.places import ROOT
from support.templates import BAD_VOLUMES, VOLUMES
from support.world import World

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
HOST: dict[str, Any] = {"name": "host", "hostPath": {"path": "/"}}
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
    (
        "spec.training",
        {"initFrom": {"persistentVolumeClaim": {"claimName": "old"}, "dropLayers": 1, "resume": True}},
        "dropLayers must be 0 with resume",
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
    (
        "spec.training",
        {"augmentation": ["reverb", "revreb[p=0.1]"]},
        "augmentation[1] in body should match '^(add|codec|",
    ),
    (
        "spec.training",
        {"engine": "CoquiSTT", "augmentation": ["hum"]},
        "augmentation[0] in body should match '^(add|codec|dropout|frequency_mask|multiply|",
    ),
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
    (
        "spec.decoding",
        {"intents": {"TurnOn": ["ok"], "encender luz": ["ok"]}},
        'spec.decoding.intents: Invalid value: "object": the name "encender luz" must have 1 to 63 characters and match ^[A-Za-z_]',
    ),
    ("spec.decoding", {"intents": {"": ["ok"]}}, 'the name "" must have 1 to 63 characters and match ^[A-Za-z_]'),
    ("spec.decoding", {"intents": {"A" * 64: ["ok"]}}, 'A" must have 1 to 63 characters'),
    (
        "spec.decoding",
        {"lists": {"": ["uno"]}},
        'spec.decoding.lists: Invalid value: "object": the name "" must have 1 to 63',
    ),
    ("spec.decoding", {"lists": {"a" * 64: ["uno"]}}, 'a" must have 1 to 63 characters'),
    (
        "spec.decoding",
        {"scorer": {"path": "a", "hotWords": {"": 1}}},
        'spec.decoding.scorer.hotWords: Invalid value: "object": the name "" must have 1 to 63 characters',
    ),
    ("spec.decoding", {"scorer": {"path": "a", "hotWords": {"a" * 64: 1}}}, 'a" must have 1 to 63 characters'),
    ("spec.decoding", {"phrases": ["a" * 497] * 254}, "must have at most 126976 bytes as JSON; remove some, or use"),
    (
        "spec.decoding",
        {"phrases": ["{n}"], "lists": {"n": ["ñ" * 200] * 320}},
        "must have at most 126976 bytes as JSON",
    ),
    ("spec.training", {"podTemplate": {"nodeSelector": {"a" * 318: "b"}}}, 'a" must have at most 317 characters'),
    ("spec.serving", {"podTemplate": {"resources": {"limits": {"a" * 254: "1"}}}}, "must have at most 253 characters"),
    ("spec.training", {"podTemplate": {"serviceAccountName": "admin"}}, "unknown field"),
    ("spec.training", {"podTemplate": {"volumes": [HOST]}}, "unknown field"),
    *(("spec.training", {"podTemplate": template}, message) for template, message in BAD_VOLUMES),
    *(("spec.serving", {"podTemplate": template}, message) for template, message in BAD_VOLUMES),
    ("spec.training", {"env": [{"name": "SPEECHMODEL_GPUS", "value": "1"}]}, "which the operator sets"),
]


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """kubectl on an API server that has the CRD."""
    programs = built.programs("etcd", "kube-apiserver", "kubectl")
    with api_server(programs, tmp_path_factory.mktemp("api-server")) as found:
        found.apply(crd())
        found.until_established()
        yield found


def create(kubectl: Kubectl, manifest: dict[str, Any]) -> str:
    """Return the object as the API server would store it, or its rejection."""
    answer = kubectl.rehearse(manifest)
    return f"refused: {answer['message']}" if answer["kind"] == "Status" else yaml.safe_dump(answer)


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


@pytest.mark.parametrize("part", ["training", "serving"])
def test_volumes_of_every_kind_are_taken_as_they_are_in_a_pod(kubectl: Kubectl, part: str) -> None:
    stored = yaml.safe_load(create(kubectl, changed(f"spec.{part}", {"podTemplate": VOLUMES})))
    assert SpeechModelSpec.of(stored) == SpeechModelSpec.of(changed(f"spec.{part}", {"podTemplate": VOLUMES}))
    (mount,) = (each for each in stored["spec"][part]["podTemplate"]["volumeMounts"] if each["name"] == "cas")
    assert mount == {"name": "cas", "mountPath": "/etc/ssl/private", "subPath": "", "readOnly": True}


def test_a_volume_of_the_node_is_refused_also_without_strict_validation(kubectl: Kubectl) -> None:
    manifest = changed("spec.training", {"podTemplate": {"volumes": [HOST]}})
    with pytest.raises(AssertionError, match="other kinds, such as hostPath, are not allowed"):
        kubectl("create", "--dry-run=server", "--validate=false", "-f", "-", stdin=json.dumps(manifest))


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
    volume = _unwrapped(kubectl("explain", "speechmodel.spec.training.podTemplate.volumes.csi"))
    assert "such as csi.spiffe.io. It must be on the node" in volume
    assert "Raise it on a finished model to continue training from the last checkpoint." in training


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


def ready(world: World) -> None:
    world.to_ready()


def training(world: World) -> None:
    world.until(StageName.TRAIN)


def retraining(world: World) -> None:
    world.to_ready()
    world.edit(training__maxEpochs=20)
    world.until(StageName.TRAIN)


def gated(world: World) -> None:
    world.to_ready()
    world.edit(training__maxEpochs=20, evaluation={"gate": {"maxWER": 0.01}})
    world.to_rest()


@pytest.mark.parametrize(
    "life, phase, is_ready, stalled, reconciling",
    [
        (ready, "Ready", "True", "", ""),
        (training, "Training", "False", "", "Training"),
        (retraining, "Training", "True", "", "Training"),
        (gated, "Failed", "True", "QualityGateFailed", ""),
    ],
)
def test_the_wide_table_says_why_the_spec_is_not_in_effect_and_whether_a_person_must_act(
    kubectl: Kubectl, life: Callable[[World], None], phase: str, is_ready: str, stalled: str, reconciling: str
) -> None:
    world, name = World(), life.__name__
    life(world)
    kubectl.apply({**GOOD, "metadata": {"name": name}, "spec": world.spec})
    status = world.status.model_dump(by_alias=True, exclude_none=True, mode="json")
    kubectl("patch", "sm", name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    header, row = kubectl("get", "sm", name, "-o", "wide").splitlines()
    starts = {title: header.index(title) for title in header.split()}
    columns = {title: row[at:].split("  ")[0].strip() for title, at in starts.items()}
    assert (columns["PHASE"], columns["READY"]) == (phase, is_ready)
    assert (columns["STALLED"], columns["RECONCILING"]) == (stalled, reconciling)


def test_the_short_name_is_sm(kubectl: Kubectl) -> None:
    kubectl("get", "sm")


@pytest.mark.parametrize(
    "path, value",
    [
        ("spec.training", {"augmentation": ["reverb[p=0.1,delay=50~30]", "overlay"]}),
        ("spec.training", {"engine": "CoquiSTT", "augmentation": ["codec[p=0.1]", "warp"]}),
        ("spec.training", {"engine": "CoquiSTT", "augmentation": "Auto"}),
        ("spec.training", {"engine": "CoquiSTT", "augmentation": []}),
        ("spec.decoding", {"intents": {"A" * 63: ["ok"], "_a./-9": ["no"]}}),
        ("spec.decoding", {"phrases": ["{n}"], "lists": {"sala de estar": ["uno"], "n" * 63: ["dos"]}}),
        ("spec.decoding", {"scorer": {"path": "a", "hotWords": {"ñandú": 1}}}),
        ("spec.decoding", {"phrases": ["a" * 497] * 253}),
        ("spec.decoding", {"phrases": ["{n}"], "lists": {"n": ["ñ" * 200] * 312}}),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_the_types_can_read_is_taken(kubectl: Kubectl, path: str, value: Any) -> None:
    manifest = changed(path, value)
    SpeechModelSpec.of(manifest)
    assert not refused(kubectl, manifest), create(kubectl, manifest)


@pytest.mark.parametrize("letter", ["a", "ñ", "\\", "字"])
@pytest.mark.parametrize("place", ["phrases", "list", "lists"])
def test_only_phrases_that_the_types_cannot_read_are_refused_for_their_size(
    kubectl: Kubectl, letter: str, place: str
) -> None:
    """The API server does not count what JSON escapes, and so takes a little more than the types do."""
    size = len(letter.encode()) * 100 + 3
    entries = [letter * 100] * min(1000, MOST_GRAMMAR_BYTES // size)
    decoding: dict[str, Any] = {"phrases": entries} if place == "phrases" else {"phrases": ["{n0}"]}
    if place == "list":
        decoding["lists"] = {"n0": entries}
    if place == "lists":
        decoding["lists"] = {f"n{number}": entries[number::16] for number in range(16)}
    manifest = changed("spec.decoding", decoding)
    if refused(kubectl, manifest):
        with pytest.raises(ValidationError, match="bytes as JSON"):
            SpeechModelSpec.of(manifest)


def test_what_was_stored_before_a_rule_can_still_be_reported_and_deleted(kubectl: Kubectl) -> None:
    """The operator writes InvalidSpec into its status, and removes the finalizer."""
    stored = {
        "names": ("spec.decoding", {"intents": {"encender luz": ["enciende"]}}),
        "size": ("spec.decoding", {"phrases": ["a" * 497] * 254}),
        "augmentation": ("spec.training", {"augmentation": ["revreb"]}),
        "engine": ("spec.training", {"engine": "CoquiSTT", "augmentation": ["hum"]}),
    }
    kubectl.apply(without_rules(crd()))
    manifests = {name: changed(*field) for name, field in stored.items()}
    for name, manifest in manifests.items():
        kubectl.until(partial(taken, kubectl, manifest), "the rules are gone")
        kubectl.apply(manifest | {"metadata": {"name": name, "finalizers": ["speechops.dev/cleanup"]}})
    kubectl.apply(crd())
    for name, manifest in manifests.items():
        kubectl.until(partial(refused, kubectl, manifest), "the rules are back")
        kubectl("patch", "sm", name, "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Failed"}}')
        kubectl("delete", "sm", name, "--wait=false")
        kubectl("patch", "sm", name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        assert kubectl.get("sm", name) is None


def refused(kubectl: Kubectl, manifest: dict[str, Any]) -> bool:
    """Return True when the API server refuses a manifest."""
    return create(kubectl, manifest).startswith("refused")


def taken(kubectl: Kubectl, manifest: dict[str, Any]) -> bool:
    """Return True when the API server takes a manifest."""
    return not refused(kubectl, manifest)


def without_rules(node: Any) -> Any:
    """Return a definition as it was before its rules and the names of augmentations."""
    if isinstance(node, list):
        return [without_rules(each) for each in node]
    if not isinstance(node, dict):
        return node
    left_out = {"x-kubernetes-validations", "anyOf"} | ({"pattern"} if "reverb" in str(node.get("pattern")) else set())
    return {word: without_rules(value) for word, value in node.items() if word not in left_out}
