"""The spectrogram is that of the embedding's own front end.

original.json has numbers of the original networks (openwakeword 0.5.1, melspectrogram.onnx and embedding_model.onnx, run at
every frame) for the recording of `sweep`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from speechmodel_embedding import BANDS, frame_count, spectrogram

ORIGINAL = json.loads(Path(__file__).with_name("original.json").read_text())


def test_the_spectrogram_is_that_of_the_original(sweep: np.ndarray) -> None:
    hops = spectrogram(sweep)
    assert hops.shape == (2 * frame_count(len(sweep)) + 74, BANDS)
    for hop, expected in ORIGINAL["spectrogram"].items():
        assert hops[int(hop)] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("samples", "frames"), [(0, 1), (1, 1), (320, 1), (321, 2), (16000, 50)])
def test_a_frame_begins_every_20_ms(samples: int, frames: int) -> None:
    assert frame_count(samples) == frames
    assert len(spectrogram(np.zeros(samples, np.int16))) == 2 * frames + 74


def test_the_middle_of_a_spectrogram_is_the_middle_of_the_recording() -> None:
    click = np.zeros(16000, np.int16)
    click[8000] = 30000
    loudest = int(spectrogram(click).sum(axis=1).argmax())
    assert abs(loudest - (2 * 25 + 37)) <= 1


def test_silence_is_a_spectrogram_of_one_number() -> None:
    assert np.ptp(spectrogram(np.zeros(5000, np.int16))) == 0
