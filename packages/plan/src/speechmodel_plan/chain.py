"""The chain of stages: the key of each, its input document, and what it reads of earlier ones."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError
from speechmodel_api import keys
from speechmodel_api.base import Document
from speechmodel_api.spec import S3Location
from speechmodel_api.stages import (
    ConvertInput,
    ConvertOutput,
    Decoding,
    EvaluateInput,
    EvaluateOutput,
    PrepareInput,
    PrepareOutput,
    PublishInput,
    PublishOutput,
    StageInput,
    StageName,
    TrainInput,
    TrainOutput,
)
from speechmodel_api.status import StageState, StageStatus

from speechmodel_plan.observed import Observed

T = TypeVar("T", bound=Document)

PRODUCERS: dict[StageName, tuple[StageName, ...]] = {
    StageName.PREPARE: (),
    StageName.TRAIN: (StageName.PREPARE,),
    StageName.CONVERT: (StageName.PREPARE, StageName.TRAIN),
    StageName.EVALUATE: (StageName.PREPARE, StageName.CONVERT),
    StageName.PUBLISH: (StageName.CONVERT, StageName.EVALUATE),
}
"""Whose files on the workspace a stage reads, in the order in which they are made."""

OUTPUTS: dict[StageName, type[Document]] = {
    StageName.PREPARE: PrepareOutput,
    StageName.TRAIN: TrainOutput,
    StageName.CONVERT: ConvertOutput,
    StageName.EVALUATE: EvaluateOutput,
    StageName.PUBLISH: PublishOutput,
}


class Outputs:
    """What the finished stages of the present spec gave; a stage may look at those before it."""

    def __init__(self, by_stage: Mapping[StageName, Document] | None = None) -> None:
        self._by_stage = dict(by_stage or {})

    def plus(self, stage: StageName, output: Document) -> "Outputs":
        """With one more."""
        return Outputs({**self._by_stage, stage: output})

    @property
    def prepare(self) -> PrepareOutput:
        """Of prepare; LookupError when it is not finished, and so for the others."""
        return self._get(StageName.PREPARE, PrepareOutput)

    @property
    def train(self) -> TrainOutput:
        """Of train."""
        return self._get(StageName.TRAIN, TrainOutput)

    @property
    def convert(self) -> ConvertOutput:
        """Of convert."""
        return self._get(StageName.CONVERT, ConvertOutput)

    @property
    def evaluate(self) -> EvaluateOutput:
        """Of evaluate."""
        return self._get(StageName.EVALUATE, EvaluateOutput)

    @property
    def publish(self) -> PublishOutput:
        """Of publish."""
        return self._get(StageName.PUBLISH, PublishOutput)

    def _get(self, stage: StageName, output_type: type[T]) -> T:
        if stage not in self._by_stage:
            raise LookupError(f"asked for the output of {stage}, which is not finished")
        output = self._by_stage[stage]
        assert isinstance(output, output_type)
        return output


def parse_output(entry: StageStatus) -> Document | None:
    """The recorded output of a stage that succeeded; None when it did not, or when nobody can read it."""
    if entry.state is not StageState.SUCCEEDED or entry.output is None:
        return None
    try:
        return OUTPUTS[entry.name].model_validate(entry.output)
    except ValidationError:
        return None


def stage_key(stage: StageName, seen: Observed, done: Outputs) -> str:
    """The key that the present spec asks a stage for; the stages before it are finished."""
    match stage:
        case StageName.PREPARE:
            return keys.prepare_key(seen.spec)
        case StageName.TRAIN:
            return keys.train_key(seen.spec, done.prepare)
        case StageName.CONVERT:
            return keys.convert_key(done.train)
        case StageName.EVALUATE:
            return keys.evaluate_key(done.convert.model_sha256, done.prepare, decoding(seen))
        case StageName.PUBLISH:
            return keys.publish_key(seen.spec, version(seen, done), base(seen))


def stage_input(stage: StageName, attempt: int, seen: Observed, done: Outputs) -> StageInput:
    """The input document of a stage; the stages before it are finished."""
    key = stage_key(stage, seen, done)
    spec = seen.spec
    common = {"key": key, "attempt": attempt, "owner": seen.identity.uid, "workspace": seen.workspace}
    match stage:
        case StageName.PREPARE:
            return PrepareInput(
                **common,
                source=seen.dataset,
                format=spec.dataset.format,
                language=spec.language,
                split=spec.dataset.split,
                alphabet=spec.dataset.alphabet,
                invalid_sample_policy=spec.dataset.invalid_sample_policy,
            )
        case StageName.TRAIN:
            return TrainInput(
                **common,
                data_key=keys.prepare_key(spec),
                dataset_digest=done.prepare.dataset_digest,
                lineage=keys.lineage_key(spec, done.prepare),
                language=spec.language,
                max_epochs=spec.training.max_epochs,
                hyperparameters=spec.training.hyperparameters,
                checkpoints=spec.training.checkpoints,
            )
        case StageName.CONVERT:
            return ConvertInput(
                **common,
                train_key=keys.train_key(spec, done.prepare),
                graph_sha256=done.train.graph_sha256,
                data_key=keys.prepare_key(spec),
            )
        case StageName.EVALUATE:
            return EvaluateInput(
                **common,
                convert_key=keys.convert_key(done.train),
                model_sha256=done.convert.model_sha256,
                data_key=keys.prepare_key(spec),
                dataset_digest=done.prepare.dataset_digest,
                decoding=decoding(seen),
            )
        case StageName.PUBLISH:
            return PublishInput(
                **common,
                convert_key=keys.convert_key(done.train),
                model_sha256=done.convert.model_sha256,
                evaluate_key=keys.evaluate_key(done.convert.model_sha256, done.prepare, decoding(seen)),
                report_sha256=done.evaluate.report_sha256,
                version=version(seen, done),
                decoding=decoding(seen),
                language=spec.language,
                target=target(seen),
                base=base(seen),
            )


def decoding(seen: Observed) -> Decoding:
    """How audio becomes text, in evaluation and in serving."""
    return Decoding(beam_width=seen.spec.decoding.beam_width)


def version(seen: Observed, done: Outputs) -> str:
    """Names the pair of the converted model and its decoding settings."""
    return keys.version_key(done.convert.model_sha256, decoding(seen))


def target(seen: Observed) -> S3Location:
    """The bucket, without the Secret that opens it."""
    return S3Location.model_validate(seen.spec.publish.s3.model_dump(exclude={"secret_ref"}))


def base(seen: Observed) -> str:
    """Key prefix of all that this SpeechModel publishes."""
    identity = seen.identity
    return keys.publish_base(seen.spec, identity.namespace, identity.name, identity.uid)
