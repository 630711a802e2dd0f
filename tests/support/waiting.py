"""Wait by progress: a wait fails when nothing moved for a while, however long the whole takes."""

import subprocess
import time
import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

import psutil

T = TypeVar("T")

STALLED_SECONDS = 180.0
"""Time without progress after which a wait fails. A step that takes seconds alone may take a minute on a busy machine."""
ATTEMPTS = 3
"""Times that a test which the machine stopped meanwhile is made."""


def until(
    look: Callable[[], T | None],
    what: str,
    *,
    moved: Callable[[], Hashable] = lambda: None,
    explain: Callable[[], str] = lambda: "",
    stalled: float = STALLED_SECONDS,
    every: float = 0.2,
) -> T:
    """Return the first true value of `look()`, asked every `every` seconds.

    `moved` observes the work that is waited for: an epoch, phases, the length of a log. A value that was
    never seen before is progress. After `stalled` seconds without progress, raise an AssertionError that
    names `what` and adds `explain()`.
    """
    seen = {moved()}
    progressed = observed = time.monotonic()
    while not (value := look()):
        now = time.monotonic()
        if now - observed > stalled / 30:  # observing may cost more than looking
            observed = now
            if (state := moved()) not in seen:
                seen.add(state)
                progressed = now
        if now - progressed > stalled:
            raise AssertionError(f"nothing moved for {stalled:g} s while waiting: {what}\n{explain()}")
        time.sleep(every)
    return value


def until_ended(
    process: subprocess.Popen[str] | subprocess.Popen[bytes],
    *,
    moved: Callable[[], Hashable] | None = None,
    stalled: float = STALLED_SECONDS,
) -> int:
    """Return the exit code of a process whose output goes to a file or is read elsewhere.

    Unless `moved` observes something else, a second of CPU time of the process and its children is progress.
    """
    cpu = moved or (lambda: int(cpu_seconds(process.pid)))
    until(lambda: process.poll() is not None, f"{process.args!r} ends", moved=cpu, stalled=stalled, every=0.05)
    return process.returncode


def run(
    command: Sequence[str],
    *,
    moved: Callable[[], Hashable] | None = None,
    stdin: bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, as subprocess.run does, and kill it when it makes no progress. See `until_ended`."""
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        with subprocess.Popen(command, stdin=given, stdout=out, stderr=err, cwd=cwd, env=env) as process:
            try:
                until_ended(process, moved=moved)
            except BaseException:
                process.kill()
                raise
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(command, process.returncode, out.read().decode(), err.read().decode())


class Paused(Exception):
    """The test itself was too slow to show anything."""


class Pace:
    """The longest time between two steps of a test, which the machine may have stopped meanwhile."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._last = time.monotonic()

    def step(self) -> None:
        """Note that the test goes on."""
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now

    def rest(self, seconds: float) -> None:
        """Wait on purpose. This time does not count."""
        self.step()
        time.sleep(seconds)
        self._last = time.monotonic()


def in_pace(attempt: Callable[[Pace], T], seconds: float) -> T:
    """Return the result of `attempt`. A failure counts only if every step of it took less than `seconds`.

    Otherwise it is a warning, and the attempt is made again, up to three times in all. Raises Paused after those.
    """
    for _ in range(ATTEMPTS):
        pace = Pace()
        try:
            return attempt(pace)
        except Exception as error:
            pace.step()
            if pace.longest < seconds:
                raise
            warnings.warn(f"failed after a pause of {pace.longest:.1f} s: {error}", stacklevel=2)
    raise Paused(f"there was a pause of {seconds:g} s or more in each of {ATTEMPTS} attempts")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children."""
    seconds = 0.0
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
