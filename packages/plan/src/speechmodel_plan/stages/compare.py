"""compare: measures the served version on the test clips of a new one, for evaluation.gate."""

from typing import final

from speechmodel_api import keys
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import LocalObjectReference, S3Target
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.evaluate import CompareInput, CompareOutput
from speechmodel_api.status import ConditionType, ModelStatus

from speechmodel_plan.decoding import decoding
from speechmodel_plan.stages.evaluate import EVALUATE
from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.publish import PUBLISH
from speechmodel_plan.stages.stage import Outputs, Stage
from speechmodel_plan.task import Task


def published_at(spec: SpeechModelSpec, version: ModelStatus) -> S3Target:
    """Return the bucket of a published version, and the Secret for it.

    `publish.s3` may have been edited since: an edit of the Secret counts at once, unless it is about another bucket.
    """
    name, now = version.version_uri.removeprefix("s3://").split("/")[0], spec.publish.s3
    secret = LocalObjectReference(name=version.secret_name) if version.secret_name else None
    same = (now.bucket, now.endpoint) == (name, version.endpoint)
    return S3Target(
        bucket=name,
        endpoint=version.endpoint,
        region=version.region,
        secret_ref=now.secret_ref if same else secret,
    )


def trusted_keys(spec: SpeechModelSpec, version: ModelStatus) -> tuple[str, ...] | None:
    """Return the public keys of which one must verify the signature of a published version.

    None verifies nothing: without publish.signing, and for a version that was published without it.
    """
    signing = spec.publish.signing
    return signing.public_keys if signing and version.signed_by else None


def test_clips(task: Task, done: Outputs) -> str:
    """Return the key of the test clips that the new version was measured on."""
    return keys.test_clips_key(done.of(PREPARE), decoding(task.spec))


@final
class Compare(Stage[CompareOutput]):
    """Measure the served version again, unless it was measured on the same clips."""

    name = StageName.COMPARE
    reads = (StageName.PREPARE, StageName.EVALUATE)
    program = "speechmodel_pipeline.evaluate.compare"
    running = Reason.COMPARING
    awaited = Reason.WAITING_FOR_COMPARE
    condition = ConditionType.PROMOTED
    complete = Reason.PROMOTED
    output_type = CompareOutput

    def wanted(self, task: Task, done: Outputs) -> bool:
        """Return True when the gate compares the new version with a served one that was measured on other clips."""
        gate, serving, served = task.spec.evaluation.gate, task.spec.serving, task.served
        if gate is None or gate.not_worse_than_serving is None or served is None:
            return False
        pinned = serving is not None and serving.pinned_version is not None
        new = done.of(PUBLISH).version != served.version
        return new and not pinned and served.test_clips != test_clips(task, done)

    def key(self, task: Task, done: Outputs) -> str:
        """Return the key: the served version and the clips."""
        return keys.compare_key(_served(task).version_sha256, test_clips(task, done))

    def document(self, task: Task, attempt: int, done: Outputs) -> CompareInput:
        """Return the input document."""
        served = _served(task)
        return CompareInput(
            **task.common(self.key(task, done), attempt),
            data_key=PREPARE.key(task, done),
            dataset_digest=done.of(PREPARE).dataset_digest,
            evaluate_key=EVALUATE.key(task, done),
            report_sha256=done.of(EVALUATE).report_sha256,
            version=served.version,
            target=published_at(task.spec, served).location,
            version_uri=served.version_uri,
            version_sha256=served.version_sha256,
            public_keys=trusted_keys(task.spec, served),
        )

    def bucket(self, spec: SpeechModelSpec, served: ModelStatus | None = None) -> S3Target:
        """Return the bucket of the served version."""
        return published_at(spec, served) if served else spec.publish.s3

    def summary(self, output: CompareOutput) -> str:
        """Return the error rate of the served version."""
        if output.wer is None:
            return f"WER of version {output.version} not measured, because there are no test clips"
        return f"version {output.version} has WER {output.wer:.1%} on the {output.clips} test clips of the new one"


def _served(task: Task) -> ModelStatus:
    if task.served is None:
        raise LookupError("no version is served")
    return task.served


COMPARE = Compare()
