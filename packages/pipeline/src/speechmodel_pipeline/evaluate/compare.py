"""compare: a published version -> its word error rate on the test clips of a new one, as it is served.

The clips are those whose transcript is a phrase of the new version, so a version that does not know a phrase
has errors there.
"""

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from speechmodel_api.base import Document
from speechmodel_api.published import VersionManifest
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import Key
from speechmodel_api.stages.evaluate import CompareInput, CompareOutput
from speechmodel_api.workspace import ACOUSTIC, GRAMMAR, MODEL, REPORT, SCORER, Workspace
from speechmodel_decoding import Grammar, Recogniser, TextScorer
from speechmodel_decoding.errors import GrammarFileError
from speechmodel_runtime import Pcm, Scorer, level, read_graph, seconds
from speechmodel_stagekit.artefacts import once, require_file
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip, Part, PreparedDataset, open_dataset
from speechmodel_stagekit.errors import BadData, TryAgain
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluate.figures import clip_result, word_errors
from speechmodel_pipeline.evaluate.free_text import opened, transcribed
from speechmodel_pipeline.evaluate.grammar import decide, load_acoustic_model
from speechmodel_pipeline.evaluate.text_scores import scores
from speechmodel_pipeline.evaluation_report import ClipResult, EvaluationReport
from speechmodel_pipeline.s3.versions import download_version


class Comparison(Document):
    """report.json of compare."""

    version: Key
    """The published version."""
    wer: float | None
    results: tuple[ClipResult, ...]


def compare(task: CompareInput) -> CompareOutput:
    """Measure the version, unless `reports/<key>/` is complete.

    Raises ArtefactMissing when the clips or the report of the new version are gone, TryAgain (DownloadFailed) with
    the message of S3, and BadData (ModelUnusable) when the version cannot be decoded with.
    """
    return once(Workspace(task.workspace).report(task.key), CompareOutput, lambda folder: _make(task, folder))


def _make(task: CompareInput, folder: Path) -> CompareOutput:
    workspace = Workspace(task.workspace)
    dataset = open_dataset(workspace.data(task.data_key), task.dataset_digest)
    report = require_file(workspace.report(task.evaluate_key) / REPORT, task.report_sha256)
    measured = EvaluationReport.model_validate_json(report.read_bytes()).results
    phrases = {result.clip for result in measured if not result.foreign}
    clips = [clip for clip in dataset.clips(Part.TEST) if clip.name in phrases]
    results = _results(task, folder, dataset, clips) if clips else ()
    wer = round(word_errors(results).rate, 6) if results else None
    made = Comparison(version=task.version, wer=wer, results=results)
    (folder / REPORT).write_text(made.model_dump_json(by_alias=True, exclude_none=True, indent=1), encoding="utf-8")
    return CompareOutput(version=task.version, version_sha256=task.version_sha256, clips=len(clips), wer=wer)


def _results(
    task: CompareInput, folder: Path, dataset: PreparedDataset, clips: Sequence[Clip]
) -> tuple[ClipResult, ...]:
    with tempfile.TemporaryDirectory(dir=folder, prefix="version-") as name:
        manifest = _download(task, Path(name))
        texts = _texts(Path(name), manifest, dataset, clips)
    speakers = dataset.speakers()
    return tuple(
        clip_result(clip.name, seconds(clip.samples), clip.transcript, text, 0.0, speakers.is_unseen(clip))
        for clip, text in zip(clips, texts, strict=True)
    )


def _download(task: CompareInput, folder: Path) -> VersionManifest:
    try:
        return download_version(task.target, task.version_uri, task.version_sha256, folder, task.public_keys)
    except (TryAgain, BadData) as error:
        remedy = "to go on without it, remove evaluation.gate.notWorseThanServing or set serving.pinnedVersion"
        raise type(error)(error.reason, f"version {task.version} cannot be compared: {error}; {remedy}") from error


def _texts(folder: Path, manifest: VersionManifest, dataset: PreparedDataset, clips: Sequence[Clip]) -> list[str]:
    """Return the answer of the version in `folder` to each clip."""

    def read(clip: Clip) -> Pcm:
        """Return the samples at the level that the version was trained with."""
        pcm = read_clip(clip)
        return pcm if manifest.speech_level in (None, dataset.speech_level) else level(pcm, manifest.speech_level)

    if manifest.grammar is not None:
        alphabet = [label.decode() for label in read_graph(folder / MODEL).labels]
        try:
            grammar = Grammar.from_bytes((folder / GRAMMAR).read_bytes(), alphabet)
        except GrammarFileError as error:
            raise BadData(Reason.MODEL_UNUSABLE, f"version {manifest.version}: {error}") from error
        recogniser = Recogniser(load_acoustic_model(folder / ACOUSTIC), grammar, manifest.grammar.calibration)
        with ThreadPoolExecutor(available_cpus()) as pool:
            decisions = pool.map(lambda clip: decide(recogniser, read(clip), manifest.speech_level), clips)
            return [decision.text for decision in decisions]
    with opened(folder / MODEL, manifest.decoding.beam_width, _scorer(folder, manifest)) as model:
        transcripts = transcribed(model, clips, read)
    if manifest.rejection is None:
        return [transcript.text for transcript in transcripts]
    alphabet = [label.decode() for label in read_graph(folder / MODEL).labels]
    found = scores(TextScorer(load_acoustic_model(folder / ACOUSTIC), alphabet), clips, transcripts, read)
    threshold = manifest.rejection.threshold
    return [
        transcript.text if score is not None and score >= threshold else ""
        for transcript, score in zip(transcripts, found, strict=True)
    ]


def _scorer(folder: Path, manifest: VersionManifest) -> Scorer | None:
    if manifest.scorer is None:
        return None
    hot_words = manifest.decoding.scorer.hot_words if manifest.decoding.scorer else {}
    return Scorer(folder / SCORER, manifest.scorer.alpha, manifest.scorer.beta, hot_words)


if __name__ == "__main__":
    run_stage(CompareInput, compare)
