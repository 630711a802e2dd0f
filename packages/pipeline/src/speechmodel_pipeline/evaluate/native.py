"""The answers of the engine Native to the clips that are measured, beside those of the engine DeepSpeech.

The server decodes with Native by itself only if no answer differs.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.reasons import Reason
from speechmodel_decoding import SHORT_SECONDS, cut_at_pauses
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_runtime import Pcm, level
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluation_report import ClipResult, EngineDifference, NativeReport

log = logging.getLogger(__name__)

Answer = Callable[[Pcm], str]
"""Decodes samples."""


def compare_engines(
    answer: Answer,
    clips: Sequence[Clip],
    results: Sequence[ClipResult],
    parts: Callable[[Pcm], Iterable[tuple[str, str]]] = lambda _: (),
) -> NativeReport:
    """Return where the answers of the engine Native differ from `results`, those of DeepSpeech, or where both answers to a
    recording that the server cuts into `parts` differ.

    Raises BadData (ModelUnusable) when the network does not run.
    """

    def differing(clip: Clip, result: ClipResult) -> EngineDifference | None:
        pcm = read_clip(clip)
        try:
            for deep_speech, native in chain(((result.hypothesis, answer(pcm)),), parts(pcm)):
                if deep_speech != native:
                    return EngineDifference(
                        clip=clip.name, reference=clip.transcript, deep_speech=deep_speech, native=native
                    )
        except AcousticModelError as error:
            raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error
        return None

    with ThreadPoolExecutor(available_cpus()) as pool:
        found = [each for each in pool.map(differing, clips, results) if each]
    log.info("the engine Native answers %d of %d clips differently", len(found), len(clips))
    return NativeReport(clips=len(clips), differences=tuple(found))


def in_parts(deep_speech: Answer, native: Answer, pcm: Pcm, dbfs: float | None) -> Iterator[tuple[str, str]]:
    """Yield the answers of both engines to a recording at the level `dbfs` in free text, if the server cuts it at pauses."""
    found = cut_at_pauses(pcm)
    if len(pcm) > SHORT_SECONDS * SAMPLE_RATE:
        parts = [level(utterance.pcm, dbfs) for utterance in found]
    elif len(found) > 1:
        parts = [utterance.pcm for utterance in found]
    else:
        return
    yield _joined(deep_speech, parts), _joined(native, parts)


def _joined(answer: Answer, parts: Sequence[Pcm]) -> str:
    return " ".join(text for part in parts if (text := answer(part)))
