"""Keys are promises: a changed line of the golden file means that somebody's model is trained again for nothing."""

import hashlib
import json
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api import keys
from speechmodel_api.decoding_spec import ForeignSpeech, GrammarSource
from speechmodel_api.schema import S3Location
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.decoders import Calibration, Decoding, GrammarDecoder, Rejection, WeighedScorer
from speechmodel_api.stages.prepare import PrepareOutput
from speechmodel_api.stages.train import TrainOutput
from speechmodel_api.tflite import TfliteFile

GOLDEN = Path(__file__).parent / "golden_keys.json"
BASE: dict[str, Any] = {
    "language": "es",
    "dataset": {"source": {"persistentVolumeClaim": {"claimName": "clips"}}},
    "publish": {"s3": {"bucket": "models"}},
}


PUBLIC_KEY = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"


def prepared(**more: Any) -> PrepareOutput:
    """A made-up output of prepare."""
    return PrepareOutput(
        dataset_digest="d" * 64,
        alphabet_digest="a" * 64,
        labels=27,
        train_clips=80,
        dev_clips=10,
        test_clips=10,
        audio_seconds=99,
        **more,
    )


def keys_of(manifest: dict[str, Any], **more: Any) -> dict[str, str]:
    """Every key of a manifest, with made-up outputs of the stages before."""
    spec = SpeechModelSpec.model_validate(manifest)
    data = prepared(**more)
    trained = TrainOutput(
        epoch=75, step=1, loss=1, exported_epoch=75, trained_epochs=75, graph_sha256="9" * 64, graph_bytes=1
    )
    source = spec.decoding.source(spec.dataset.format)
    free_text = source is GrammarSource.FREE_TEXT
    decoding = Decoding(
        beam_width=spec.decoding.beam_width,
        grammar=source,
        phrases=spec.decoding.phrases,
        intents=spec.decoding.intents,
        lists=spec.decoding.lists,
        foreign_speech=spec.decoding.foreign_speech if free_text else ForeignSpeech.TRANSCRIBE,
        scorer=spec.decoding.scorer if free_text else None,
    )
    # evaluate compiles another grammar for other phrases
    written = (source, decoding.phrases, decoding.lists, *([decoding.intents] if decoding.intents else []))
    compiled = hashlib.sha256(repr(written).encode()).hexdigest()
    calibration = Calibration(threshold=-0.5, offset=-1.0, slope=2.0, word_offset=-1.0, word_slope=2.0)
    grammar = GrammarDecoder(acoustic_sha256="c" * 64, grammar_sha256=compiled, calibration=calibration)
    rejects = decoding.foreign_speech is ForeignSpeech.REJECT
    rejection = Rejection(acoustic_sha256="c" * 64, threshold=-0.3) if rejects else None
    given = decoding.scorer
    weighed = WeighedScorer(scorer_sha256="b" * 64, alpha=given.alpha or 0.9, beta=1.2) if given else None
    tflite = TfliteFile(sha256="7" * 64, size_bytes=9) if spec.publish.tflite else None
    version = keys.version_key("e" * 64, decoding, None if free_text else grammar, rejection, weighed, tflite)
    return {
        "prepare": keys.prepare_key(spec),
        "lineage": keys.lineage_key(spec, data),
        "train": keys.train_key(spec, data),
        "convert": keys.convert_key(spec, trained),
        "evaluate": keys.evaluate_key(spec, "e" * 64, data, decoding),
        "version": version,
        "publish": keys.publish_key(spec, version, keys.publish_base(spec, "ns", "espejo", "uid")),
    }


def test_no_key_ever_changes() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len(golden) >= 4, "the golden file only grows"
    for entry in golden:
        assert keys_of(entry["spec"]) == entry["keys"], entry["spec"]


def test_the_keys_of_a_comparison_never_change() -> None:
    data = prepared()
    clips = keys.test_clips_key(data, Decoding(beam_width=50, grammar=GrammarSource.PHRASES, phrases=("ok",)))
    assert clips == keys.test_clips_key(data, Decoding(grammar=GrammarSource.PHRASES, phrases=("ok",)))
    assert (clips, keys.compare_key("1" * 64, clips)) == ("464e7df8", "7796c1a8")
    named = keys.test_clips_key(data, Decoding(grammar=GrammarSource.PHRASES, intents={"TurnOn": ("ok",)}))
    assert named == clips, "names of intents do not change the clips"


@pytest.mark.parametrize(
    "path, value, changed",
    [
        ("dataset.revision", "2", "prepare"),
        ("dataset.alphabet", ["a", "b"], "prepare"),
        ("dataset.split", {"by": "Clip"}, "prepare"),
        ("dataset.recordings.namePattern", "{speaker}_{id}", "prepare"),
        ("dataset.annotations", "Strip", "prepare"),
        ("dataset.numbers", "Spell", "prepare"),
        ("dataset.synthesize", {}, "prepare"),
        ("dataset.negatives", {"source": {"persistentVolumeClaim": {"claimName": "radio"}}}, "prepare"),
        ("dataset.negatives", {"source": {"s3": {"bucket": "radio"}}}, "prepare"),
        ("language", "es-CL", "prepare train"),
        ("training.maxEpochs", 75, "train"),
        ("training.schedule", {"type": "Constant"}, "train"),
        ("training.schedule", {"warmupPercent": 5}, "train"),
        ("training.initFrom", {"persistentVolumeClaim": {"claimName": "old"}}, "lineage train"),
        ("training.initFrom", {"s3": {"bucket": "old"}}, "lineage train"),
        ("training.earlyStop", {}, "train"),
        ("training.reduceOnPlateau", {"factor": 0.5}, "train"),
        ("training.hyperparameters", {"gradientClipNorm": 10}, "train"),
        ("training.hyperparameters", {"consistency": 0.2}, "train"),
        ("training.hyperparameters", {"layerNorm": True}, "lineage train"),
        ("training.hyperparameters", {"layerNorm": False}, "lineage train"),
        ("training.hyperparameters", {"dropout": 0.15}, "train"),
        ("training.hyperparameters", {"batchSize": 16}, "train"),
        ("training.hyperparameters", {"learningRate": 0.01}, "train"),
        ("training.engine", "CoquiSTT", "lineage train"),
        ("training.hyperparameters", {"seed": 1}, "lineage train"),
        ("training.hyperparameters", {"hiddenUnits": 128}, "lineage train"),
        ("training.augmentation", [], "train"),
        ("training.restartToken", "x", "lineage train"),
        ("decoding.beamWidth", 10, "evaluate publish version"),
        ("decoding", {"grammar": "FreeText"}, "evaluate publish version"),
        ("decoding", {"phrases": ["ok"]}, "evaluate publish version"),
        ("decoding", {"intents": {"TurnOn": ["ok"]}}, "evaluate publish version"),
        ("decoding", {"grammar": "Dataset"}, ""),
        ("decoding", {"foreignSpeech": "Reject"}, ""),
        ("decoding", {"scorer": {"path": "es.scorer"}}, ""),
        ("dataset.format", "DeepSpeechCSV", "prepare evaluate publish version"),
        ("dataset.format", "CommonVoice", "prepare evaluate publish version"),
        ("publish.s3.bucket", "other", "publish"),
        ("publish.s3.secretRef", {"name": "x"}, ""),
        ("publish.deletionPolicy", "Delete", ""),
        ("publish.tflite", True, "convert publish version"),
        ("publish.signing", {"privateKeySecretRef": {"name": "x"}, "publicKeys": [PUBLIC_KEY]}, "publish"),
        ("training.podTemplate", {"nodeSelector": {"a": "b"}}, ""),
        ("training.stageResources", {"limits": {"memory": "2Gi"}}, ""),
        ("training.maxAttempts", 2, ""),
        ("training.checkpoints", {"keep": 9}, ""),
        ("training.storage", {"claimName": "other"}, ""),
        ("serving", {"replicas": 9}, ""),
        ("suspend", True, ""),
    ],
    ids=str,
)
def test_an_edit_changes_these_keys_and_no_other(path: str, value: Any, changed: str) -> None:
    before = keys_of(BASE)
    after = keys_of(_with(BASE, path, value))
    assert {name for name in before if before[name] != after[name]} == set(changed.split())


def test_a_bucket_is_named_by_its_place_and_not_by_its_access() -> None:
    def prepare(**more: Any) -> str:
        return keys_of(_with(BASE, "dataset.source", {"s3": {"bucket": "voices"} | more}))["prepare"]

    assert prepare(secretRef={"name": "x"}) == prepare(region="eu-west-1") == prepare()
    places = [prepare(), prepare(prefix="es"), prepare(endpoint="http://s3:9000"), prepare(bucket="other")]
    assert len({*places, keys_of(BASE)["prepare"]}) == 5


def test_other_speech_is_named_by_its_place_and_not_by_its_access() -> None:
    def prepare(**source: Any) -> str:
        return keys_of(_with(BASE, "dataset.negatives", {"source": source}))["prepare"]

    def bucket(**more: Any) -> str:
        return prepare(s3={"bucket": "radio"} | more)

    def claim(**more: Any) -> str:
        return prepare(persistentVolumeClaim={"claimName": "radio"} | more)

    assert bucket(secretRef={"name": "x"}) == bucket(region="eu-west-1") == bucket()
    places = [bucket(), bucket(prefix="es"), bucket(endpoint="http://s3:9000"), bucket(bucket="other")]
    places += [claim(), claim(path="es"), claim(claimName="other"), keys_of(BASE)["prepare"]]
    assert len(set(places)) == 8


def test_a_checkpoint_in_a_bucket_is_named_by_its_place_and_not_by_its_access() -> None:
    def lineage(drop: int = 0, **more: Any) -> str:
        initial = {"s3": {"bucket": "old"} | more, "dropLayers": drop}
        return keys_of(_with(BASE, "training.initFrom", initial))["lineage"]

    def resumed(resume: bool) -> str:
        initial = {"s3": {"bucket": "old"}, "resume": resume}
        return keys_of(_with(BASE, "training.initFrom", initial))["lineage"]

    assert lineage(secretRef={"name": "x"}) == lineage(region="eu-west-1") == lineage()
    places = [lineage(), lineage(prefix="en"), lineage(endpoint="http://s3:9000"), lineage(bucket="other"), lineage(1)]
    assert resumed(False) == lineage()
    assert len({*places, resumed(True)}) == 6


def test_a_new_restart_token_downloads_the_checkpoint_again() -> None:
    place = S3Location(bucket="old", prefix="en")
    assert keys.download_key(place, "") == "a48d48ca"
    assert keys.download_key(place, "2") != keys.download_key(place, "")


def test_rejection_in_free_text_trains_nothing() -> None:
    free = keys_of(_with(BASE, "decoding", {"grammar": "FreeText"}))
    rejecting = keys_of(_with(BASE, "decoding", {"grammar": "FreeText", "foreignSpeech": "Reject"}))
    assert {name for name in free if free[name] != rejecting[name]} == {"evaluate", "publish", "version"}


def test_a_scorer_its_weights_and_its_revision_train_nothing() -> None:
    free = _with(BASE, "decoding", {"grammar": "FreeText"})
    scored = _with(BASE, "decoding", {"grammar": "FreeText", "scorer": {"path": "es.scorer"}})
    weighed = _with(BASE, "decoding", {"grammar": "FreeText", "scorer": {"path": "es.scorer", "alpha": 1}})
    hot = {"grammar": "FreeText", "scorer": {"path": "es.scorer", "alpha": 1, "hotWords": {"ok": 2}}}
    of = [keys_of(manifest) for manifest in (free, scored, weighed, _with(BASE, "decoding", hot))]
    for before, after in pairwise(of):
        assert {name for name in before if before[name] != after[name]} == {"evaluate", "publish", "version"}
    replaced = keys_of(_with(scored, "dataset.revision", "2"))
    assert {name for name in of[1] if of[1][name] != replaced[name]} == {"prepare", "evaluate"}


def test_speakers_that_are_named_later_are_measured_and_train_nothing() -> None:
    unnamed, named, renamed = keys_of(BASE), *(keys_of(BASE, speakers_digest=digit * 64) for digit in "12")
    for one, two in ((unnamed, named), (named, renamed)):
        assert {name for name in one if one[name] != two[name]} == {"evaluate"}


def test_another_list_changes_the_grammar_and_trains_nothing() -> None:
    def with_rooms(*rooms: str) -> dict[str, str]:
        return keys_of(_with(BASE, "decoding", {"phrases": ["luz de {sala}"], "lists": {"sala": rooms}}))

    one, two = with_rooms("cocina"), with_rooms("cocina", "living")
    assert {name for name in one if one[name] != two[name]} == {"evaluate", "publish", "version"}


def test_an_intent_for_a_phrase_changes_the_grammar_and_trains_nothing() -> None:
    plain, on, off = (
        keys_of(_with(BASE, "decoding", decoding))
        for decoding in ({"phrases": ["luz"]}, {"intents": {"TurnOn": ["luz"]}}, {"intents": {"TurnOff": ["luz"]}})
    )
    for one, two in ((plain, on), (on, off)):
        assert {name for name in one if one[name] != two[name]} == {"evaluate", "publish", "version"}


def test_a_version_is_another_one_with_another_threshold() -> None:
    def version(threshold: float, *, speech_time: bool = False) -> str:
        calibration = Calibration(
            threshold=threshold, offset=-1.0, slope=2.0, word_offset=-1.0, word_slope=2.0, speech_time=speech_time
        )
        grammar = GrammarDecoder(acoustic_sha256="c" * 64, grammar_sha256="d" * 64, calibration=calibration)
        return keys.version_key("e" * 64, Decoding(), grammar)

    assert version(-0.5) == version(-0.5) != version(-0.4)
    assert version(-0.5) != version(-0.5, speech_time=True), "the score is another one"


def test_a_version_is_another_one_with_another_phrase_network() -> None:
    calibration = Calibration(threshold=-0.5, offset=-1, slope=2, word_offset=-1, word_slope=2)

    def version(network: str, *, embedded: bool) -> str:
        grammar = GrammarDecoder(
            acoustic_sha256=network * 64, grammar_sha256="d" * 64, calibration=calibration, embedded=embedded
        )
        return keys.version_key("e" * 64, Decoding(), grammar)

    different = {version("c", embedded=False), version("c", embedded=True), version("f", embedded=True)}
    assert len(different) == 3
    assert version("c", embedded=False) == version("f", embedded=False), "that network belongs to the model"


def test_free_text_has_the_keys_from_before_there_were_grammars() -> None:
    free = keys_of(_with(BASE, "decoding", {"grammar": "FreeText"}))
    assert (free["evaluate"], free["version"], free["publish"]) == ("1e4f80b2", "a16dfee6", "c6d1da34")


def test_a_default_written_out_changes_no_key() -> None:
    spec = SpeechModelSpec.model_validate(BASE)
    assert keys_of(spec.model_dump(by_alias=True, mode="json")) == keys_of(BASE)


def test_a_manifest_that_gives_every_value_has_the_keys_from_before_values_were_chosen() -> None:
    given = {"hiddenUnits": 2048, "batchSize": 16, "learningRate": 0.001, "dropout": 0.05}
    augmentation = ["pause_before[p=0.5]", "pause_after[p=0.5]", "noise[p=0.7]"]
    training = {"hyperparameters": given, "maxEpochs": 75, "augmentation": augmentation}
    before = keys_of({**BASE, "training": {**training, "schedule": {"type": "Constant"}}})
    assert (before["lineage"], before["train"]) == ("3d79863c", "ae556268")
    warm = keys_of({**BASE, "training": {**training, "schedule": {"type": "Constant", "warmupPercent": 9}}})
    assert warm["train"] == before["train"], "a constant rate has no warm-up"


def test_layer_norm_that_is_off_anyway_changes_no_key() -> None:
    given = _with(BASE, "training.hyperparameters", {"hiddenUnits": 64})
    off = _with(BASE, "training.hyperparameters", {"hiddenUnits": 64, "layerNorm": False})
    assert keys_of(given) == keys_of(off)
    assert keys_of(given) != keys_of(_with(BASE, "training.hyperparameters", {"hiddenUnits": 64, "layerNorm": True}))


def test_an_integer_where_a_float_is_meant_changes_no_key() -> None:
    assert keys_of(_with(BASE, "training.hyperparameters", {"dropout": 0})) == keys_of(
        _with(BASE, "training.hyperparameters", {"dropout": 0.0})
    )


@given(st.text(alphabet="añéьй", min_size=1, max_size=8))
def test_composed_and_decomposed_text_give_the_same_key(text: str) -> None:
    one = _with(BASE, "training.restartToken", unicodedata.normalize("NFC", text))
    two = _with(BASE, "training.restartToken", unicodedata.normalize("NFD", text))
    assert keys_of(one) == keys_of(two)


def test_a_field_equal_to_what_it_was_before_it_existed_is_left_out() -> None:
    class Grown(keys.ConvertKey):
        as_before = {**keys.ConvertKey.as_before, "min_size": 10000}
        min_size: int = 10000

    assert Grown(graph_sha256="a").canonical_json() == keys.ConvertKey(graph_sha256="a").canonical_json()
    assert Grown(graph_sha256="a", min_size=1).canonical_json() != keys.ConvertKey(graph_sha256="a").canonical_json()


def _with(manifest: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    inner = _with(manifest.get(head, {}), rest, value) if rest else value
    return {**manifest, head: inner}
