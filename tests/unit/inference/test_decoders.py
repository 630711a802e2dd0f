"""The decoder of a version, with and without a grammar."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from speechmodel_api.published import VersionManifest
from speechmodel_api.serving_spec import Engine
from speechmodel_decoding import AcousticModel, BeamSearch, LogProbabilities, Spelling
from speechmodel_inference.decoders import DecodingOptions, VersionDecoder, open_decoder
from speechmodel_inference.engines import choose_engine
from speechmodel_inference.errors import ClientLeft
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import Pcm, load
from speechmodel_runtime.errors import AudioTooShort
from support.places import FIXTURES
from support.servers import OK_ESPEJO, VersionFolder


@pytest.fixture(params=["grammar", "free text", "rejection", "native grammar", "native free text", "native rejection"])
def decoder(request: pytest.FixtureRequest, tmp_path: Path) -> VersionDecoder:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    folder = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    if request.param.endswith("grammar"):
        folder.decode_by_grammar("ok espejo", "hola espejo")
    if request.param.endswith("rejection"):
        folder.reject_foreign_speech(-0.5)
    if request.param.startswith("native"):
        folder.decode_natively()
    return opened(folder)


def opened(folder: VersionFolder) -> VersionDecoder:
    manifest = VersionManifest.model_validate_json((folder.path / "version.json").read_bytes())
    return open_decoder(folder.path, manifest, choose_engine(manifest, Engine.AUTO))


def test_a_recording_longer_than_a_block_is_decoded_as_one(decoder: VersionDecoder) -> None:
    long = np.concatenate([load(OK_ESPEJO), np.zeros(16_000 * 12, np.int16)])
    with decoder:
        assert decoder.decode(long, name="long.wav").text == "ok espejo"


def test_a_client_that_left_ends_the_work(decoder: VersionDecoder) -> None:
    abandoned = threading.Event()
    abandoned.set()
    with decoder, pytest.raises(ClientLeft):
        decoder.decode(load(OK_ESPEJO), name="clip.wav", options=DecodingOptions(abandoned=abandoned))


def test_a_client_that_leaves_after_the_text_was_found_ends_the_check_for_foreign_speech(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    folder = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    folder.reject_foreign_speech(-0.5)
    abandoned, blocks = threading.Event(), AcousticModel.blocks

    def leave(model: AcousticModel, pcm: Pcm) -> Iterator[LogProbabilities]:
        abandoned.set()
        yield from blocks(model, pcm)

    monkeypatch.setattr(AcousticModel, "blocks", leave)
    with opened(folder) as decoder, pytest.raises(ClientLeft):
        decoder.decode(load(OK_ESPEJO), name="clip.wav", options=DecodingOptions(abandoned=abandoned))


def test_a_client_that_leaves_after_the_text_was_found_ends_the_search_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    folder = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    folder.decode_natively()
    folder.be_confident()
    abandoned, spell = threading.Event(), BeamSearch.spell

    def leave(search: BeamSearch, frames: LogProbabilities) -> Spelling:
        abandoned.set()
        return spell(search, frames)

    monkeypatch.setattr(BeamSearch, "spell", leave)
    options = DecodingOptions(alternatives=3, abandoned=abandoned)
    with opened(folder) as decoder, pytest.raises(ClientLeft):
        decoder.decode(load(OK_ESPEJO), name="clip.wav", options=options)


def test_audio_shorter_than_a_window_is_refused(decoder: VersionDecoder) -> None:
    with (
        decoder,
        pytest.raises(AudioTooShort, match=r"short\.wav: is too short: 511 samples, and the model needs at least 512"),
    ):
        decoder.decode(np.zeros(511, np.int16), name="short.wav")


def test_free_text_rejects_foreign_speech_if_the_version_does(tmp_path: Path) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    folder = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    foreign = load(OK_ESPEJO)[::-1].copy()
    with opened(folder) as decoder:
        assert decoder.decode(foreign, name="backwards.wav").text
    folder.reject_foreign_speech(-0.05)
    with opened(folder) as decoder:
        assert decoder.decode(foreign, name="backwards.wav").text == ""
        assert decoder.decode(load(OK_ESPEJO), name="clip.wav").text == "ok espejo"


def test_free_text_is_decoded_with_the_scorer_of_the_version(tmp_path: Path) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    folder = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    folder.decode_with_scorer()
    with opened(folder) as decoder:
        assert decoder.decode(load(OK_ESPEJO), name="clip.wav").text == "ok espejo"
        assert decoder.decode(load(OK_ESPEJO)[::-1].copy(), name="backwards.wav").text == "hola espejo"
    folder.decode_with_scorer({"hola": -20})
    with opened(folder) as decoder:
        assert "hola" not in decoder.decode(load(OK_ESPEJO)[::-1].copy(), name="backwards.wav").text


@pytest.fixture(params=["DeepSpeech", "Native", "DeepSpeech with rejection", "Native with rejection"])
def confident(request: pytest.FixtureRequest, tmp_path: Path) -> VersionDecoder:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    folder = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    if request.param.endswith("rejection"):
        folder.reject_foreign_speech(-0.05)
    if request.param.startswith("Native"):
        folder.decode_natively()
    folder.be_confident()
    return opened(folder)


def test_free_text_and_its_words_have_confidences(confident: VersionDecoder) -> None:
    with confident as decoder:
        said = decoder.decode(load(OK_ESPEJO), name="clip.wav")
        backwards = decoder.decode(load(OK_ESPEJO)[::-1].copy(), name="backwards.wav")
    assert said.accepted is not None
    assert said.accepted.text == said.text == "ok espejo"
    assert said.accepted.confidence > 0.9
    assert [word.text for word in said.words] == ["ok", "espejo"]
    assert all(word.confidence is not None and word.confidence > 0.9 for word in said.words)
    assert backwards.candidates[0].confidence < 0.6, "also of a text that is rejected"


def test_both_engines_have_other_texts_in_one_form(confident: VersionDecoder) -> None:
    with confident as decoder:
        found = decoder.decode(
            load(OK_ESPEJO)[::-1].copy(), name="backwards.wav", options=DecodingOptions(alternatives=4)
        )
    best, *others = found.candidates
    assert found.text in ("", best.text), "empty where it is rejected"
    assert len({best.text, *(other.text for other in others)}) == 4
    assert [other.confidence for other in others] == sorted((other.confidence for other in others), reverse=True)
    assert all((other.words, other.slots, other.intent) == ((), {}, None) for other in others)


def test_both_engines_are_equally_sure_of_free_text_at_the_same_times(tmp_path: Path) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    folder = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    folder.be_confident()
    found = []
    for differences in (1, 0):
        folder.decode_natively(differences)
        with opened(folder) as decoder:
            found.append(decoder.decode(load(OK_ESPEJO), name="clip.wav"))
    one, other = found
    assert [word.confidence for word in one.words] == pytest.approx([word.confidence for word in other.words])
    assert [candidate.confidence for candidate in one.candidates] == pytest.approx(
        [candidate.confidence for candidate in other.candidates]
    )


def test_free_text_by_the_library_has_other_texts_as_candidates(tmp_path: Path) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    folder = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    folder.be_confident()
    with opened(folder) as decoder:
        alone = decoder.decode(load(OK_ESPEJO), name="clip.wav")
        several = decoder.decode(load(OK_ESPEJO), name="clip.wav", options=DecodingOptions(alternatives=3))
    assert [candidate.text for candidate in alone.candidates] == ["ok espejo"]
    texts = [candidate.text for candidate in several.candidates]
    assert texts[0] == "ok espejo"
    assert len(texts) == len(set(texts)) == 3
    assert all(other.confidence < several.candidates[0].confidence for other in several.candidates[1:])


@pytest.mark.parametrize("natively", [False, True])
def test_free_text_of_a_version_without_confidences_has_none(tmp_path: Path, *, natively: bool) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    folder = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    if natively:
        folder.decode_natively()
    with opened(folder) as decoder:
        said = decoder.decode(load(OK_ESPEJO), name="clip.wav", options=DecodingOptions(alternatives=3))
    assert said.text == "ok espejo"
    assert [word.confidence for word in said.words] == [None, None]
    assert said.candidates == ()
