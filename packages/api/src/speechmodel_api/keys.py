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
import unicodedata
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict

from speechmodel_api.audio import SPEECH_LEVEL
from speechmodel_api.augmentation import AS_BEFORE
from speechmodel_api.dataset_spec import (
    Annotations,
    DatasetFormat,
    DatasetSource,
    InvalidSamplePolicy,
    Numbers,
    SplitBy,
)
from speechmodel_api.decoding_spec import ForeignSpeech, GrammarSource, ScorerBuild
from speechmodel_api.schema import AUTO, S3Location
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.decoders import Decoding, GrammarDecoder, Rejection, WeighedScorer
from speechmodel_api.stages.prepare import PrepareOutput
from speechmodel_api.stages.train import TrainOutput
from speechmodel_api.tflite import TfliteFile
from speechmodel_api.training_engine import TrainingEngine
from speechmodel_api.training_spec import InitFrom, Schedule, ScheduleType

Number = TypeVar("Number", int, float)


_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


class KeyInput(BaseModel):
    """Everything that determines a key.

    A field that is added later gets an entry in `as_before`, and is left out of the JSON when it has
    that value. Keys from before the field existed then stay the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    as_before: ClassVar[dict[str, Any]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        assert set(cls.as_before) <= set(cls.model_fields)

    def canonical_json(self) -> str:
        """Return the fields that differ from `as_before` as JSON: sorted, NFC, no white space."""
        fields = self.model_dump(mode="python")
        kept = {k: v for k, v in fields.items() if not (k in self.as_before and self.as_before[k] == v)}
        text = _JSON.encode(kept)
        return text if text.isascii() else _JSON.encode(_normalised(kept))  # ASCII is NFC

    def key(self) -> str:
        """Return the key: 8 hexadecimal digits."""
        return hashlib.sha256(f"{type(self).__name__}:{self.canonical_json()}".encode()).hexdigest()[:8]


class SourceKey(KeyInput):
    """Determines a folder of downloads: the bucket, the prefix and the service."""

    bucket: str
    prefix: str
    endpoint: str


class PrepareKey(KeyInput):
    """Determines a prepared dataset: its place, its revision and how it is read."""

    as_before = {
        "source": "",
        "name_pattern": "",
        "split_by": SplitBy.CLIP,
        "speech_level": None,
        "annotations": Annotations.REJECT,
        "numbers": Numbers.REJECT,
        "negatives_built_in": False,
        "negatives_path": "",
        "negatives_source": (),
        "synthesized_takes": 0,
        "synthesized_voices": (),
    }

    claim: str
    """Empty for a bucket, and so is `path`."""
    path: str
    source: str
    """Source key of a bucket. Empty for a claim."""
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
    negatives_source: tuple[str, ...]
    """Claim and path, or the source key of a bucket. Empty without one."""
    synthesized_takes: int
    """Synthetic takes of each phrase, 0 for none."""
    synthesized_voices: tuple[str, ...]
    """Names of voices, or Auto alone. Empty for no takes."""


class DownloadKey(KeyInput):
    """Determines a download of the checkpoint that training begins with. Its content is not part of it."""

    source: str
    """Source key of the bucket."""
    restart_token: str


class LineageKey(KeyInput):
    """Determines a lineage: checkpoints with the same values continue each other."""

    as_before = {"layer_norm": None, "init_from": (), "engine": TrainingEngine.NATIVE}

    dataset_digest: str
    alphabet_digest: str
    hidden_units: int | str
    """Auto for a width that is chosen from the dataset."""
    layer_norm: bool | None
    """None if it follows from hidden_units: it is chosen if they are Auto, and false otherwise."""
    init_from: tuple[str | int, ...]
    """Claim and path, or the source key of a bucket, and the number of dropped layers; also the word resume if it is set. Empty for
    random weights."""
    optimizer: str
    seed: int
    restart_token: str
    engine: TrainingEngine
    """The engines cannot continue each other's lineages."""


class TrainKey(KeyInput):
    """Determines an exported graph: its lineage, its number of epochs and how it learns."""

    lineage: str
    max_epochs: int | str
    """A number, or Auto. A later version may choose another one without training anything again; so
    it is for the fields below."""
    batch_size: int | str
    learning_rate: float | str
    dropout: float | str
    language: str
    augmentation: tuple[str, ...]
    """The entries, or Auto alone."""
    schedule: ScheduleType
    warmup_percent: int
    floor_percent: int
    gradient_clip_norm: float | None
    consistency: float | None
    early_stop: tuple[float, ...]
    """Patience and smallest improvement. Empty without an early stop."""
    reduce_on_plateau: tuple[float, ...]
    """Patience, smallest improvement and factor. Empty without a reduction."""

    as_before = {
        "augmentation": AS_BEFORE,
        "schedule": ScheduleType.CONSTANT,
        "warmup_percent": 10,
        "floor_percent": 1,
        "gradient_clip_norm": None,
        "consistency": None,
        "early_stop": (),
        "reduce_on_plateau": (),
    }


class ConvertKey(KeyInput):
    """Determines a memory-mapped graph, an acoustic model and a TFLite model: the frozen graph."""

    as_before = {"acoustic_model": False, "tflite": False}

    graph_sha256: str
    acoustic_model: bool = True
    """False for conversions from before there was one."""
    tflite: bool = False


class EvaluateKey(KeyInput):
    """Determines an evaluation: the model, the dataset and the decoding settings."""

    as_before = {
        "grammar": GrammarSource.FREE_TEXT,
        "phrases": (),
        "intents": {},
        "lists": {},
        "foreign_speech": ForeignSpeech.TRANSCRIBE,
        "scorer": (),
        "scorer_build": (),
        "scorer_weights": (),
        "hot_words": {},
        "speakers_digest": "",
    }

    model_sha256: str
    dataset_digest: str
    beam_width: int
    grammar: GrammarSource = GrammarSource.FREE_TEXT
    phrases: tuple[str, ...] = ()
    intents: dict[str, tuple[str, ...]] = {}
    lists: dict[str, tuple[str, ...]] = {}
    foreign_speech: ForeignSpeech = ForeignSpeech.TRANSCRIBE
    scorer: tuple[str, ...] = ()
    """Claim and path of the dataset or the source key of its bucket, its revision, and the path of the scorer, or of
    its text, in it. Empty without one, and for one that is built from the transcripts."""
    scorer_build: tuple[str, ...] = ()
    """Order of the n-grams and, for a text, its language. Empty unless the scorer is built."""
    scorer_weights: tuple[float | None, ...] = ()
    """Alpha and beta, None for one that is tuned. Empty without a scorer."""
    hot_words: dict[str, float] = {}
    speakers_digest: str = ""
    """Digest of the speakers, whose error rates are measured apart. Empty when none is known, and for
    datasets from before it was recorded."""


class VersionKey(KeyInput):
    """Determines a version: the model and its decoding settings."""

    as_before = {
        "grammar_sha256": "",
        "calibration": (),
        "rejection": (),
        "scorer_sha256": "",
        "scorer_weights": (),
        "hot_words": {},
        "tflite_sha256": "",
        "phrases_sha256": "",
    }

    model_sha256: str
    beam_width: int
    grammar_sha256: str = ""
    """Digest of the compiled grammar. Empty for free text."""
    calibration: tuple[float, ...] = ()
    """Threshold, offset and slope of the confidences of phrases and of words, and 1 if scores count the time of
    speech. Empty for free text."""
    rejection: tuple[float, ...] = ()
    """Threshold of free text. Empty when foreign speech is transcribed, and with a grammar."""
    scorer_sha256: str = ""
    """Digest of the scorer. Empty without one."""
    scorer_weights: tuple[float, ...] = ()
    """Alpha and beta. Empty without a scorer."""
    hot_words: dict[str, float] = {}
    tflite_sha256: str = ""
    """Digest of the TFLite file. Empty without one. It is part of the version, because version.json names it and
    never changes."""
    phrases_sha256: str = ""
    """Digest of the phrase network. Empty if it does not decode the grammar."""


class TestClipsKey(KeyInput):
    """Determines the clips that word error rates are measured on: the test clips whose transcript is a phrase."""

    dataset_digest: str
    grammar: GrammarSource
    phrases: tuple[str, ...]
    """Those of all intents, too, each once and in order. Names of intents do not change the clips."""
    lists: dict[str, tuple[str, ...]]


class CompareKey(KeyInput):
    """Determines the measurement of a published version: its files and the clips."""

    version_sha256: str
    test_clips: str


class PublishKey(KeyInput):
    """Determines a publication: the version, its place in S3, and the keys that verify its signature."""

    as_before = {"public_keys": ()}

    version: str
    bucket: str
    endpoint: str
    base: str
    public_keys: tuple[str, ...]
    """Empty for a version that is not signed."""


def source_key(s3: S3Location) -> str:
    """Return the key that names the folder of downloads from a bucket."""
    return SourceKey(bucket=s3.bucket, prefix=s3.prefix, endpoint=s3.endpoint or "").key()


def prepare_key(spec: SpeechModelSpec) -> str:
    """Return the key of the stage prepare."""
    dataset, synthesis, negatives = spec.dataset, spec.dataset.synthesize, spec.dataset.negatives
    claim, s3 = dataset.source.persistent_volume_claim, dataset.source.s3
    return PrepareKey(
        claim=claim.claim_name if claim else "",
        path=claim.path if claim else "",
        source=source_key(s3) if s3 else "",
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
        negatives_built_in=negatives.built_in,
        negatives_path=negatives.path,
        negatives_source=_place(negatives.source) if negatives.source else (),
        synthesized_takes=synthesis.takes_per_phrase if synthesis else 0,
        synthesized_voices=_words(synthesis.voices) if synthesis else (),
    ).key()


def download_key(s3: S3Location, restart_token: str) -> str:
    """Return the key of the stage download."""
    return DownloadKey(source=source_key(s3), restart_token=restart_token).key()


def lineage_key(spec: SpeechModelSpec, data: PrepareOutput) -> str:
    """Return the key of the lineage, which names the checkpoint folder.

    maxEpochs, learning rate, dropout and batch size are not part of it: a change applies from the
    last checkpoint on.
    """
    hyperparameters = spec.training.hyperparameters
    return LineageKey(
        dataset_digest=data.dataset_digest,
        alphabet_digest=data.alphabet_digest,
        hidden_units=_or_auto(hyperparameters.hidden_units),
        layer_norm=hyperparameters.layer_norm or (None if hyperparameters.hidden_units else hyperparameters.layer_norm),
        init_from=_beginning(spec.training.init_from),
        optimizer="adam",
        seed=hyperparameters.seed,
        restart_token=spec.training.restart_token,
        engine=spec.training.engine,
    ).key()


def train_key(spec: SpeechModelSpec, data: PrepareOutput) -> str:
    """Return the key of the stage train."""
    hyperparameters, augmentation = spec.training.hyperparameters, spec.training.augmentation
    schedule, default = spec.training.schedule, Schedule()
    return TrainKey(
        lineage=lineage_key(spec, data),
        max_epochs=_or_auto(spec.training.max_epochs),
        batch_size=_or_auto(hyperparameters.batch_size),
        learning_rate=_or_auto(hyperparameters.learning_rate),
        dropout=_or_auto(hyperparameters.dropout),
        language=spec.language,
        augmentation=_words(augmentation),
        schedule=schedule.type,
        # a constant rate has neither
        warmup_percent=default.warmup_percent if schedule.type is ScheduleType.CONSTANT else schedule.warmup_percent,
        floor_percent=default.floor_percent if schedule.type is ScheduleType.CONSTANT else schedule.floor_percent,
        gradient_clip_norm=hyperparameters.gradient_clip_norm,
        consistency=hyperparameters.consistency,
        early_stop=(stop.patience, stop.min_delta) if (stop := spec.training.early_stop) else (),
        reduce_on_plateau=(
            (plateau.patience, plateau.min_delta, plateau.factor)
            if (plateau := spec.training.reduce_on_plateau)
            else ()
        ),
    ).key()


def convert_key(spec: SpeechModelSpec, trained: TrainOutput) -> str:
    """Return the key of the stage convert."""
    return ConvertKey(graph_sha256=trained.graph_sha256, tflite=spec.publish.tflite).key()


def convert_keys(trained: TrainOutput) -> tuple[str, ...]:
    """Return every key that the stage convert may have for a graph."""
    return tuple(ConvertKey(graph_sha256=trained.graph_sha256, tflite=tflite).key() for tflite in (False, True))


def evaluate_key(spec: SpeechModelSpec, model_sha256: str, data: PrepareOutput, decoding: Decoding) -> str:
    """Return the key of the stage evaluate."""
    scorer = decoding.scorer
    return EvaluateKey(
        model_sha256=model_sha256,
        dataset_digest=data.dataset_digest,
        speakers_digest=data.speakers_digest or "",
        beam_width=decoding.beam_width,
        grammar=decoding.grammar,
        phrases=decoding.phrases,
        intents=decoding.intents,
        lists=decoding.lists,
        foreign_speech=decoding.foreign_speech,
        scorer=(*_place(spec.dataset.source), spec.dataset.revision, scorer.file) if scorer and scorer.file else (),
        scorer_build=_scorer_build(spec, scorer.build) if scorer and scorer.build else (),
        scorer_weights=(scorer.alpha, scorer.beta) if scorer else (),
        hot_words=scorer.hot_words if scorer else {},
    ).key()


def _scorer_build(spec: SpeechModelSpec, build: ScorerBuild) -> tuple[str, ...]:
    return (str(build.order), spec.language) if build.text else (str(build.order),)


def version_key(
    model_sha256: str,
    decoding: Decoding,
    grammar: GrammarDecoder | None,
    rejection: Rejection | None = None,
    scorer: WeighedScorer | None = None,
    tflite: TfliteFile | None = None,
) -> str:
    """Return the name of a version, which `kubectl get speechmodels` shows."""
    tflite_sha256 = tflite.sha256 if tflite else ""
    if grammar is None:
        return VersionKey(
            model_sha256=model_sha256,
            beam_width=decoding.beam_width,
            rejection=(rejection.threshold,) if rejection else (),
            scorer_sha256=scorer.scorer_sha256 if scorer else "",
            scorer_weights=(scorer.alpha, scorer.beta) if scorer else (),
            hot_words=decoding.scorer.hot_words if decoding.scorer else {},
            tflite_sha256=tflite_sha256,
        ).key()
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
            *((1.0,) if calibration.speech_time else ()),
        ),
        tflite_sha256=tflite_sha256,
        phrases_sha256=grammar.acoustic_sha256 if grammar.embedded else "",
    ).key()


def test_clips_key(data: PrepareOutput, decoding: Decoding) -> str:
    """Return the key of the test clips that word error rates are measured on."""
    every = [phrase for phrases in decoding.intents.values() for phrase in phrases]
    return TestClipsKey(
        dataset_digest=data.dataset_digest,
        grammar=decoding.grammar,
        phrases=tuple(sorted({*decoding.phrases, *every})) if every else decoding.phrases,
        lists=decoding.lists,
    ).key()


def compare_key(version_sha256: str, test_clips: str) -> str:
    """Return the key of the stage compare."""
    return CompareKey(version_sha256=version_sha256, test_clips=test_clips).key()


def publish_key(spec: SpeechModelSpec, version: str, base: str) -> str:
    """Return the key of the stage publish."""
    s3, signing = spec.publish.s3, spec.publish.signing
    public_keys = signing.public_keys if signing else ()
    return PublishKey(
        version=version, bucket=s3.bucket, endpoint=s3.endpoint or "", base=base, public_keys=public_keys
    ).key()


def publish_base(spec: SpeechModelSpec, namespace: str, name: str, uid: str) -> str:
    """Return the S3 prefix of a SpeechModel: `<prefix>/<namespace>/<name>/<uid>`."""
    return "/".join(part for part in (spec.publish.s3.prefix, namespace, name, uid) if part)


def _place(source: DatasetSource | InitFrom) -> tuple[str, ...]:
    """Return the claim and the path, or the source key of the bucket."""
    claim, s3 = source.persistent_volume_claim, source.s3
    return (claim.claim_name, claim.path) if claim else (source_key(s3) if s3 else "",)


def _beginning(init_from: InitFrom | None) -> tuple[str | int, ...]:
    """Return the place of the checkpoint that training begins with, the layers that it does not take over, and if it does more
    than that, the word for it.
    """
    return (*_place(init_from), init_from.drop_layers, *(["resume"] if init_from.resume else [])) if init_from else ()


def _or_auto(value: Number | None) -> Number | str:
    return AUTO if value is None else value


def _words(chosen: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return a word alone, or the entries of a list."""
    return (chosen,) if isinstance(chosen, str) else chosen


def _normalised(value: Any) -> Any:
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        return {_normalised(k): _normalised(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_normalised(v) for v in value]
    return value
