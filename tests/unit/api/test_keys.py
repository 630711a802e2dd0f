"""Keys are promises: a changed line of the golden file means that somebody's model is trained again for nothing."""

import hashlib
import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api import keys
from speechmodel_api.spec import GrammarSource, SpeechModelSpec
from speechmodel_api.stages import Calibration, Decoding, GrammarDecoder, PrepareOutput, TrainOutput

GOLDEN = Path(__file__).parent / "golden_keys.json"
BASE: dict[str, Any] = {
    "language": "es",
    "dataset": {"source": {"persistentVolumeClaim": {"claimName": "clips"}}},
    "publish": {"s3": {"bucket": "models"}},
}


def keys_of(manifest: dict[str, Any]) -> dict[str, str]:
    """Every key of a manifest, with made-up outputs of the stages before."""
    spec = SpeechModelSpec.model_validate(manifest)
    data = PrepareOutput(
        dataset_digest="d" * 64,
        alphabet_digest="a" * 64,
        labels=27,
        train_clips=80,
        dev_clips=10,
        test_clips=10,
        audio_seconds=99,
    )
    trained = TrainOutput(
        epoch=75, step=1, loss=1, exported_epoch=75, trained_epochs=75, graph_sha256="9" * 64, graph_bytes=1
    )
    source = spec.decoding.source(spec.dataset.format)
    decoding = Decoding(
        beam_width=spec.decoding.beam_width, grammar=source, phrases=spec.decoding.phrases, lists=spec.decoding.lists
    )
    # evaluate compiles another grammar for other phrases
    compiled = hashlib.sha256(repr((source, decoding.phrases, decoding.lists)).encode()).hexdigest()
    calibration = Calibration(threshold=-0.5, offset=-1.0, slope=2.0, word_offset=-1.0, word_slope=2.0)
    grammar = GrammarDecoder(acoustic_sha256="c" * 64, grammar_sha256=compiled, calibration=calibration)
    version = keys.version_key("e" * 64, decoding, None if source is GrammarSource.FREE_TEXT else grammar)
    return {
        "prepare": keys.prepare_key(spec),
        "lineage": keys.lineage_key(spec, data),
        "train": keys.train_key(spec, data),
        "convert": keys.convert_key(trained),
        "evaluate": keys.evaluate_key("e" * 64, data, decoding),
        "version": version,
        "publish": keys.publish_key(spec, version, keys.publish_base(spec, "ns", "espejo", "uid")),
    }


def test_no_key_ever_changes() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert len(golden) >= 4, "the golden file only grows"
    for entry in golden:
        assert keys_of(entry["spec"]) == entry["keys"], entry["spec"]


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
        ("language", "es-CL", "prepare train"),
        ("training.maxEpochs", 76, "train"),
        ("training.hyperparameters", {"learningRate": 0.01}, "train"),
        ("training.hyperparameters", {"seed": 1}, "lineage train"),
        ("training.hyperparameters", {"hiddenUnits": 128}, "lineage train"),
        ("training.augmentation", [], "train"),
        ("training.restartToken", "x", "lineage train"),
        ("decoding.beamWidth", 10, "evaluate publish version"),
        ("decoding", {"grammar": "FreeText"}, "evaluate publish version"),
        ("decoding", {"phrases": ["ok"]}, "evaluate publish version"),
        ("decoding", {"grammar": "Dataset"}, ""),
        ("dataset.format", "DeepSpeechCSV", "prepare evaluate publish version"),
        ("publish.s3.bucket", "other", "publish"),
        ("publish.s3.secretRef", {"name": "x"}, ""),
        ("publish.deletionPolicy", "Delete", ""),
        ("training.podTemplate", {"nodeSelector": {"a": "b"}}, ""),
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


def test_another_list_changes_the_grammar_and_trains_nothing() -> None:
    def with_rooms(*rooms: str) -> dict[str, str]:
        return keys_of(_with(BASE, "decoding", {"phrases": ["luz de {sala}"], "lists": {"sala": rooms}}))

    one, two = with_rooms("cocina"), with_rooms("cocina", "living")
    assert {name for name in one if one[name] != two[name]} == {"evaluate", "publish", "version"}


def test_a_version_is_another_one_with_another_threshold() -> None:
    def version(threshold: float) -> str:
        calibration = Calibration(threshold=threshold, offset=-1.0, slope=2.0, word_offset=-1.0, word_slope=2.0)
        grammar = GrammarDecoder(acoustic_sha256="c" * 64, grammar_sha256="d" * 64, calibration=calibration)
        return keys.version_key("e" * 64, Decoding(), grammar)

    assert version(-0.5) == version(-0.5) != version(-0.4)


def test_free_text_has_the_keys_from_before_there_were_grammars() -> None:
    free = keys_of(_with(BASE, "decoding", {"grammar": "FreeText"}))
    assert (free["evaluate"], free["version"], free["publish"]) == ("1e4f80b2", "a16dfee6", "c6d1da34")


def test_a_default_written_out_changes_no_key() -> None:
    spec = SpeechModelSpec.model_validate(BASE)
    assert keys_of(spec.model_dump(by_alias=True, mode="json")) == keys_of(BASE)


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
        as_before = {"min_size": 10000}
        min_size: int = 10000

    assert Grown(graph_sha256="a").canonical_json() == keys.ConvertKey(graph_sha256="a").canonical_json()
    assert Grown(graph_sha256="a", min_size=1).canonical_json() != keys.ConvertKey(graph_sha256="a").canonical_json()


def _with(manifest: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    inner = _with(manifest.get(head, {}), rest, value) if rest else value
    return {**manifest, head: inner}
