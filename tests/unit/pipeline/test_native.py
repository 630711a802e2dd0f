"""The answers of the engine Native beside those of the engine DeepSpeech."""

from pathlib import Path

import numpy as np
import pytest
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_pipeline.evaluate.figures import clip_result
from speechmodel_pipeline.evaluate.native import compare_engines
from speechmodel_pipeline.evaluation_report import EngineDifference
from speechmodel_pipeline.prepare.clips import write_clip
from speechmodel_runtime import AudioInfo, Pcm
from speechmodel_stagekit.dataset import Clip, Part
from speechmodel_stagekit.errors import BadData


def clip(samples: int, folder: Path) -> Clip:
    pcm: Pcm = np.full(samples, 5, np.int16)
    written = write_clip(pcm, folder, AudioInfo(16_000, 1, samples, "wav"))
    return Clip(folder / written.name, "said", Part.TEST)


def test_every_clip_that_native_answers_differently_is_named(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    clips = [clip(samples, tmp_path) for samples in (8_000, 16_000)]
    results = [clip_result(each.name, 1.0, "said", "heard", -1.0, None) for each in clips]

    report = compare_engines(lambda pcm: "heard" if len(pcm) > 8_000 else "misheard", clips, results)
    assert report.clips == 2
    assert report.differences == (
        EngineDifference(clip=clips[0].name, reference="said", deep_speech="heard", native="misheard"),
    )


def test_a_network_that_does_not_run_makes_the_model_unusable(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    said = clip(8_000, tmp_path)

    def answer(_: Pcm) -> str:
        raise AcousticModelError("the network does not run")

    with pytest.raises(BadData, match="does not run"):
        compare_engines(answer, [said], [clip_result(said.name, 1.0, "said", "heard", -1.0, None)])
