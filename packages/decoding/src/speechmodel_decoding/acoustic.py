"""The acoustic model by ONNX Runtime: samples in, log probabilities of each frame out.

The file is made by convert. One kind has the weights of the graph that libdeepspeech runs. Its inputs are
`patches` [frames, batch, 494] and the states `h` and `c` [1, batch, units]; its outputs are
`log_probabilities` [frames, batch, labels + 1] and the states `h_after` and `c_after`. The batch of the
network in floats is 1. That of the quantised network is any number, and streams share its runs.

The other kind is the phrase network, the head over the speech embedding. Its input is `spectrogram` [2 * frames + 74, 32]
and its output `log_probabilities` [frames, labels + 1].
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state
from speechmodel_embedding import HOPS_PER_FRAME, MARGIN, frame_count, spectrogram

from speechmodel_decoding.errors import AcousticModelError
from speechmodel_decoding.features import Pcm, features, patches
from speechmodel_decoding.shared_runs import Floats, SharedRuns

BLOCK = 500
"""Frames that the network is run on at once, 10 s: its memory does not depend on the recording's length."""

LogProbabilities = npt.NDArray[np.float32]
"""Log probability of each label and of the blank, which is last: `[frames, labels + 1]`."""

_UNUSABLE = (
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoModel,
    state.NotImplemented,
)
"""Errors of ONNX Runtime for a file that it cannot run."""


class AcousticModel:
    """A loaded acoustic model. Safe for any number of threads."""

    def __init__(self, path: Path, *, runs: int = 1) -> None:
        """Load the model at `path`, for one thread of each caller. If it is a quantised model, at most `runs`
        threads run it at once, and other callers wait and share the next run.

        Raises AcousticModelError.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._path = path
        try:
            with path.open("rb"):  # ONNX Runtime does not say why it cannot open a file
                self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except OSError as error:
            raise AcousticModelError(f"{path} cannot be read ({error.strerror}); fetch or convert it again") from error
        except _UNUSABLE as error:
            raise AcousticModelError(
                f"{path} is not a valid ONNX model ({error}); fetch or convert it again"
            ) from error
        shapes = {value.name: value.shape for value in (*self._session.get_inputs(), *self._session.get_outputs())}
        self.embedded: bool = "spectrogram" in shapes
        """True for the phrase network."""
        try:
            self.classes: int = shapes["log_probabilities"][-1]
            """Number of labels, and the blank."""
            if self.embedded:
                return
            self._units = shapes["h"][2]
            shared = shapes["patches"][1] != 1
        except KeyError as error:
            raise AcousticModelError(
                f"{path} has no {error}, so it is not an acoustic model; convert it again"
            ) from error
        self._outputs = SharedRuns(self._run, runs).outputs if shared else self._alone

    def blocks(self, pcm: Pcm) -> Iterator[LogProbabilities]:
        """Yield the log probabilities of a recording, in blocks of bounded length.

        `pcm` is int16 `[samples]` of one channel at 16 kHz. Raises AcousticModelError.
        """
        for frames in self._embedded(pcm) if self.embedded else self._recurrent(pcm):
            if not np.isfinite(frames).all():
                raise AcousticModelError(f"{self._path} gives frames that are not numbers; train the model again")
            yield frames

    def log_probabilities(self, pcm: Pcm) -> LogProbabilities:
        """Return the log probabilities of a recording, `[frames, labels + 1]`. Raises as blocks does."""
        return np.concatenate(list(self.blocks(pcm)))

    def _embedded(self, pcm: Pcm) -> Iterator[Floats]:
        hops = spectrogram(pcm)
        for start in range(0, frame_count(len(pcm)), BLOCK):
            first = HOPS_PER_FRAME * start
            block = hops[first : first + HOPS_PER_FRAME * BLOCK + MARGIN]
            yield self._session.run(["log_probabilities"], {"spectrogram": block})[0]

    def _recurrent(self, pcm: Pcm) -> Iterator[Floats]:
        state = np.zeros((1, 1, self._units), np.float32)
        return self._outputs(patches(features(pcm)), state, state)

    def _alone(self, patches: Floats, h: Floats, c: Floats) -> Iterator[Floats]:
        for start in range(0, len(patches), BLOCK):
            frames, h, c = self._run(patches[start : start + BLOCK, None], h, c)
            yield frames[:, 0]

    def _run(self, block: Floats, h: Floats, c: Floats) -> tuple[Floats, Floats, Floats]:
        frames, h, c = self._session.run(
            ["log_probabilities", "h_after", "c_after"], {"patches": block, "h": h, "c": c}
        )
        return frames, h, c
