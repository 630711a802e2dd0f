"""publish: model, report and self-test clip -> S3, every object read back and verified.

    <base>/<model sha256>/output_graph.pbmm
    <base>/<model sha256>/acoustic.onnx                with a grammar, or rejection in free text
    <base>/<phrases sha256>/phrases.onnx               if it decodes the grammar, instead of acoustic.onnx
    <base>/<quantised sha256>/acoustic.int8.onnx       for the engine Native, and confidences of free text
    <base>/<scorer sha256>/lm.scorer                   with a scorer
    <base>/<tflite sha256>/output_graph.tflite         with publish.tflite
    <base>/<model sha256>/<version>/grammar.zip        with a grammar
    <base>/<model sha256>/<version>/report.json
    <base>/<model sha256>/<version>/report.html        the report for people
    <base>/<model sha256>/<version>/selftest.wav
    <base>/<model sha256>/<version>/version.json       VersionManifest, written after what it names
    <base>/<model sha256>/<version>/model.sig          with publish.signing

Whole objects are not sent again. A version.json never changes, because servers are started with its
digest: that of an earlier run stays, as long as everything that it names is whole.
"""

import hashlib
import logging
import os
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.credentials import SIGNING_KEY
from speechmodel_api.phrase_network import PublishedPhrases
from speechmodel_api.published import (
    ModelCard,
    PublishedConfidence,
    PublishedGrammar,
    PublishedNative,
    PublishedRejection,
    PublishedScorer,
    VersionManifest,
)
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.decoders import GrammarDecoder
from speechmodel_api.stages.evaluate import EvaluateOutput
from speechmodel_api.stages.publish import PublishInput, PublishOutput
from speechmodel_api.takes import speaker_hash
from speechmodel_api.tflite import PublishedTflite
from speechmodel_api.workspace import (
    ACOUSTIC,
    GRAMMAR,
    MODEL,
    PAGE,
    PHRASES,
    QUANTISED,
    REPORT,
    SCORER,
    SELFTEST,
    TFLITE,
    VERSION,
    Workspace,
)
from speechmodel_stagekit.artefacts import recorded_output, require_file
from speechmodel_stagekit.dataset import open_dataset
from speechmodel_stagekit.errors import ArtefactMissing
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.evaluation_report import EvaluationReport
from speechmodel_pipeline.progress import Steps
from speechmodel_pipeline.s3.errors import storage_errors
from speechmodel_pipeline.s3.objects import Bucket, split_uri
from speechmodel_pipeline.signing import SigningKey, signature_uri, signed_digests
from speechmodel_pipeline.training_history import read_epochs

log = logging.getLogger(__name__)


def publish(task: PublishInput) -> PublishOutput:
    """Upload the objects of the version that are missing or damaged, and sign it with publish.signing.

    Raises ArtefactMissing when model or report are gone, TryAgain (UploadFailed) with the message of
    S3, and the errors of SigningKey.
    """
    key = SigningKey(os.environ.get(SIGNING_KEY), task.public_keys) if task.public_keys else None
    workspace = Workspace(task.workspace)
    model = require_file(workspace.export(task.convert_key) / MODEL, task.model_sha256)
    report_folder = workspace.report(task.evaluate_key)
    evaluation = recorded_output(report_folder, EvaluateOutput)
    if evaluation is None or evaluation.report_sha256 != task.report_sha256:
        raise ArtefactMissing(
            Reason.ARTEFACT_MISSING, f"{report_folder} is missing or damaged; the model is evaluated again"
        )
    report = EvaluationReport.model_validate_json((report_folder / REPORT).read_bytes())
    manifest = _manifest(task, model, report_folder, evaluation, report)
    with storage_errors(Reason.UPLOAD_FAILED, task.target):
        bucket = Bucket.connect(task.target)
        written = _send(bucket, task, model, report_folder, evaluation, manifest)
        if key is not None:
            _sign(bucket, task, written, key)
    return PublishOutput(
        version=task.version,
        uri=manifest.model_uri,
        version_uri=_uri(task, VERSION),
        version_sha256=hashlib.sha256(written).hexdigest(),
        page_uri=manifest.page_uri,
        tflite=manifest.tflite,
        phrases=_phrases(manifest.grammar),
        signed_by=key.fingerprint if key else None,
    )


def _sign(bucket: Bucket, task: PublishInput, version: bytes, key: SigningKey) -> None:
    """Write the signature of version.json and of what it names, unless this key has signed them before."""
    uri = signature_uri(_uri(task, VERSION))
    digests = signed_digests(version, VersionManifest.model_validate_json(version))
    earlier = bucket.read_if_there(_key(uri))
    if earlier is not None and key.has_signed(earlier, digests):
        log.info("%s unchanged and verified", uri)
        return
    bucket.put(_key(uri), key.sign(task.version, digests))
    log.info("%s signed with the key %s", uri, key.fingerprint)


def _send(
    bucket: Bucket,
    task: PublishInput,
    model: Path,
    report_folder: Path,
    evaluation: EvaluateOutput,
    manifest: VersionManifest,
) -> bytes:
    """Upload the objects and return version.json as it is in S3 afterwards."""
    progress = Steps(2 * manifest.model_bytes, "bytes")
    sent = bucket.ensure(_key(manifest.model_uri), model, manifest.model_sha256, progress.advance)
    log.info("%s %s", manifest.model_uri, "sent and verified" if sent else "unchanged and verified")
    if (scores := manifest.grammar or manifest.rejection) is not None:
        network = model.with_name(_network_name(task.grammar))
        bucket.ensure(_key(scores.acoustic_uri), network, scores.acoustic_sha256)
    if (quantised := manifest.quantised) is not None:
        bucket.ensure(_key(quantised.uri), model.with_name(QUANTISED), quantised.sha256)
    if (tflite := manifest.tflite) is not None:
        bucket.ensure(_key(tflite.uri), model.with_name(TFLITE), tflite.sha256)
    if (scorer := manifest.scorer) is not None:
        bucket.ensure(_key(scorer.scorer_uri), report_folder / SCORER, scorer.scorer_sha256)
    if (grammar := manifest.grammar) is not None:
        bucket.ensure(_key(grammar.grammar_uri), report_folder / GRAMMAR, grammar.grammar_sha256)
    if manifest.page_uri is not None and evaluation.page_sha256 is not None:
        bucket.ensure(_key(manifest.page_uri), report_folder / PAGE, evaluation.page_sha256)
    version_key, report_key = _key(_uri(task, VERSION)), _key(manifest.report_uri)
    earlier = bucket.read_if_there(version_key)
    if earlier is not None and _is_valid(bucket, earlier, manifest):
        log.info("%s unchanged and verified", _uri(task, VERSION))
        if not bucket.is_whole(report_key):
            bucket.ensure(report_key, report_folder / REPORT, task.report_sha256)
        return earlier
    bucket.ensure(report_key, report_folder / REPORT, task.report_sha256)
    bucket.ensure(_key(manifest.selftest_uri), report_folder / SELFTEST, manifest.selftest_sha256)
    content = manifest.model_dump_json(by_alias=True, exclude_none=True, indent=1).encode()
    if earlier is not None:
        log.warning("%s was damaged and is replaced", _uri(task, VERSION))
        bucket.put(version_key, content)
    elif not bucket.put_once(version_key, content):
        content = bucket.read(version_key)  # another attempt was first, with the same model
    return content


def _is_valid(bucket: Bucket, earlier: bytes, manifest: VersionManifest) -> bool:
    """Return True when version.json of an earlier run is for the same model and version, and its
    self-test clip is whole.
    """
    try:
        written = VersionManifest.model_validate_json(earlier)
    except ValidationError:
        return False
    identity = {
        "version",
        "language",
        "decoding",
        "grammar",
        "rejection",
        "scorer",
        "tflite",
        "model_uri",
        "model_sha256",
        "model_bytes",
        "selftest_uri",
        "report_uri",
        "speech_level",
    }
    same = written.model_dump(include=identity) == manifest.model_dump(include=identity)
    return same and bucket.is_whole(_key(written.selftest_uri), written.selftest_sha256)


def _manifest(
    task: PublishInput, model: Path, report_folder: Path, evaluation: EvaluateOutput, report: EvaluationReport
) -> VersionManifest:
    return VersionManifest(
        version=task.version,
        language=task.language,
        decoding=task.decoding,
        grammar=_grammar(task, model.with_name(_network_name(task.grammar)), report_folder / GRAMMAR),
        rejection=_rejection(task, model.with_name(ACOUSTIC)),
        confidence=_confidence(task, model.with_name(QUANTISED)),
        scorer=_scorer(task, report_folder / SCORER),
        native=_native(task, model.with_name(QUANTISED)),
        tflite=_tflite(task, model.with_name(TFLITE)),
        model_uri=f"s3://{task.target.bucket}/{task.base}/{task.model_sha256}/{MODEL}",
        model_sha256=task.model_sha256,
        model_bytes=model.stat().st_size,
        selftest_uri=_uri(task, SELFTEST),
        selftest_sha256=evaluation.selftest_sha256,
        selftest_text=report.selftest.text,
        report_uri=_uri(task, REPORT),
        page_uri=_uri(task, PAGE) if evaluation.page_sha256 else None,
        speech_level=report.speech_level,
        wer=evaluation.wer,
        cer=evaluation.cer,
        card=_card(task, evaluation),
    )


def _card(task: PublishInput, evaluation: EvaluateOutput) -> ModelCard | None:
    if task.dataset is None or task.training is None:
        return None
    epochs = read_epochs(Workspace(task.workspace), task.train_key)
    return ModelCard(
        dataset=task.dataset,
        training=task.training,
        evaluation=evaluation,
        epochs=epochs,
        take_speakers=_take_speakers(task, task.dataset.dataset_digest),
    )


def _take_speakers(task: PublishInput, dataset_digest: str) -> tuple[str, ...] | None:
    """Return the hashes of the speakers of takes in the dataset. None when the dataset is gone."""
    if task.data_key is None:
        return None
    try:
        speakers = open_dataset(Workspace(task.workspace).data(task.data_key), dataset_digest).take_speakers()
    except ArtefactMissing as error:
        log.warning("the version does not record whose takes it was made with: %s", error)
        return None
    return tuple(sorted(map(speaker_hash, speakers)))


def _network_name(grammar: GrammarDecoder | None) -> str:
    """Return the name of the network whose frames are decoded by the grammar, or score free text."""
    return PHRASES if grammar is not None and grammar.embedded else ACOUSTIC


def _grammar(task: PublishInput, acoustic: Path, grammar: Path) -> PublishedGrammar | None:
    """Return the description of the grammar's files. Raises ArtefactMissing when one is gone or changed."""
    if task.grammar is None:
        return None
    require_file(acoustic, task.grammar.acoustic_sha256)
    require_file(grammar, task.grammar.grammar_sha256)
    return PublishedGrammar(
        **task.grammar.model_dump(),
        acoustic_uri=_phrases_uri(task, task.grammar) if task.grammar.embedded else _acoustic_uri(task),
        acoustic_bytes=acoustic.stat().st_size,
        grammar_uri=_uri(task, GRAMMAR),
        grammar_bytes=grammar.stat().st_size,
    )


def _phrases(grammar: PublishedGrammar | None) -> PublishedPhrases | None:
    """Return the address of the phrase network. None unless it decodes the grammar."""
    if grammar is None or not grammar.embedded:
        return None
    return PublishedPhrases(sha256=grammar.acoustic_sha256, size_bytes=grammar.acoustic_bytes, uri=grammar.acoustic_uri)


def _rejection(task: PublishInput, acoustic: Path) -> PublishedRejection | None:
    """Return the description of the acoustic model. Raises ArtefactMissing when it is gone or changed."""
    if task.rejection is None:
        return None
    require_file(acoustic, task.rejection.acoustic_sha256)
    return PublishedRejection(
        **task.rejection.model_dump(), acoustic_uri=_acoustic_uri(task), acoustic_bytes=acoustic.stat().st_size
    )


def _confidence(task: PublishInput, quantised: Path) -> PublishedConfidence | None:
    """Return the confidences of free text. Raises ArtefactMissing when their network is gone or changed."""
    if task.confidence is None:
        return None
    digest = task.confidence.quantised_sha256
    if digest is None:
        return PublishedConfidence(**task.confidence.model_dump())
    require_file(quantised, digest)
    return PublishedConfidence(
        **task.confidence.model_dump(),
        quantised_uri=_quantised_uri(task, digest),
        quantised_bytes=quantised.stat().st_size,
    )


def _scorer(task: PublishInput, scorer: Path) -> PublishedScorer | None:
    """Return the description of the scorer. Raises ArtefactMissing when it is gone or changed."""
    if task.scorer is None:
        return None
    require_file(scorer, task.scorer.scorer_sha256)
    return PublishedScorer(
        **task.scorer.model_dump(),
        scorer_uri=f"s3://{task.target.bucket}/{task.base}/{task.scorer.scorer_sha256}/{SCORER}",
        scorer_bytes=scorer.stat().st_size,
    )


def _native(task: PublishInput, quantised: Path) -> PublishedNative | None:
    """Return the description of the network of Native. Raises ArtefactMissing when it is gone or changed."""
    if task.native is None:
        return None
    require_file(quantised, task.native.quantised_sha256)
    return PublishedNative(
        **task.native.model_dump(),
        quantised_uri=_quantised_uri(task, task.native.quantised_sha256),
        quantised_bytes=quantised.stat().st_size,
    )


def _tflite(task: PublishInput, path: Path) -> PublishedTflite | None:
    """Return the description of the TFLite file. Raises ArtefactMissing when it is gone or changed."""
    if task.tflite is None:
        return None
    require_file(path, task.tflite.sha256)
    uri = f"s3://{task.target.bucket}/{task.base}/{task.tflite.sha256}/{TFLITE}"
    return PublishedTflite(**task.tflite.model_dump(), uri=uri)


def _acoustic_uri(task: PublishInput) -> str:
    return f"s3://{task.target.bucket}/{task.base}/{task.model_sha256}/{ACOUSTIC}"


def _phrases_uri(task: PublishInput, grammar: GrammarDecoder) -> str:
    return f"s3://{task.target.bucket}/{task.base}/{grammar.acoustic_sha256}/{PHRASES}"


def _quantised_uri(task: PublishInput, sha256: str) -> str:
    return f"s3://{task.target.bucket}/{task.base}/{sha256}/{QUANTISED}"


def _uri(task: PublishInput, name: str) -> str:
    return f"s3://{task.target.bucket}/{task.base}/{task.model_sha256}/{task.version}/{name}"


def _key(uri: str) -> str:
    return split_uri(uri)[1]


if __name__ == "__main__":
    run_stage(PublishInput, publish)
