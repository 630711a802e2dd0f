"""evaluate, from the input document to the finished folder `reports/<key>/`."""

import logging
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.reasons import Reason
from speechmodel_api.stages import EvaluateInput, EvaluateOutput
from speechmodel_api.workspace import MODEL, REPORT, SELFTEST, Workspace
from speechmodel_runtime import Model, seconds
from speechmodel_runtime.errors import AudioTooShort, LibraryError, ModelError
from speechmodel_stagekit.artefacts import file_digest, once, require_file
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip, Part, PreparedDataset, open_dataset
from speechmodel_stagekit.errors import ArtefactMissing, BadConfiguration, BadData

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluate.figures import character_errors, clip_result, word_errors, worst
from speechmodel_pipeline.evaluation_report import ClipResult, EvaluationReport, SelfTest
from speechmodel_pipeline.progress import Steps

log = logging.getLogger(__name__)

SELFTEST_CANDIDATES = 20
"""Clips that are transcribed to choose the self-test when there are no test clips."""


def evaluate(task: EvaluateInput) -> EvaluateOutput:
    """Make the report in `reports/<key>/`, unless it is complete.

    Raises ArtefactMissing when the model or the dataset is gone or changed.
    """
    return once(Workspace(task.workspace).report(task.key), EvaluateOutput, lambda folder: _make(task, folder))


def _make(task: EvaluateInput, folder: Path) -> EvaluateOutput:
    workspace = Workspace(task.workspace)
    path = require_file(workspace.export(task.convert_key) / MODEL, task.model_sha256)
    dataset = open_dataset(workspace.data(task.data_key), task.dataset_digest)
    test = dataset.clips(Part.TEST)
    chosen = test or _substitutes(dataset)
    transcribed = _transcribe(path, task.decoding.beam_width, chosen)
    results = transcribed if test else []
    selftest = _write_selftest(chosen, transcribed, folder / SELFTEST)
    report = _report(task, results, selftest)
    text = report.model_dump_json(by_alias=True, exclude_none=True, indent=1)
    (folder / REPORT).write_text(text, encoding="utf-8")
    return EvaluateOutput(
        clips=len(results),
        wer=report.wer,
        cer=report.cer,
        report_sha256=file_digest(folder / REPORT),
        selftest_sha256=file_digest(folder / SELFTEST),
    )


def _substitutes(dataset: PreparedDataset) -> tuple[Clip, ...]:
    """Return clips for the self-test of a dataset without test clips."""
    clips = dataset.clips(Part.DEV) or tuple(clip for clip in dataset.clips(Part.TRAIN) if clip.transcript != CATCH_ALL)
    if not clips:
        raise ArtefactMissing(Reason.ARTEFACT_DAMAGED, f"{dataset.folder} has no clips; it is prepared again")
    return clips[:SELFTEST_CANDIDATES]


def _transcribe(path: Path, beam_width: int, clips: Sequence[Clip]) -> list[ClipResult]:
    """Return the result of each clip, on one thread per CPU: its calls release the GIL."""
    started = time.monotonic()
    steps = Steps(len(clips), "clips")

    def transcribe(clip: Clip) -> ClipResult:
        pcm = read_clip(clip)
        transcript = model.transcribe(pcm, name=clip.name)
        steps.advance()
        return clip_result(clip.name, seconds(len(pcm)), clip.transcript, transcript.text, transcript.confidence)

    try:
        with Model(path, beam_width=beam_width) as model, ThreadPoolExecutor(available_cpus()) as pool:
            results = list(pool.map(transcribe, clips))
    except LibraryError as error:
        raise BadConfiguration(Reason.RUNTIME_MISSING, str(error)) from error
    except ModelError as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error
    except AudioTooShort as error:
        raise ArtefactMissing(Reason.ARTEFACT_DAMAGED, f"{error}; the dataset is prepared again") from error
    took, audio = time.monotonic() - started, sum(result.seconds for result in results)
    log.info("%d clips, %.1f s of audio, took %.1f s (%.2f x real time)", len(clips), audio, took, took / audio)
    return results


def _write_selftest(clips: Sequence[Clip], results: Sequence[ClipResult], path: Path) -> SelfTest:
    """Copy the clip with the fewest errors to `path`, the shortest of equal ones."""
    clip, result = min(
        zip(clips, results, strict=True), key=lambda pair: (pair[1].wer, pair[1].cer, pair[1].seconds, pair[1].clip)
    )
    shutil.copyfile(clip.path, path)
    return SelfTest(
        clip=clip.name,
        part=clip.part.value,
        reference=clip.transcript,
        text=result.hypothesis,
        confidence=result.confidence,
    )


def _report(task: EvaluateInput, results: Sequence[ClipResult], selftest: SelfTest) -> EvaluationReport:
    words, characters = (word_errors(results), character_errors(results)) if results else (None, None)
    return EvaluationReport(
        model_sha256=task.model_sha256,
        dataset_digest=task.dataset_digest,
        decoding=task.decoding,
        clips=len(results),
        seconds=round(sum(result.seconds for result in results), 3),
        wer=round(words.rate, 6) if words else None,
        cer=round(characters.rate, 6) if characters else None,
        words=words,
        characters=characters,
        note=None if results else "the split left no test clips; raise dataset.split.testPercent or add recordings",
        selftest=selftest,
        worst=worst(results),
        results=tuple(results),
    )
