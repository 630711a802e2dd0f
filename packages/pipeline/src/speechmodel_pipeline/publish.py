"""publish: model, report and self-test clip -> S3, every object read back before it counts.

    <base>/<model sha256>/output_graph.pbmm
    <base>/<model sha256>/<version>/report.json
    <base>/<model sha256>/<version>/selftest.wav
    <base>/<model sha256>/<version>/version.json       VersionManifest, written last

What is there already is not sent again. A version.json never changes: one that was written by an earlier run stays, as long as
everything that it names is whole, because servers are started with its digest.
"""

import hashlib
import logging
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.stages import EvaluateOutput, PublishInput, PublishOutput, VersionManifest
from speechmodel_stagekit.artefacts import recorded_output, require_file
from speechmodel_stagekit.errors import ArtefactMissing
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.evaluate.report import EvaluationReport
from speechmodel_pipeline.files import MODEL, REPORT, SELFTEST, VERSION
from speechmodel_pipeline.progress import Steps
from speechmodel_pipeline.s3.errors import storage_errors
from speechmodel_pipeline.s3.objects import Bucket, split_uri

log = logging.getLogger(__name__)


def publish(task: PublishInput) -> PublishOutput:
    """The version in S3, sent as far as it is not there.

    Raises ArtefactMissing when model or report are gone, TryAgain("UploadFailed") with S3's own words when it refuses.
    """
    workspace = Path(task.workspace)
    model = require_file(workspace / "exports" / task.convert_key / MODEL, task.model_sha256)
    reports = workspace / "reports" / task.evaluate_key
    evaluation = recorded_output(reports, EvaluateOutput)
    if evaluation is None or evaluation.report_sha256 != task.report_sha256:
        raise ArtefactMissing("ArtefactMissing", f"{reports} is missing or damaged; the model is evaluated again")
    manifest = _manifest(task, model, evaluation, EvaluationReport.model_validate_json((reports / REPORT).read_bytes()))
    with storage_errors("UploadFailed", task.target):
        written = _send(Bucket.connect(task.target), task, model, reports, manifest)
    return PublishOutput(
        version=task.version,
        uri=manifest.model_uri,
        version_uri=_uri(task, VERSION),
        version_sha256=hashlib.sha256(written).hexdigest(),
    )


def _send(bucket: Bucket, task: PublishInput, model: Path, reports: Path, manifest: VersionManifest) -> bytes:
    """version.json as it lies in S3 in the end."""
    progress = Steps(2 * manifest.model_bytes, "bytes")
    sent = bucket.ensure(_key(manifest.model_uri), model, manifest.model_sha256, progress.advance)
    log.info("%s %s", manifest.model_uri, "sent and verified" if sent else "was there, verified")
    version_key, report_key = _key(_uri(task, VERSION)), _key(manifest.report_uri)
    earlier = bucket.read_if_there(version_key)
    if earlier is not None and _stands(bucket, earlier, manifest):
        log.info("%s was there, verified", _uri(task, VERSION))
        if not bucket.is_whole(report_key):
            bucket.ensure(report_key, reports / REPORT, task.report_sha256)
        return earlier
    bucket.ensure(report_key, reports / REPORT, task.report_sha256)
    bucket.ensure(_key(manifest.selftest_uri), reports / SELFTEST, manifest.selftest_sha256)
    content = manifest.model_dump_json(by_alias=True, exclude_none=True, indent=1).encode()
    if earlier is not None:
        log.warning("%s was damaged and is replaced", _uri(task, VERSION))
        bucket.put(version_key, content)
    elif not bucket.put_once(version_key, content):
        content = bucket.read(version_key)  # another attempt was first, with the same model
    return content


def _stands(bucket: Bucket, earlier: bytes, manifest: VersionManifest) -> bool:
    """Whether an earlier run's version.json is for the same model and version, and the self-test clip that it names is whole."""
    try:
        written = VersionManifest.model_validate_json(earlier)
    except ValidationError:
        return False
    identity = {
        "version",
        "language",
        "decoding",
        "model_uri",
        "model_sha256",
        "model_bytes",
        "selftest_uri",
        "report_uri",
    }
    same = written.model_dump(include=identity) == manifest.model_dump(include=identity)
    return same and bucket.is_whole(_key(written.selftest_uri), written.selftest_sha256)


def _manifest(task: PublishInput, model: Path, evaluation: EvaluateOutput, report: EvaluationReport) -> VersionManifest:
    return VersionManifest(
        version=task.version,
        language=task.language,
        decoding=task.decoding,
        model_uri=f"s3://{task.target.bucket}/{task.base}/{task.model_sha256}/{MODEL}",
        model_sha256=task.model_sha256,
        model_bytes=model.stat().st_size,
        selftest_uri=_uri(task, SELFTEST),
        selftest_sha256=evaluation.selftest_sha256,
        selftest_text=report.selftest.text,
        report_uri=_uri(task, REPORT),
        wer=evaluation.wer,
        cer=evaluation.cer,
    )


def _uri(task: PublishInput, name: str) -> str:
    return f"s3://{task.target.bucket}/{task.base}/{task.model_sha256}/{task.version}/{name}"


def _key(uri: str) -> str:
    return split_uri(uri)[1]


if __name__ == "__main__":
    run_stage(PublishInput, publish)
