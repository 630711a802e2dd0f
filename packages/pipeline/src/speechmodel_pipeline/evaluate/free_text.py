"""Decoding as free text, as the server does it: with the scorer if there is one, with confidences, and with rejection
of foreign speech if the spec asks for it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.decoding_spec import ForeignSpeech, GrammarSource
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.decoders import Rejection, TextConfidence
from speechmodel_api.stages.evaluate import EvaluateInput
from speechmodel_api.workspace import ACOUSTIC, QUANTISED
from speechmodel_decoding import TextJudge, TextScorer
from speechmodel_runtime import Model, Pcm, Scorer, Transcript, read_graph, seconds
from speechmodel_runtime.errors import AudioTooShort, LibraryError, ModelError
from speechmodel_stagekit.artefacts import file_digest, require_file
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip, Part, PreparedDataset, Speakers
from speechmodel_stagekit.errors import ArtefactMissing, BadConfiguration, BadData

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluate.figures import clip_result, with_confidence
from speechmodel_pipeline.evaluate.grammar import load_acoustic_model
from speechmodel_pipeline.evaluate.scorer import Tuning, scorer_errors, take_scorer, tune
from speechmodel_pipeline.evaluate.text_scores import TextCalibration, calibrated, scores
from speechmodel_pipeline.evaluation_report import ClipResult
from speechmodel_pipeline.progress import Steps

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibrated:
    """The clips in free text with confidences, where foreign speech is rejected if the spec asks for it."""

    judge: TextJudge
    confidence: TextConfidence
    rejection: Rejection | None
    """None unless the spec asks for it."""
    set_on: TextCalibration
    results: list[ClipResult]


@dataclass(frozen=True)
class FreeText:
    """The clips in free text."""

    results: list[ClipResult]
    """Without rejection and confidences."""
    calibrated: Calibrated | None
    """None for a conversion without a network that scores texts."""
    tuning: Tuning | None
    """None without a scorer."""


def in_free_text(
    task: EvaluateInput, path: Path, dataset: PreparedDataset, clips: Sequence[Clip], folder: Path
) -> FreeText:
    """Return the clips as the model at `path` transcribes them. A scorer is copied into `folder`.

    Raises BadConfiguration (InvalidScorer, RuntimeMissing), BadData (ModelUnusable), ArtefactMissing.
    """
    with ExitStack() as stack:
        stack.enter_context(scorer_errors(task.decoding.scorer))
        taken = take_scorer(task, dataset, path, folder)
        model = stack.enter_context(opened(path, task.decoding.beam_width, taken.scorer if taken else None))
        tuning = tune(model, taken, dataset) if taken else None
        started = time.monotonic()
        transcripts = transcribed(model, clips)
        speakers = dataset.speakers()
        results = [_in_words(*each, speakers) for each in zip(clips, transcripts, strict=True)]
        took, audio = time.monotonic() - started, sum(result.seconds for result in results)
        log.info("%d clips, %.1f s of audio, took %.1f s (%.2f x real time)", len(clips), audio, took, took / audio)
        network = _network(task, path)
        if network is None:
            return FreeText(results, None, tuning)
        scorer = TextScorer(load_acoustic_model(network), [label.decode() for label in read_graph(path).labels])
        set_on = calibrated(model, scorer, dataset)
        found = scores(scorer, clips, transcripts)
    rejects = task.decoding.foreign_speech is ForeignSpeech.REJECT
    if rejects and not set_on.nearly_right:
        log.warning(
            "the model transcribes none of %d %s clips, so it will accept nothing", set_on.clips, set_on.part.value
        )
    digest, threshold = file_digest(network), set_on.threshold if rejects else None
    confidence = set_on.confidence.model_copy(update={"quantised_sha256": None if rejects else digest})
    sure = [
        with_confidence(result, score, confidence, threshold, foreign=clip.part is Part.NEGATIVES)
        for clip, result, score in zip(clips, results, found, strict=True)
    ]
    rejection = Rejection(acoustic_sha256=digest, threshold=set_on.threshold) if rejects else None
    judge = TextJudge(scorer, threshold, confidence)
    return FreeText(results, Calibrated(judge, confidence, rejection, set_on, sure), tuning)


def _network(task: EvaluateInput, path: Path) -> Path | None:
    """Return the network whose frames score texts, or None for a conversion without one."""
    if task.decoding.grammar is not GrammarSource.FREE_TEXT:
        return None
    if task.decoding.foreign_speech is ForeignSpeech.REJECT:
        return require_file(path.with_name(ACOUSTIC), task.acoustic_sha256)
    if task.quantised_sha256 is None:
        return None
    return require_file(path.with_name(QUANTISED), task.quantised_sha256)


@contextmanager
def opened(path: Path, beam_width: int, scorer: Scorer | None) -> Iterator[Model]:
    """Give the model, and close it at the end. Errors of the runtime while it is open are the stage's."""
    try:
        with Model(path, beam_width=beam_width, scorer=scorer) as model:
            yield model
    except LibraryError as error:
        raise BadConfiguration(Reason.RUNTIME_MISSING, str(error)) from error
    except ModelError as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error
    except AudioTooShort as error:
        raise ArtefactMissing(Reason.ARTEFACT_DAMAGED, f"{error}; the dataset is prepared again") from error


def transcribed(model: Model, clips: Sequence[Clip], read: Callable[[Clip], Pcm] = read_clip) -> list[Transcript]:
    """Return the transcript of each clip, on one thread per CPU: its calls release the GIL."""
    steps = Steps(len(clips), "clips")

    def transcribe(clip: Clip) -> Transcript:
        transcript = model.transcribe(read(clip), name=clip.name)
        steps.advance()
        return transcript

    with ThreadPoolExecutor(available_cpus()) as pool:
        return list(pool.map(transcribe, clips))


def _in_words(clip: Clip, transcript: Transcript, speakers: Speakers) -> ClipResult:
    return clip_result(
        clip.name,
        seconds(clip.samples),
        clip.transcript,
        transcript.text,
        transcript.confidence,
        speakers.is_unseen(clip),
    )
