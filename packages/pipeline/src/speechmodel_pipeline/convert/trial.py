"""The runtime transcribes with a new model, in a process of its own: what crashes there becomes a clear error here.

The runtime loads graphs that it cannot run, and then gives empty text with code 0. So does a weak model that heard nothing, with
the same confidence of 0. What tells them apart is the runtime's own line on standard error for every step that failed.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from speechmodel_runtime import Model, Pcm, load
from speechmodel_runtime.audio import SAMPLE_RATE
from speechmodel_runtime.errors import LibraryError, SpeechRuntimeError
from speechmodel_stagekit.errors import BadConfiguration, BadData, TryAgain

SECONDS = 300
"""A model of 2048 units needs some 5 s for its first clip on a busy machine (deepspeech-facts: 5.3 s)."""
FAILED_STEP = "Error running session: "
"""How the runtime begins its line about a step that failed (native_client/tfmodelstate.cc of 0.9.3)."""
QUOTED = 400
"""Characters of the runtime's own words in an error."""


@dataclass(frozen=True)
class Heard:
    """What the model heard in one clip."""

    clip: str
    text: str
    confidence: float


def try_model(model: Path, clips: Sequence[Path]) -> list[Heard]:
    """What `model` hears in `clips`, or in a second of noise when there are none.

    Raises BadData("ModelUnusable") when the runtime refuses the model, crashes, or cannot run its graph; TryAgain when it was killed
    or took longer than SECONDS; BadConfiguration when there is no runtime here.
    """
    command = [sys.executable, "-m", __spec__.name, str(model), *map(str, clips)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise TryAgain(
            "TrialTimedOut", f"{model.name}: the runtime did not finish {len(clips)} clips in {SECONDS} s"
        ) from error
    said = done.stderr.decode(errors="replace")
    if done.returncode == -signal.SIGKILL:
        raise TryAgain(
            "OutOfMemory", f"the trial of {model.name} was killed; raise the memory limit of the convert pod"
        )
    if done.returncode < 0:
        crash = signal.Signals(-done.returncode).name
        raise BadData("ModelUnusable", f"{model.name} crashes the runtime ({crash}); export it again{_quoted(said)}")
    if done.returncode == _NO_LIBRARY:
        raise BadConfiguration("RuntimeMissing", done.stdout.decode(errors="replace").strip())
    if done.returncode:
        problem = done.stdout.decode(errors="replace").strip() or f"ended with {done.returncode}"
        raise BadData("ModelUnusable", f"the runtime cannot use {model.name}: {problem}{_quoted(said)}")
    if FAILED_STEP in said:
        failed = said.split(FAILED_STEP, 1)[1].splitlines()[0]
        raise BadData(
            "ModelUnusable",
            f"{model.name} loads, but the runtime cannot run its graph: {failed[:QUOTED]}; export it for TensorFlow 2.3",
        )
    return [Heard(**heard) for heard in json.loads(done.stdout)]


_NO_LIBRARY = 3
_REFUSED = 4


def _quoted(said: str) -> str:
    """The end of what the runtime wrote: where the reason is, if it gave one."""
    words = " ".join(said.split())[-QUOTED:]
    return f"; it said: {words}" if words else ""


def _main(model: str, clips: Sequence[str]) -> int:
    try:
        with Model(model) as loaded:
            heard = [_hear(loaded, Path(clip).name, load(clip)) for clip in clips] or [_hear(loaded, "noise", _noise())]
    except LibraryError as error:
        print(error)
        return _NO_LIBRARY
    except SpeechRuntimeError as error:
        print(error)
        return _REFUSED
    print(json.dumps(heard))
    return 0


def _hear(model: Model, name: str, pcm: Pcm) -> dict[str, str | float]:
    transcript = model.transcribe(pcm)
    return {"clip": name, "text": transcript.text, "confidence": transcript.confidence}


def _noise() -> Pcm:
    pcm: Pcm = np.random.default_rng(0).integers(-300, 300, SAMPLE_RATE).astype(np.int16)
    return pcm


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], sys.argv[2:]))
