"""publish: uploads the model and its report to S3 and reads them back."""

from typing import Any, final

from speechmodel_api import keys
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Target
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.publish import PublishInput, PublishOutput
from speechmodel_api.status import ConditionType, ModelStatus

from speechmodel_plan.decoding import decoding
from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.evaluate import EVALUATE
from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.stage import Outputs, Stage
from speechmodel_plan.stages.train import TRAIN
from speechmodel_plan.task import Owner, Task


def base(spec: SpeechModelSpec, owner: Owner) -> str:
    """Return the key prefix of everything that a SpeechModel publishes."""
    return keys.publish_base(spec, owner.namespace, owner.name, owner.uid)


@final
class Publish(Stage[PublishOutput]):
    """Upload a version."""

    name = StageName.PUBLISH
    reads = (StageName.CONVERT, StageName.EVALUATE)
    program = "speechmodel_pipeline.publish"
    running = Reason.PUBLISHING
    awaited = Reason.WAITING_FOR_PUBLISH
    condition = ConditionType.PUBLISHED
    complete = Reason.PUBLISHED
    output_type = PublishOutput

    def key(self, task: Task, done: Outputs) -> str:
        """Return the key: a version and its destination."""
        return keys.publish_key(task.spec, _version(task.spec, done), base(task.spec, task.owner))

    def document(self, task: Task, attempt: int, done: Outputs) -> PublishInput:
        """Return the input document."""
        return PublishInput(
            **task.common(self.key(task, done), attempt),
            train_key=TRAIN.key(task, done),
            data_key=PREPARE.key(task, done),
            convert_key=CONVERT.key(task, done),
            model_sha256=done.of(CONVERT).model_sha256,
            evaluate_key=EVALUATE.key(task, done),
            report_sha256=done.of(EVALUATE).report_sha256,
            version=_version(task.spec, done),
            dataset=done.of(PREPARE),
            training=done.of(TRAIN),
            decoding=decoding(task.spec),
            grammar=done.of(EVALUATE).grammar,
            rejection=done.of(EVALUATE).rejection,
            confidence=done.of(EVALUATE).confidence,
            scorer=done.of(EVALUATE).scorer,
            native=done.of(EVALUATE).native,
            tflite=done.of(CONVERT).tflite,
            language=task.spec.language,
            public_keys=task.spec.publish.signing.public_keys if task.spec.publish.signing else None,
            target=task.spec.publish.s3.location,
            base=base(task.spec, task.owner),
        )

    def summary(self, output: PublishOutput) -> str:
        """Return the version and its bucket."""
        bucket_name = output.uri.removeprefix("s3://").partition("/")[0]
        return f"version {output.version} in bucket {bucket_name}"

    def bucket(self, spec: SpeechModelSpec, served: ModelStatus | None = None) -> S3Target:
        """Return the bucket of published models."""
        del served
        return spec.publish.s3

    def settings(self, spec: SpeechModelSpec) -> dict[str, Any]:
        """Return the access to the bucket, and the Secret of the private key."""
        signing = spec.publish.signing
        return super().settings(spec) | ({"signing": signing.private_key_secret_ref.name} if signing else {})


def _version(spec: SpeechModelSpec, done: Outputs) -> str:
    converted, evaluated = done.of(CONVERT), done.of(EVALUATE)
    return keys.version_key(
        converted.model_sha256,
        decoding(spec),
        evaluated.grammar,
        evaluated.rejection,
        evaluated.scorer,
        converted.tflite,
    )


PUBLISH = Publish()
