"""The answers of the engine Native to the clips that are measured, beside those of the engine DeepSpeech.

The server decodes with Native by itself only if no answer differs.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from speechmodel_api.reasons import Reason
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_runtime import Pcm
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluation_report import ClipResult, EngineDifference, NativeReport

log = logging.getLogger(__name__)


def compare_engines(answer: Callable[[Pcm], str], clips: Sequence[Clip], results: Sequence[ClipResult]) -> NativeReport:
    """Return where the answers of the engine Native differ from `results`, those of DeepSpeech.

    Raises BadData (ModelUnusable) when the network does not run.
    """

    def native(clip: Clip) -> str:
        try:
            return answer(read_clip(clip))
        except AcousticModelError as error:
            raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error

    with ThreadPoolExecutor(available_cpus()) as pool:
        answers = list(pool.map(native, clips))
    differences = tuple(
        EngineDifference(clip=clip.name, reference=clip.transcript, deep_speech=result.hypothesis, native=text)
        for clip, result, text in zip(clips, results, answers, strict=True)
        if text != result.hypothesis
    )
    log.info("the engine Native answers %d of %d clips differently", len(differences), len(clips))
    return NativeReport(clips=len(clips), differences=differences)
