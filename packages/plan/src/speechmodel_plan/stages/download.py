"""download: brings the checkpoint that training begins with from a bucket to the workspace."""

from typing import final

from speechmodel_api import keys
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Target
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.train import DownloadInput, DownloadOutput
from speechmodel_api.status import ConditionType, ModelStatus

from speechmodel_plan.stages.stage import Outputs, Stage
from speechmodel_plan.task import Task, checkpoint_bucket


@final
class Download(Stage[DownloadOutput]):
    """Download the checkpoint of training.initFrom.s3, since train has no network."""

    name = StageName.DOWNLOAD
    program = "speechmodel_pipeline.download"
    running = Reason.DOWNLOADING
    awaited = Reason.WAITING_FOR_DOWNLOAD
    condition = ConditionType.TRAINED
    complete = Reason.TRAINED
    output_type = DownloadOutput

    def wanted(self, task: Task, done: Outputs) -> bool:
        """Return True when training begins with a checkpoint in a bucket."""
        del done
        return checkpoint_bucket(task.spec) is not None

    def key(self, task: Task, done: Outputs) -> str:
        """Return the key: the place in the bucket and the restart token."""
        del done
        return keys.download_key(_bucket(task.spec), task.spec.training.restart_token)

    def document(self, task: Task, attempt: int, done: Outputs) -> DownloadInput:
        """Return the input document."""
        bucket = _bucket(task.spec)
        return DownloadInput(
            **task.common(self.key(task, done), attempt),
            bucket=bucket.location,
            folder=task.downloads(bucket),
        )

    def bucket(self, spec: SpeechModelSpec, served: ModelStatus | None = None) -> S3Target | None:
        """Return the bucket of the checkpoint, if it is in one."""
        del served
        return checkpoint_bucket(spec)

    def summary(self, output: DownloadOutput) -> str:
        """Return the size of the checkpoint and its listing."""
        files = f"{output.objects} file{'' if output.objects == 1 else 's'}"
        return f"began with {files} of {output.size_bytes / 1e6:.1f} MB, bucket listing {output.listing_digest[:8]}"


def _bucket(spec: SpeechModelSpec) -> S3Target:
    bucket = checkpoint_bucket(spec)
    if bucket is None:
        raise LookupError("training begins with no checkpoint in a bucket")
    return bucket


DOWNLOAD = Download()
