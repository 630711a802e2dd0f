"""The programs of a run: one, or several workers on the loopback interface that train together."""

import asyncio
import json
import shutil
import socket
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

from speechmodel_cli.local.child import Child

VARIABLE = "TF_CONFIG"


class Workers:
    """The programs of a run. The first is that of a run that has only one.

    When one fails, the others are stopped, as the controller of a Job does. The run ends as that one did, when all
    have ended.
    """

    def __init__(self, on_end: Callable[[int], None], grace_seconds: float) -> None:
        self._on_end, self._grace_seconds = on_end, grace_seconds
        self._children: list[Child] = []
        self._codes: dict[int, int] = {}
        """Exit codes by index, in the order in which they ended."""

    @classmethod
    async def start(
        cls,
        count: int,
        program: Sequence[str],
        *,
        environment: Callable[[Path], dict[str, str]],
        folder: Path,
        log: Path,
        result: Path,
        grace_seconds: float,
        on_line: Callable[[str], None],
        on_end: Callable[[int], None],
    ) -> Self:
        """Start `count` programs in `folder`. `environment` is that of one which writes its result to the given file.

        `log`, `result` and `on_line` are those of the first. Other workers have files with their index beside them.
        `on_end` is called with the exit code of the run, when its result is in `result`.
        """
        workers = cls(on_end, grace_seconds)
        configurations = _configurations(count)
        for index, configuration in enumerate(configurations):
            own = _of_worker(result, index)
            child = await Child.start(
                program,
                environment=environment(own) | configuration,
                folder=folder,
                log=_of_worker(log, index),
                on_line=None if index else on_line,
                on_end=partial(workers._ended, index, count, result),
            )
            workers._children.append(child)
        if any(workers._codes.values()):  # one failed before the others were there to be stopped
            workers.stop()
        return workers

    @property
    def pid(self) -> int:
        """Id of the process of the first, and of its group."""
        return self._children[0].pid

    @property
    def running(self) -> bool:
        """True until all have ended and their output was read."""
        return any(child.running for child in self._children)

    @property
    def stopping(self) -> bool:
        """True once all were asked to stop."""
        return all(child.stopping for child in self._children if child.running)

    async def wait(self) -> None:
        """Wait until all have ended."""
        await asyncio.gather(*(child.wait() for child in self._children))

    def stop(self) -> None:
        """Send SIGTERM to all, and SIGKILL to those that have not ended after the time of grace."""
        for child in self._children:
            child.stop(self._grace_seconds)

    def kill(self) -> None:
        """Send SIGKILL to all."""
        for child in self._children:
            child.kill()

    def _ended(self, index: int, count: int, result: Path, code: int) -> None:
        self._codes[index] = code
        if code:
            self.stop()
        if len(self._codes) < count:
            return
        failed = next((index for index, code in self._codes.items() if code), 0)
        if failed:
            result.unlink(missing_ok=True)
            if (own := _of_worker(result, failed)).exists():
                shutil.move(own, result)
        self._on_end(self._codes[failed])


def _of_worker(file: Path, index: int) -> Path:
    return file.with_name(f"{file.stem}-{index}{file.suffix}") if index else file


def _configurations(count: int) -> list[dict[str, str]]:
    """Return the variables that name each worker and all of them, none for a single one."""
    if count == 1:
        return [{}]
    with ExitStack() as stack:  # all are open at once, or two would get the same port
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        cluster = {"worker": [f"127.0.0.1:{probe.getsockname()[1]}" for probe in probes]}
    return [
        {VARIABLE: json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})}
        for index in range(count)
    ]
