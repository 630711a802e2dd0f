"""A trial of a TFLite model: the interpreter runs it on clips, and its frames must be nearly those of acoustic.onnx.

The runtimes that load the file are for Python 3.9 at most, so they cannot try it here. The interpreter of LiteRT runs
the same graph.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from speechmodel_api.audio import STRIDE, WINDOW
from speechmodel_api.reasons import Reason
from speechmodel_decoding import AcousticModel
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_decoding.features import FULL_SCALE, SPAN, Frames, Pcm, features, patches
from speechmodel_runtime import load
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.convert.lite import CHUNK

log = logging.getLogger(__name__)

TOLERANCE = 0.5
"""Largest probability that may move to another label in a frame. 0.043 was measured on trained models. Gates of the
LSTM in another order moved 0.77 and more."""
FEATURE_TOLERANCE = 0.01
"""Largest difference of a coefficient, whose amounts go up to 100. 5e-7 was measured."""
_REMEDY = "set publish.tflite to false to publish the model without it"
_STATES = ("state_c", "state_h")


def try_lite_model(model: Path, acoustic: Path, clips: Sequence[Path]) -> None:
    """Run the TFLite file `model` on `clips`.

    Raises BadData (ModelUnusable) if the interpreter rejects it, or if it gives other features or probabilities than
    the acoustic model at `acoustic`.
    """
    try:
        lite, reference = LiteModel(model), AcousticModel(acoustic)
        differences = {clip.name: _difference(lite, reference, load(clip)) for clip in clips}
    except AcousticModelError as error:
        raise BadData(Reason.MODEL_UNUSABLE, str(error)) from error
    except (RuntimeError, ValueError) as error:  # those of the interpreter
        raise BadData(Reason.MODEL_UNUSABLE, f"{model.name} cannot be run ({error}); {_REMEDY}") from error
    listed = ", ".join(f"{clip}: {moved:.2g} and {off:.2g}" for clip, (moved, off) in differences.items())
    if not all(moved <= TOLERANCE and off <= FEATURE_TOLERANCE for moved, off in differences.values()):
        raise BadData(
            Reason.MODEL_UNUSABLE,
            f"{model.name} gives other probabilities or features than {acoustic.name} ({listed}); {_REMEDY}",
        )
    log.info("%s agrees with %s: probabilities and features differ by %s", model.name, acoustic.name, listed)


def _difference(lite: "LiteModel", reference: AcousticModel, pcm: Pcm) -> tuple[float, float]:
    """Return the largest probability that moved to another label, and the largest difference of a coefficient."""
    probabilities, coefficients = lite.frames(pcm)
    moved = np.abs(probabilities - np.exp(reference.log_probabilities(pcm))).sum(axis=1) / 2
    return float(moved.max()), float(np.abs(coefficients - features(pcm)[::CHUNK]).max())


class LiteModel:
    """A loaded TFLite model."""

    def __init__(self, path: Path) -> None:
        """Load the model at `path`. Raises ValueError and RuntimeError of the interpreter."""
        without_delegates = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # as deepspeech-tflite
        self._interpreter = Interpreter(str(path), num_threads=1, experimental_op_resolver_type=without_delegates)
        self._interpreter.allocate_tensors()
        self._inputs = {each["name"]: each for each in self._interpreter.get_input_details()}
        self._outputs = {each["name"]: each["index"] for each in self._interpreter.get_output_details()}

    def frames(self, pcm: Pcm) -> tuple[Frames, Frames]:
        """Return the probabilities of each frame, [frames, labels + 1], and the features of every 16th frame.

        `pcm` is int16 [samples] of one channel at 16 kHz. Raises RuntimeError of the interpreter.
        """
        inputs = patches(features(pcm)).reshape(-1, SPAN, self._inputs["input_node"]["shape"][-1])
        count = len(inputs)
        inputs = np.pad(inputs, ((0, -count % CHUNK), (0, 0), (0, 0)))
        samples = np.pad(pcm / np.float32(FULL_SCALE), (0, WINDOW))
        probabilities, coefficients = [], []
        state = {name: np.zeros(self._inputs[f"previous_{name}"]["shape"], np.float32) for name in _STATES}
        for start in range(0, count, CHUNK):
            begin = start * STRIDE
            outputs = self.run(
                input_node=inputs[None, start : start + CHUNK],
                input_samples=samples[begin : begin + WINDOW].astype(np.float32),
                **{f"previous_{name}": value for name, value in state.items()},
            )
            state = {name: outputs[f"new_{name}"] for name in _STATES}
            probabilities.append(outputs["logits"])
            coefficients.append(outputs["mfccs"])
        return np.concatenate(probabilities)[:count], np.concatenate(coefficients)

    def run(self, **inputs: Frames) -> dict[str, npt.NDArray[np.generic]]:
        """Return the outputs by name. An input that is not given has its last value."""
        for name, value in inputs.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], value)
        self._interpreter.invoke()
        return {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}
