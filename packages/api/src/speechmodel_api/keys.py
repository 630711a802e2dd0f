"""Keys: hashes that decide whether a stage must run again.

A key is the first 8 hexadecimal digits of the SHA-256 of the canonical JSON of the stage's KeyInput.
A KeyInput holds what determines the result: content digests, hyperparameters and choices of meaning.
It never holds credentials, images, pod settings, deadlines, retention, replicas or timings, so an
edit of those trains nothing again, and neither does an upgrade of the operator. Entries of
tests/unit/api/golden_keys.json are only ever added.

Only the key of prepare names the place of the data, because the content is not known before. Later
keys use the dataset digest that prepare reports, so the same data in another place trains nothing.
"""

import hashlib
import json
import math
import unicodedata
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, model_validator

from speechmodel_api.audio import SPEECH_LEVEL
from speechmodel_api.augmentation import AS_BEFORE
from speechmodel_api.spec import (
    Annotations,
    DatasetFormat,
    GrammarSource,
    InvalidSamplePolicy,
    Numbers,
    SpeechModelSpec,
    SplitBy,
)
from speechmodel_api.stages import Decoding, GrammarDecoder, PrepareOutput, TrainOutput


class KeyInput(BaseModel):
    """Everything that determines a key.

    A field that is added later gets an entry in `as_before`, and is left out of the JSON when it has
    that value. Keys from before the field existed then stay the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    as_before: ClassVar[dict[str, Any]] = {}

    @model_validator(mode="after")
    def _known_fields(self) -> Self:
        assert set(self.as_before) <= set(type(self).model_fields)
        return self

    def canonical_json(self) -> str:
        """Return the fields that differ from `as_before` as JSON: sorted, NFC, no white space."""
        fields = self.model_dump(mode="python")
        kept = {k: v for k, v in fields.items() if not (k in self.as_before and self.as_before[k] == v)}
        return json.dumps(_canonical(kept), sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    def key(self) -> str:
        """Return the key: 8 hexadecimal digits."""
        return hashlib.sha256(f"{type(self).__name__}:{self.canonical_json()}".encode()).hexdigest()[:8]


class PrepareKey(KeyInput):
    """Determines a prepared dataset: its place, its revision and how it is read."""

    as_before = {
        "name_pattern": "",
        "split_by": SplitBy.CLIP,
        "speech_level": None,
        "annotations": Annotations.REJECT,
        "numbers": Numbers.REJECT,
        "negatives_built_in": False,
        "negatives_path": "",
        "synthesized_takes": 0,
        "synthesized_voices": (),
    }

    claim: str
    path: str
    revision: str
    format: DatasetFormat
    language: str
    dev_percent: int
    test_percent: int
    split_seed: int
    alphabet: tuple[str, ...]
    invalid_sample_policy: InvalidSamplePolicy
    name_pattern: str
    split_by: SplitBy
    speech_level: float | None
    annotations: Annotations
    numbers: Numbers
    negatives_built_in: bool
    negatives_path: str
    synthesized_takes: int
    """Synthetic takes of each phrase, 0 for none."""
    synthesized_voices: tuple[str, ...]
    """Names of voices, or Auto alone. Empty for no takes."""


class LineageKey(KeyInput):
    """Determines a lineage: checkpoints with the same values continue each other."""

    dataset_digest: str
    alphabet_digest: str
    hidden_units: int
    optimizer: str
    seed: int
    restart_token: str


class TrainKey(KeyInput):
    """Determines an exported graph: its lineage, its number of epochs and how it learns."""

    lineage: str
    max_epochs: int
    batch_size: int
    learning_rate: float
    dropout: float
    language: str
    augmentation: tuple[str, ...]
    """The entries, or Auto alone: a later version may tune Auto without training anything again."""

    as_before = {"augmentation": AS_BEFORE}


class ConvertKey(KeyInput):
    """Determines a memory-mapped graph and an acoustic model: the frozen graph."""

    as_before = {"acoustic_model": False}

    graph_sha256: str
    acoustic_model: bool = True
    """False for conversions from before there was one."""


class EvaluateKey(KeyInput):
    """Determines an evaluation: the model, the dataset and the decoding settings."""

    as_before = {"grammar": GrammarSource.FREE_TEXT, "phrases": (), "lists": {}}

    model_sha256: str
    dataset_digest: str
    beam_width: int
    grammar: GrammarSource = GrammarSource.FREE_TEXT
    phrases: tuple[str, ...] = ()
    lists: dict[str, tuple[str, ...]] = {}


class VersionKey(KeyInput):
    """Determines a version: the model and its decoding settings."""

    as_before = {"grammar_sha256": "", "calibration": ()}

    model_sha256: str
    beam_width: int
    grammar_sha256: str = ""
    """Digest of the compiled grammar. Empty for free text."""
    calibration: tuple[float, ...] = ()
    """Threshold, and offset and slope of the confidences of phrases and of words. Empty for free text."""


class PublishKey(KeyInput):
    """Determines a publication: the version and its place in S3."""

    version: str
    bucket: str
    endpoint: str
    base: str


def prepare_key(spec: SpeechModelSpec) -> str:
    """Return the key of the stage prepare."""
    dataset, synthesis = spec.dataset, spec.dataset.synthesize
    claim = dataset.source.persistent_volume_claim
    return PrepareKey(
        claim=claim.claim_name,
        path=claim.path,
        revision=dataset.revision,
        format=dataset.format,
        language=spec.language,
        dev_percent=dataset.split.dev_percent,
        test_percent=dataset.split.test_percent,
        split_seed=dataset.split.seed,
        alphabet=dataset.alphabet,
        invalid_sample_policy=dataset.invalid_sample_policy,
        name_pattern=dataset.recordings.name_pattern,
        split_by=dataset.split.by,
        speech_level=SPEECH_LEVEL,
        annotations=dataset.annotations,
        numbers=dataset.numbers,
        negatives_built_in=dataset.negatives.built_in,
        negatives_path=dataset.negatives.path,
        synthesized_takes=synthesis.takes_per_phrase if synthesis else 0,
        synthesized_voices=_words(synthesis.voices) if synthesis else (),
    ).key()


def lineage_key(spec: SpeechModelSpec, data: PrepareOutput) -> str:
    """Return the key of the lineage, which names the checkpoint folder.

    maxEpochs, learning rate, dropout and batch size are not part of it: a change applies from the
    last checkpoint on.
    """
    hyperparameters = spec.training.hyperparameters
    return LineageKey(
        dataset_digest=data.dataset_digest,
        alphabet_digest=data.alphabet_digest,
        hidden_units=hyperparameters.hidden_units,
        optimizer="adam",
        seed=hyperparameters.seed,
        restart_token=spec.training.restart_token,
    ).key()


def train_key(spec: SpeechModelSpec, data: PrepareOutput) -> str:
    """Return the key of the stage train."""
    hyperparameters, augmentation = spec.training.hyperparameters, spec.training.augmentation
    return TrainKey(
        lineage=lineage_key(spec, data),
        max_epochs=spec.training.max_epochs,
        batch_size=hyperparameters.batch_size,
        learning_rate=hyperparameters.learning_rate,
        dropout=hyperparameters.dropout,
        language=spec.language,
        augmentation=_words(augmentation),
    ).key()


def convert_key(trained: TrainOutput) -> str:
    """Return the key of the stage convert."""
    return ConvertKey(graph_sha256=trained.graph_sha256).key()


def evaluate_key(model_sha256: str, data: PrepareOutput, decoding: Decoding) -> str:
    """Return the key of the stage evaluate."""
    return EvaluateKey(
        model_sha256=model_sha256,
        dataset_digest=data.dataset_digest,
        beam_width=decoding.beam_width,
        grammar=decoding.grammar,
        phrases=decoding.phrases,
        lists=decoding.lists,
    ).key()


def version_key(model_sha256: str, decoding: Decoding, grammar: GrammarDecoder | None) -> str:
    """Return the name of a version, which `kubectl get speechmodels` shows."""
    if grammar is None:
        return VersionKey(model_sha256=model_sha256, beam_width=decoding.beam_width).key()
    calibration = grammar.calibration
    return VersionKey(
        model_sha256=model_sha256,
        beam_width=decoding.beam_width,
        grammar_sha256=grammar.grammar_sha256,
        calibration=(
            calibration.threshold,
            calibration.offset,
            calibration.slope,
            calibration.word_offset,
            calibration.word_slope,
        ),
    ).key()


def publish_key(spec: SpeechModelSpec, version: str, base: str) -> str:
    """Return the key of the stage publish."""
    s3 = spec.publish.s3
    return PublishKey(version=version, bucket=s3.bucket, endpoint=s3.endpoint or "", base=base).key()


def publish_base(spec: SpeechModelSpec, namespace: str, name: str, uid: str) -> str:
    """Return the S3 prefix of a SpeechModel: `<prefix>/<namespace>/<name>/<uid>`."""
    return "/".join(part for part in (spec.publish.s3.prefix, namespace, name, uid) if part)


def _words(chosen: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return a word alone, or the entries of a list."""
    return (chosen,) if isinstance(chosen, str) else chosen


def _canonical(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        return {_canonical(k): _canonical(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a key cannot hold NaN or infinity")
    return value
