"""A trial of a new model: the runtime transcribes with it in a process of its own, so that a crash
becomes a clear error.

The runtime loads graphs that it cannot run, and then gives empty text with code 0 and confidence 0.
A weak model that recognises nothing gives the same. Only the runtime's line on standard error for
every failed step tells them apart.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.pods import STAGE_RESOURCES
from speechmodel_api.reasons import Reason
from speechmodel_runtime import GraphInfo, Model, Pcm, load, read_graph
from speechmodel_runtime.errors import LibraryError, SpeechRuntimeError
from speechmodel_stagekit.errors import BadConfiguration, BadData, TryAgain
from speechmodel_stagekit.program import out_of_memory

SECONDS = 300
"""Longest trial. A model of 2048 units needed 5.3 s for its first clip on a busy machine."""
BEAMS_TIMES_LABELS = 50_000
"""Largest product of beam width and labels, by which the time of the search grows: 500 beams for 100
labels. With 1,217 labels, 50 beams took 1.9 s for each second of audio, and 500 took longer than
SECONDS for three clips."""
NARROWEST_BEAM = 10
FAILED_STEP = "Error running session: "
"""Start of the runtime's line about a failed step (native_client/tfmodelstate.cc of 0.9.3)."""
QUOTED = 400
"""Characters of the runtime's own message that an error quotes at most."""


@dataclass(frozen=True)
class TrialTranscript:
    """The transcript of one clip of the trial."""

    clip: str
    text: str
    """The labels that the network emitted, the catch-all label included."""
    confidence: float


def try_model(model: Path, clips: Sequence[Path], beam_width: int | None = None) -> list[TrialTranscript]:
    """Return the transcripts of `clips`, or of a second of noise without clips. The beam width is the graph's own
    unless it is given, and less for a large alphabet.

    Raises BadData (ModelUnusable) when the runtime rejects the model, crashes or cannot run its
    graph, TryAgain when the trial was killed or took longer than SECONDS, and BadConfiguration when
    libdeepspeech is missing.
    """
    width = trial_beam_width(read_graph(model), beam_width)
    command = [sys.executable, "-m", __spec__.name, str(os.getpid()), str(width), str(model), *map(str, clips)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise TryAgain(
            Reason.TRIAL_TIMED_OUT,
            f"{model.name}: the runtime did not finish {len(clips)} clips in {SECONDS} s; it is tried again",
        ) from error
    log = done.stderr.decode(errors="replace")
    if done.returncode == -signal.SIGKILL:
        raise TryAgain(
            Reason.OUT_OF_MEMORY,
            out_of_memory(f"the trial of {model.name} was killed, probably because memory ran out", STAGE_RESOURCES),
        )
    if done.returncode < 0:
        crash = signal.Signals(-done.returncode).name
        raise BadData(
            Reason.MODEL_UNUSABLE, f"{model.name} crashes the runtime ({crash}); export it again{_quoted(log)}"
        )
    if done.returncode == _NO_LIBRARY:
        raise BadConfiguration(Reason.RUNTIME_MISSING, done.stdout.decode(errors="replace").strip())
    if done.returncode:
        problem = done.stdout.decode(errors="replace").strip() or f"ended with {done.returncode}"
        raise BadData(Reason.MODEL_UNUSABLE, f"the runtime cannot use {model.name}: {problem}{_quoted(log)}")
    if FAILED_STEP in log:
        failed = log.split(FAILED_STEP, 1)[1].splitlines()[0]
        raise BadData(
            Reason.MODEL_UNUSABLE,
            f"{model.name} loads, but the runtime cannot run its graph: {failed[:QUOTED]}; export it for TensorFlow 2.3",
        )
    return [TrialTranscript(**transcript) for transcript in json.loads(done.stdout)]


def trial_beam_width(graph: GraphInfo, wanted: int | None = None) -> int:
    """Return the beam width of a trial: the one that is wanted or the graph's own, or less for a large alphabet."""
    width = graph.beam_width if wanted is None else wanted
    return min(width, max(BEAMS_TIMES_LABELS // len(graph.labels), NARROWEST_BEAM))


_PR_SET_PDEATHSIG = 1
_NO_LIBRARY = 3
_REFUSED = 4


def _quoted(log: str) -> str:
    """Return the end of the runtime's log for a message, which has the reason if it gave one."""
    words = " ".join(log.split())[-QUOTED:]
    return f"; its log ends with: {words}" if words else ""


def _main(parent: str, beam_width: str, model: str, clips: Sequence[str]) -> int:
    _end_with_parent(int(parent))
    try:
        with Model(model, beam_width=int(beam_width)) as loaded:
            transcripts = [_transcribe(loaded, Path(clip).name, load(clip)) for clip in clips]
            transcripts = transcripts or [_transcribe(loaded, "noise", _noise())]
    except LibraryError as error:
        print(error)
        return _NO_LIBRARY
    except SpeechRuntimeError as error:
        print(error)
        return _REFUSED
    print(json.dumps(transcripts))
    return 0


def _end_with_parent(parent: int) -> None:
    """Let the kernel kill this process when convert ends, as on SIGTERM (PR_SET_PDEATHSIG, prctl(2)), and end now if
    it has ended already.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGKILL)


def _transcribe(model: Model, name: str, pcm: Pcm) -> dict[str, str | float]:
    transcript = model.transcribe(pcm)
    return {"clip": name, "text": transcript.emitted, "confidence": transcript.confidence}


def _noise() -> Pcm:
    pcm: Pcm = np.random.default_rng(0).integers(-300, 300, SAMPLE_RATE).astype(np.int16)
    return pcm


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
