import gc
import hashlib
import json
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from speechmodel_runtime import Model, load
from speechmodel_runtime.errors import (
    AudioTooShort,
    LibraryMissing,
    LibraryUnusable,
    ModelClosed,
    ModelIncompatible,
    StreamFinished,
)
from speechmodel_runtime.library import SHA256, VARIABLE, load_library

from .conftest import Variants

LABELS = " aehijklmnoprsuv"


@pytest.fixture(scope="session")
def expected(fixtures: Path) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = json.loads((fixtures / "tf2_128.expected.json").read_text())
    return found


@pytest.fixture(scope="session")
def clip(fixtures: Path) -> np.ndarray:
    return load(fixtures / "clips" / "shapes_c20ad4d7_2_3_000000_1_002.wav")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pb", "pbmm"])
def test_every_clip_is_heard_as_the_reference_heard_it(
    form: str, fixtures: Path, mapped: Path, expected: dict[str, dict[str, object]]
) -> None:
    with Model(fixtures / "tf2_128.pb" if form == "pb" else mapped) as model:
        for name, reference in expected.items():
            heard = model.transcribe(load(fixtures / "clips" / name), name=name)
            assert heard.text == reference["text"]
            assert [token.timestep for token in heard.tokens] == reference["timesteps"]
            assert heard.confidence == pytest.approx(reference["confidence"], abs=1e-5)


def test_tokens_say_where_in_the_audio_they_begin(model: Model, clip: np.ndarray) -> None:
    heard = model.transcribe(clip)
    assert "".join(token.text for token in heard.tokens) == heard.text == "ok espejo"
    for token in heard.tokens:
        assert token.start_seconds == pytest.approx(token.timestep * 0.02)
        assert 0 <= token.start_seconds <= len(clip) / 16000


def test_alternatives_come_best_first(model: Model, clip: np.ndarray) -> None:
    heard = model.transcribe(clip, alternatives=4)
    confidences = [heard.confidence, *(other.confidence for other in heard.alternatives)]
    assert len(confidences) == 4
    assert confidences == sorted(confidences, reverse=True)
    assert model.transcribe(clip).alternatives == ()


@pytest.mark.slow
def test_a_stream_hears_the_same_in_pieces_of_any_size(model: Model, clip: np.ndarray) -> None:
    whole = model.transcribe(clip)
    for size in (100, 320, 5000, 16000, len(clip)):
        with model.stream() as stream:
            for start in range(0, len(clip), size):
                stream.feed(clip[start : start + size])
            assert stream.finish() == whole


def test_a_stream_tells_what_it_heard_so_far(model: Model, clip: np.ndarray) -> None:
    stream = model.stream()
    assert stream.intermediate().text == ""
    stream.feed(clip)
    so_far = stream.intermediate().text
    assert so_far
    assert "ok espejo".startswith(so_far)
    assert stream.finish().text == "ok espejo"


def test_samples_that_lie_apart_in_memory_are_heard_right(model: Model, clip: np.ndarray) -> None:
    interleaved = np.repeat(clip, 2)[::2]
    assert not interleaved.flags.c_contiguous
    assert model.transcribe(interleaved).text == "ok espejo"


@pytest.mark.slow
def test_many_threads_on_one_model_hear_what_one_hears(
    model: Model, fixtures: Path, expected: dict[str, dict[str, object]]
) -> None:
    clips = {name: load(fixtures / "clips" / name) for name in expected}
    with ThreadPoolExecutor(6) as pool:
        heard = list(pool.map(lambda name: (name, model.transcribe(clips[name]).text), [*clips] * 2))
    assert all(text == expected[name]["text"] for name, text in heard)


@pytest.mark.slow
def test_decoding_does_not_hold_up_other_threads(model: Model, clip: np.ndarray) -> None:
    def ticks_during_one() -> int:
        ticks, done = 0, threading.Event()

        def decode() -> None:
            model.transcribe(np.tile(clip, 4))
            done.set()

        thread = threading.Thread(target=decode)
        thread.start()
        while not done.wait(0.001):
            ticks += 1
        thread.join()
        return ticks

    # on a busy machine, this thread may not run while another one decodes
    assert any(ticks_during_one() > 20 for _ in range(10))


@pytest.mark.parametrize("length", [0, 1, 511])
def test_audio_shorter_than_a_window_is_refused(length: int, model: Model) -> None:
    with pytest.raises(AudioTooShort, match=rf"short\.wav: is too short: {length} samples.*512 \(32 ms\)"):
        model.transcribe(np.zeros(length, np.int16), name="short.wav")
    with model.stream() as stream, pytest.raises(AudioTooShort):
        stream.feed(np.zeros(length, np.int16))
        stream.finish()


@pytest.mark.parametrize("pcm", [np.zeros(1000, np.float32), np.zeros((1000, 2), np.int16)])
def test_audio_of_another_type_or_shape_is_refused(pcm: np.ndarray, model: Model) -> None:
    with pytest.raises(ValueError, match=r"int16 \[samples\]"):
        model.transcribe(pcm)


@pytest.mark.parametrize("width", [0, -1, 10_001, 2**32])
def test_a_beam_width_that_would_crash_is_refused(width: int, mapped: Path) -> None:
    with pytest.raises(ValueError, match="beam width"):
        Model(mapped, beam_width=width)


def test_a_graph_whose_own_beam_width_would_crash_is_refused_unless_another_is_given(
    variants: Variants, clip: np.ndarray
) -> None:
    path = variants.with_integer("metadata_beam_width", 0)
    with pytest.raises(ValueError, match="beam width 0"):
        Model(path)
    with Model(path, beam_width=10) as model:
        assert model.transcribe(clip).text == "ok espejo"


def test_the_narrowest_beam_still_hears(mapped: Path, clip: np.ndarray) -> None:
    with Model(mapped, beam_width=1) as model:
        assert model.transcribe(clip).text == "ok espejo"


def test_a_model_that_would_kill_the_process_is_never_loaded(variants: Variants) -> None:
    with pytest.raises(ModelIncompatible, match="alphabet"):
        Model(variants.with_alphabet(LABELS + "x"))


def test_a_graph_without_an_input_is_refused_by_name(variants: Variants) -> None:
    with pytest.raises(ModelIncompatible, match=r"variant\.pb: lacks the nodes input_lengths"):
        Model(variants.without("input_lengths"))


def test_a_closed_model_refuses_and_its_stream_may_finish(mapped: Path, clip: np.ndarray) -> None:
    model = Model(mapped)
    stream = model.stream()
    model.close()
    model.close()
    with pytest.raises(ModelClosed, match="was closed"):
        model.transcribe(clip)
    with pytest.raises(ModelClosed):
        model.stream()
    stream.feed(clip)
    assert stream.finish().text == "ok espejo"


@pytest.mark.slow
def test_closing_while_others_decode_harms_nobody(mapped: Path, clip: np.ndarray) -> None:
    for _ in range(5):
        model = Model(mapped)
        with ThreadPoolExecutor(4) as pool:
            heard = [pool.submit(model.transcribe, clip) for _ in range(8)]
            model.close()
            for future in heard:
                try:
                    assert future.result().text == "ok espejo"
                except ModelClosed:
                    continue


def test_a_finished_stream_refuses(model: Model, clip: np.ndarray) -> None:
    stream = model.stream()
    stream.feed(clip)
    stream.finish()
    stream.close()
    for call in (lambda: stream.feed(clip), stream.intermediate, stream.finish):
        with pytest.raises(StreamFinished):
            call()


def test_forgotten_models_and_streams_are_freed(mapped: Path, clip: np.ndarray) -> None:
    model = Model(mapped)
    stream = model.stream()
    stream.feed(clip)
    gone = weakref.ref(model)
    del model, stream
    gc.collect()
    assert gone() is None


@pytest.mark.slow
def test_transcribing_does_not_leak(model: Model, clip: np.ndarray) -> None:
    for _ in range(5):
        model.transcribe(clip, alternatives=500)
    before = _resident()
    for _ in range(25):
        model.transcribe(clip, alternatives=500)
    assert _resident() - before < 3 << 20


def test_a_model_file_can_be_replaced_by_rename_while_it_serves(own_copy: Path, clip: np.ndarray) -> None:
    with Model(own_copy) as model:
        other = own_copy.with_name("next.pbmm")
        other.write_bytes(b"cut")
        other.rename(own_copy)
        assert model.transcribe(clip).text == "ok espejo"


def test_the_library_is_the_one_that_was_measured() -> None:
    library = load_library()
    assert library.version == "0.9.3" or library.version.startswith("0.9.3-")
    assert hashlib.sha256(library.path.read_bytes()).hexdigest() == SHA256


def test_a_missing_library_is_named_with_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "libdeepspeech.so"))
    with pytest.raises(LibraryMissing, match=r"libdeepspeech\.so: the file does not exist; take .* wheel"):
        load_library()


def test_another_library_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "libdeepspeech.so"
    path.write_bytes(b"\x7fELF and then nothing")
    monkeypatch.setenv(VARIABLE, str(path))
    with pytest.raises(LibraryUnusable, match="cannot be used here"):
        load_library()


def _resident() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
