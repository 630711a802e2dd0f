"""The answers of the engine Native beside those of the engine DeepSpeech."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from speechmodel_api.published import VersionManifest
from speechmodel_api.serving_spec import Engine
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_inference.decoders import DecodingOptions, VersionDecoder, open_decoder
from speechmodel_inference.transcribing import transcribe
from speechmodel_pipeline.evaluate.figures import clip_result
from speechmodel_pipeline.evaluate.native import compare_engines, in_parts
from speechmodel_pipeline.evaluation_report import EngineDifference
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_pipeline.prepare.clips import write_clip
from speechmodel_runtime import AudioInfo, Pcm, load, save
from speechmodel_stagekit.dataset import Clip, Part
from speechmodel_stagekit.errors import BadData
from support.places import FIXTURES
from support.servers import OK_ESPEJO, VersionFolder

ENGINES = (Engine.DEEP_SPEECH, Engine.NATIVE)


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


def test_a_clip_whose_parts_native_answers_differently_is_named_too(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    clips = [clip(samples, tmp_path) for samples in (8_000, 16_000)]
    results = [clip_result(each.name, 1.0, "said", "heard", -1.0, None) for each in clips]
    answers = {8_000: [("he ard", "he ard")], 16_000: [("he ard", "he hard")]}
    report = compare_engines(lambda _: "heard", clips, results, lambda pcm: answers[len(pcm)])
    assert report.differences == (
        EngineDifference(clip=clips[1].name, reference="said", deep_speech="he ard", native="he hard"),
    )


@pytest.mark.parametrize("times", [1, 6], ids=["short", "longer than 10 s"])
def test_a_clip_with_a_pause_is_answered_as_the_server_answers_it(tmp_path: Path, times: int) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "mapped.pbmm")
    folder = VersionFolder(tmp_path / "models", tmp_path / "mapped.pbmm")
    folder.decode_natively()
    hola = load(FIXTURES / "clips" / "shapes_3c59dc04_2_3_000000_2_001.wav")
    pause = np.zeros(24_000, np.int16)
    pcm: Pcm = np.concatenate([load(OK_ESPEJO), pause, hola, pause] * times)
    save(tmp_path / "said.wav", pcm)
    manifest = VersionManifest.model_validate_json((folder.path / "version.json").read_bytes())
    whole, served = [], []
    with ExitStack() as stack:
        decoders = [stack.enter_context(open_decoder(folder.path, manifest, engine)) for engine in ENGINES]
        for decoder in decoders:
            file = stack.enter_context((tmp_path / "said.wav").open("rb"))
            found = transcribe(file, decoder, speech_level=None, name="said", options=DecodingOptions())
            served.append(found.text)
            whole.append(decoder.decode(pcm, name="said").text)
        deep_speech, native = (partial(text_of, decoder) for decoder in decoders)
        assert list(in_parts(deep_speech, native, pcm, None)) == [tuple(served)]
        assert list(in_parts(deep_speech, native, load(OK_ESPEJO), None)) == []
    assert len(served[0].split()) >= 4 * times
    assert served != whole


def text_of(decoder: VersionDecoder, pcm: Pcm) -> str:
    return decoder.decode(pcm, name="part").text


def test_a_network_that_does_not_run_makes_the_model_unusable(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    said = clip(8_000, tmp_path)

    def answer(_: Pcm) -> str:
        raise AcousticModelError("the network does not run")

    with pytest.raises(BadData, match="does not run"):
        compare_engines(answer, [said], [clip_result(said.name, 1.0, "said", "heard", -1.0, None)])
