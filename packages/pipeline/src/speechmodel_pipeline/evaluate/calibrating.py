"""The clips that thresholds and confidences are set on, with a grammar and in free text: dev clips and rough copies
of them.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from speechmodel_api.audio import frames_needed
from speechmodel_runtime import Pcm
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Clip, Part, PreparedDataset

from speechmodel_pipeline.clip_audio import read_clip
from speechmodel_pipeline.evaluate.figures import same_text
from speechmodel_pipeline.evaluate.rough import as_heard
from speechmodel_pipeline.evaluate.sampling import evenly_spaced
from speechmodel_pipeline.progress import Steps

CALIBRATION_CLIPS = 200
"""Most clips that thresholds and confidences are set on, besides their rough copies."""
IMPOSTORS = 20
"""Texts that a clip is scored against besides its own."""

Found = TypeVar("Found")


def chosen_clips(dataset: PreparedDataset, usable: Callable[[Clip], bool]) -> tuple[Part, list[Clip]]:
    """Return the usable dev clips of the dataset, or its training clips if it has none, at most CALIBRATION_CLIPS."""
    dev = [clip for clip in dataset.clips(Part.DEV) if usable(clip)]
    clips = dev or [clip for clip in dataset.clips(Part.TRAIN) if usable(clip)]
    return Part.DEV if dev else Part.TRAIN, evenly_spaced(clips, CALIBRATION_CLIPS)


def of_each(
    clips: Sequence[Clip], part: Part, dataset: PreparedDataset, find: Callable[[Clip, list[Pcm]], Found]
) -> list[Found]:
    """Return what `find` makes of each clip and its samples: as they are, and those of its rough copies."""
    steps = Steps(len(clips), "dev clips" if part is Part.DEV else "training clips")
    recordings = [read_clip(clip) for clip in clips]

    def of_clip(index: int) -> Found:
        clip, others = clips[index], recordings[:index] + recordings[index + 1 :]
        heard = as_heard(recordings[index], others, seed=int(clip.name[:8], 16), dbfs=dataset.speech_level)
        found = find(clip, heard)
        steps.advance()
        return found

    with ThreadPoolExecutor(available_cpus()) as pool:
        return list(pool.map(of_clip, range(len(clips))))


def impostors(clip: Clip, texts: Sequence[str], frames: int) -> list[str]:
    """Return up to IMPOSTORS of the texts that are not the clip's and fit into so many frames.

    Wrong answers are rare on few clips, so the best of these texts is one more.
    """
    others = [text for text in texts if not same_text(text, clip.transcript) and frames_needed(text) <= frames]
    chosen = np.random.default_rng(int(clip.name[:8], 16)).permutation(len(others))[:IMPOSTORS]
    return [others[at] for at in chosen]
