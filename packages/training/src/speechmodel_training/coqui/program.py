"""Coqui as a subprocess: the lines that it prints, how it ends, and why it failed."""

import errno
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO

from speechmodel_api.pods import resources_field
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageName
from speechmodel_api.training_engine import COQUI_PYTHON
from speechmodel_stagekit.errors import BadConfiguration, StageFailure, TryAgain
from speechmodel_stagekit.program import out_of_memory

log = logging.getLogger(__name__)

CHECK_SECONDS = 0.5
"""Longest time between two checks whether to go on."""
HANG_SECONDS = 60.0
"""Time after a traceback at which Coqui is killed: it may wait for its own processes without an end."""
DRAIN_SECONDS = 10.0
"""Longest time to keep reading after Coqui has ended: its child processes may outlive it and keep the pipes open."""
_TAIL = 30
"""Lines at the end of the output that a failure is read from."""
_NO_MODULE = re.compile("No module named '?([^'\\s]+)")
_UNUSABLE = "ImportError: ", "setpriv: failed to execute "
"""Beginnings of the last line of a Python that lacks a library or is for another processor."""
_NOT_PASSED_ON = {"STAGE_INPUT", "STAGE_RESULT", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "TF2_BEHAVIOR"}
"""Variables of this process that are not for another Python and another TensorFlow."""


class CheckpointUnreadable(Exception):
    """Coqui cannot read the checkpoint that it was to continue. The message quotes it."""


class EngineMissing(BadConfiguration):
    """There is no Python 3.7 with coqui-stt-training."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            Reason.ENGINE_MISSING,
            f"training.engine CoquiSTT: {problem}; install images/requirements/coqui.txt in an environment of Python 3.7 and set "
            f"{COQUI_PYTHON} to its python (docs/coqui.md), or set training.engine to Native",
        )


def run(module: str, flags: Sequence[str], check: Callable[[], None]) -> Generator[str, None, None]:
    """Run a module of Coqui and yield the lines of its stdout. All of its output goes to the log. Coqui ends with the
    generator, so close it.

    `check` is called again and again; what it raises ends Coqui at once. Raises EngineMissing,
    CheckpointUnreadable, OSError for a full or a closed volume, and TryAgain for any other failure.
    """
    python = _python()
    # setpriv: it would train on beside the next attempt when this process is killed
    command = ["setpriv", "--pdeathsig", "KILL", str(python), "-u", "-m", f"coqui_stt_training.{module}", *flags]
    log.info("running %s", shlex.join(command))
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(python),
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None and process.stderr is not None
    lines: SimpleQueue[tuple[bool, str]] = SimpleQueue()
    readers = [
        Thread(target=_read, args=(stream, stream is process.stdout, lines), daemon=True)
        for stream in (process.stdout, process.stderr)
    ]
    for reader in readers:
        reader.start()
    output, errors = deque[str](maxlen=_TAIL), deque[str](maxlen=_TAIL)
    failed_at: float | None = None
    ended_at: float | None = None
    left: int | None = None  # lines that are still read, once DRAIN_SECONDS have passed
    try:
        while left != 0:
            check()
            now = time.monotonic()
            if ended_at is None and process.poll() is not None:
                ended_at = now
            if left is None and ended_at is not None and now - ended_at > DRAIN_SECONDS:
                left = lines.qsize()
                continue
            try:
                from_stdout, line = lines.get(timeout=CHECK_SECONDS)
            except Empty:
                read = ended_at is not None and not any(reader.is_alive() for reader in readers) and lines.empty()
                if read or (failed_at and now - failed_at > HANG_SECONDS):
                    break
                continue
            left = None if left is None else left - 1
            print(line, file=sys.stderr, flush=True)
            (output if from_stdout else errors).append(line)
            if line.startswith("Traceback (most recent call last)"):
                failed_at = time.monotonic()
            if from_stdout:
                yield line
    finally:
        code = process.poll()
        process.kill()
        process.wait()
    if code or failed_at:
        raise _failure(module, code, [*output, *errors])


def _python() -> Path:
    """Return the Python 3.7 with Coqui. Raises EngineMissing."""
    named = os.environ.get(COQUI_PYTHON)
    if not named:
        raise EngineMissing(f"the environment variable {COQUI_PYTHON} is not set")
    if not (Path(named).is_file() and os.access(named, os.X_OK)):
        raise EngineMissing(f"{COQUI_PYTHON} is {named}, which is not a program")
    return Path(named)


def _environment(python: Path) -> dict[str, str]:
    """Return our environment without what is not for Coqui. Its programs come first on PATH, and it sees no GPU."""
    ours = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    return ours | {"PATH": f"{python.parent}{os.pathsep}{ours.get('PATH', '')}", "CUDA_VISIBLE_DEVICES": "-1"}


def _read(stream: IO[str], from_stdout: bool, lines: "SimpleQueue[tuple[bool, str]]") -> None:
    for line in stream:
        lines.put((from_stdout, line.rstrip("\n")))


def _failure(module: str, code: int | None, lines: Sequence[str]) -> Exception:
    """Return what the last lines of stdout and stderr and the exit code mean, which is None if it did not end by itself."""
    text = "\n".join(lines)
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")
    if missing := _NO_MODULE.search(last):
        return EngineMissing(f"{os.environ[COQUI_PYTHON]} has no module {missing[1]}")
    if last.startswith(_UNUSABLE):
        return EngineMissing(f"{os.environ[COQUI_PYTHON]} cannot be used ({last})")
    if any(sign in text for sign in ("DataLossError", "Read less bytes", "Checksum does not match")):
        return CheckpointUnreadable(last)
    if "No space left on device" in text:
        return OSError(errno.ENOSPC, last)
    if "Permission denied" in text:
        return OSError(errno.EACCES, last)
    if code == -signal.SIGKILL or "MemoryError" in text or "OOM when allocating" in text:
        return _out_of_memory(module)
    return TryAgain(
        Reason.INTERNAL_ERROR,
        f"coqui_stt_training.{module} failed (exit code {'none' if code is None else code}): {last}; the lines before it in the "
        "log say more",
    )


def _out_of_memory(module: str) -> StageFailure:
    return TryAgain(
        Reason.OUT_OF_MEMORY,
        out_of_memory(f"coqui_stt_training.{module} ran out of memory", resources_field(StageName.TRAIN))
        + ", or lower hyperparameters.batchSize or hiddenUnits",
    )
