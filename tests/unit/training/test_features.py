import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from speechmodel_api.audio import frame_count, full_windows
from speechmodel_stagekit.errors import ArtefactMissing
from speechmodel_stagekit.wav import sample_count
from speechmodel_training.features import clip_features, read_samples, spectral_features


def write_wav(path: Path, samples: npt.NDArray[np.generic], rate: int = 16000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def mfcc(audio: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[samples] in -1...1 -> [full windows, 26], after the published formulas of the two TensorFlow
    ops.
    """
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    windows = np.lib.stride_tricks.sliding_window_view(audio, 512)[::320] * hann
    magnitude = np.abs(np.fft.rfft(windows, axis=1))

    def mel(hertz: float | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(1127.0 * np.log1p(np.asarray(hertz) / 700.0))

    edges = mel(20) + (mel(8000) - mel(20)) / 41 * np.arange(42)
    bins = mel(np.arange(257) * 16000 / 512)
    bank = np.zeros((257, 40))
    for channel in range(40):
        rising = (bins - edges[channel]) / (edges[channel + 1] - edges[channel])
        falling = (edges[channel + 2] - bins) / (edges[channel + 2] - edges[channel + 1])
        bank[:, channel] = np.maximum(0, np.minimum(rising, falling))
    bank[:2] = 0  # the op begins at bin round(20 Hz / 31.25 Hz) + 1
    energies = np.log(np.maximum(magnitude @ bank, 1e-12))
    basis = np.sqrt(2 / 40) * np.cos(np.pi / 40 * np.outer(np.arange(26), np.arange(40) + 0.5))
    return np.asarray(energies @ basis.T)


def test_features_are_the_mfcc_of_the_runtime(fixtures: Path) -> None:
    path = sorted((fixtures / "clips").iterdir())[0]
    samples = read_samples(path)
    full = (len(samples) - 512) // 320 + 1
    padded = np.pad(samples.astype(np.float64) / 32768, (0, 512 + 320 * full - len(samples)))
    np.testing.assert_allclose(clip_features(samples), mfcc(padded), atol=2e-3)


def test_features_are_those_of_the_exported_graph(fixtures: Path) -> None:
    for path in sorted((fixtures / "clips").iterdir()):
        samples = read_samples(path)
        padded = np.zeros(512 + 320 * full_windows(len(samples)), np.float32)
        padded[: len(samples)] = samples / np.float32(32768)
        np.testing.assert_allclose(clip_features(samples), spectral_features(padded[:, None]), atol=2e-3)


@settings(max_examples=30)
@given(length=st.integers(0, 3000))
def test_a_clip_has_one_frame_more_than_full_windows(tmp_path_factory: pytest.TempPathFactory, length: int) -> None:
    path = write_wav(tmp_path_factory.mktemp("clip") / "a.wav", np.arange(length))
    assert clip_features(read_samples(path)).shape == (frame_count(length), 26)
    assert frame_count(length) == max((length - 512) // 320 + 1, 0) + 1


def test_features_are_the_same_every_time(fixtures: Path) -> None:
    path = sorted((fixtures / "clips").iterdir())[0]
    assert clip_features(read_samples(path)).tobytes() == clip_features(read_samples(path)).tobytes()


def test_a_missing_clip_sends_its_producer_back_to_work(tmp_path: Path) -> None:
    with pytest.raises(ArtefactMissing, match=r"gone\.wav is missing"):
        read_samples(tmp_path / "gone.wav")


def test_a_clip_that_is_not_a_wav_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"not a wav file")
    with pytest.raises(ArtefactMissing, match=r"a\.wav is not a valid wav file"):
        read_samples(tmp_path / "a.wav")


@pytest.mark.parametrize("missing", [1, 2, 2001, 4000])
@pytest.mark.parametrize("look", [read_samples, sample_count])
def test_a_cut_clip_is_named(tmp_path: Path, missing: int, look: Callable[[Path], object]) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(2000))
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(ArtefactMissing, match=r"a\.wav is truncated: its header announces 2000 samples"):
        look(path)


def test_a_clip_of_another_rate_is_named_with_its_numbers(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(2000), rate=44100, channels=2)
    with pytest.raises(ArtefactMissing, match=r"a\.wav has 44100 Hz, 2 channels, 16 bit"):
        read_samples(path)
