"""The rejection of foreign speech in free text: the threshold, set on the dev clips, and the scores of
the clips that are measured.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.reasons import Reason
from speechmodel_decoding import TextScorer, threshold_of
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_runtime import Model, Pcm, Transcript
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip, Part, PreparedDataset
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluate.figures import word_error_share
from speechmodel_pipeline.evaluate.rough import as_heard
from speechmodel_pipeline.evaluate.sampling import evenly_spaced
from speechmodel_pipeline.progress import Steps

log = logging.getLogger(__name__)

THRESHOLD_CLIPS = 200
"""Most clips that the threshold is set on, besides their rough copies."""
MOST_ERRORS = 0.2
"""Word error rate of a text that is still right enough to set the threshold on: an error in a long
sentence, none in a command."""


@dataclass(frozen=True)
class Threshold:
    """The score below which a text is rejected, and the clips that it was set on."""

    value: float
    part: Part
    clips: int
    copies: int
    right: int
    """Clips and copies whose text was right. 1 % of them are below the threshold."""


def threshold(model: Model, scorer: TextScorer, dataset: PreparedDataset) -> Threshold:
    """Return the threshold for the dev clips of the dataset, or its training clips if it has no dev
    clips, and for their rough copies.

    Raises BadData (ModelUnusable) when the acoustic model does not run.
    """
    part = Part.DEV if dataset.clips(Part.DEV) else Part.TRAIN
    spoken = [clip for clip in dataset.clips(part) if CATCH_ALL not in clip.transcript]
    clips = evenly_spaced(spoken, THRESHOLD_CLIPS)
    steps = Steps(len(clips), "dev clips" if part is Part.DEV else "training clips")
    recordings = [read_clip(clip) for clip in clips]

    def of_clip(index: int) -> tuple[list[float], int]:
        clip, others = clips[index], recordings[:index] + recordings[index + 1 :]
        heard = as_heard(recordings[index], others, seed=int(clip.name[:8], 16), dbfs=dataset.speech_level)
        found = [(pcm, model.transcribe(pcm, name=clip.name)) for pcm in heard]
        steps.advance()
        return [
            _score(scorer, pcm, transcript)
            for pcm, transcript in found
            if transcript.text and word_error_share(clip.transcript, transcript.text) <= MOST_ERRORS
        ], len(heard) - 1

    with ThreadPoolExecutor(available_cpus()) as pool:
        scored = list(pool.map(of_clip, range(len(clips))))
    right = [score for each, _ in scored for score in each]
    if not right:
        log.warning("the model transcribes none of %d %s clips, so it will accept nothing", len(clips), part.value)
    copies = sum(count for _, count in scored)
    return Threshold(round(threshold_of(right), 6), part, len(clips), copies, len(right))


def scores(
    scorer: TextScorer,
    clips: Sequence[Clip],
    transcripts: Sequence[Transcript],
    read: Callable[[Clip], Pcm] = read_clip,
) -> list[float | None]:
    """Return the score of each clip's text, None for an empty one.

    Raises BadData (ModelUnusable) when the acoustic model does not run.
    """

    def score(clip: Clip, transcript: Transcript) -> float | None:
        return _score(scorer, read(clip), transcript) if transcript.text else None

    with ThreadPoolExecutor(available_cpus()) as pool:
        return list(pool.map(score, clips, transcripts))


def _score(scorer: TextScorer, pcm: Pcm, transcript: Transcript) -> float:
    try:
        return scorer.score(pcm, transcript.text, transcript.times)
    except AcousticModelError as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error
