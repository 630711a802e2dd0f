"""A subprocess that ends with this process. Its stdout is read line by line, and its stderr goes to a file."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from speechmodel_cli.local.leash import leashed

LONGEST_LINE = 1 << 20
"""Bytes. A stage's stdout carries progress records of a few hundred."""


class Child:
    """A running program in a session of its own, so that Ctrl-C in the terminal does not reach it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ended: asyncio.Task[int] | None = None
        self._killer: asyncio.TimerHandle | None = None
        self.stopping = False
        """True once stop() or kill() was called."""

    @classmethod
    async def start(
        cls,
        program: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log: Path,
        on_line: Callable[[str], None] | None = None,
        on_end: Callable[[int], None] | None = None,
    ) -> Self:
        """Start `program` in `folder`; stdout and stderr are appended to `log`.

        `on_line` is called with each line of stdout, and `on_end` with the exit code after the last line. Call it in the
        main thread: the kernel ends the program with the thread that started it.
        """
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *leashed(program),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
                env=environment,
                cwd=folder,
                start_new_session=True,
                limit=LONGEST_LINE,
            )
        child = cls(process)
        child._ended = asyncio.create_task(child._follow(log, on_line, on_end))
        return child

    @property
    def pid(self) -> int:
        """Id of the process and of its group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """True until it has ended and all its output was read."""
        return self._ended is not None and not self._ended.done()

    async def wait(self) -> int:
        """Return the exit code, or 128 + signal when it was killed, after all its output was read."""
        assert self._ended is not None
        return await asyncio.shield(self._ended)

    def stop(self, grace_seconds: float) -> None:
        """Send SIGTERM once, and SIGKILL to its group when it has not ended `grace_seconds` later."""
        if self.stopping or self._process.returncode is not None:
            return
        self.stopping = True
        with suppress(ProcessLookupError):
            self._process.terminate()
        self._killer = asyncio.get_running_loop().call_later(grace_seconds, self.kill)

    def kill(self) -> None:
        """Send SIGKILL to its group."""
        self.stopping = True
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _follow(
        self, log: Path, on_line: Callable[[str], None] | None, on_end: Callable[[int], None] | None
    ) -> int:
        stdout = self._process.stdout
        assert stdout is not None
        with log.open("ab", buffering=0) as file:
            while line := await _line(stdout):
                file.write(line)
                if on_line:
                    on_line(line.decode(errors="replace").rstrip("\r\n"))
        code = await self._process.wait()
        if self._killer:
            self._killer.cancel()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it started must not outlive it
        code = code if code >= 0 else 128 - code
        if on_end:
            on_end(code)
        return code


async def _line(stdout: asyncio.StreamReader) -> bytes:
    """Return the next line. A line longer than LONGEST_LINE is skipped."""
    while True:
        try:
            return await stdout.readline()
        except ValueError:  # a line beyond the limit, which StreamReader has dropped
            continue
