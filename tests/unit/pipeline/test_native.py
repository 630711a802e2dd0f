"""The answers of the engine Native beside those of the engine DeepSpeech."""

from pathlib import Path

import numpy as np
import pytest
from speechmodel_decoding import LogProbabilities
from speechmodel_pipeline.convert.quantised import export_quantised_model
from speechmodel_pipeline.evaluate.figures import clip_result
from speechmodel_pipeline.evaluate.native import compare_engines
from speechmodel_pipeline.evaluation_report import EngineDifference
from speechmodel_pipeline.prepare.clips import write_clip
from speechmodel_runtime import AudioInfo, Pcm
from speechmodel_stagekit.dataset import Clip, Part
from speechmodel_stagekit.errors import BadData
from support.places import FIXTURES


def clip(samples: int, folder: Path) -> Clip:
    pcm: Pcm = np.full(samples, 5, np.int16)
    written = write_clip(pcm, folder, AudioInfo(16_000, 1, samples, "wav"))
    return Clip(folder / written.name, "said", Part.TEST)


def test_every_clip_that_native_answers_differently_is_named(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    export_quantised_model(FIXTURES / "tf2_128.pb", tmp_path / "acoustic.int8.onnx")
    clips = [clip(samples, tmp_path) for samples in (8_000, 16_000)]
    results = [clip_result(each.name, 1.0, "said", "heard", -1.0, None) for each in clips]

    def answer(frames: LogProbabilities) -> str:
        return "heard" if len(frames) > 40 else "misheard"

    report = compare_engines(tmp_path / "acoustic.int8.onnx", answer, clips, results)
    assert report.clips == 2
    assert report.differences == (
        EngineDifference(clip=clips[0].name, reference="said", deep_speech="heard", native="misheard"),
    )


def test_a_network_that_cannot_be_loaded_makes_the_model_unusable(tmp_path: Path) -> None:
    (tmp_path / "acoustic.int8.onnx").write_bytes(b"")
    with pytest.raises(BadData, match=r"acoustic\.int8\.onnx"):
        compare_engines(tmp_path / "acoustic.int8.onnx", lambda _: "", [], [])
