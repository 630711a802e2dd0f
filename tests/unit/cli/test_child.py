"""A subprocess takes what it started along when it ends."""

import sys
from pathlib import Path

import psutil
from speechmodel_cli.local.child import Child
from support.waiting import until

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
if {waits}: time.sleep(600)
"""


async def lives_on(folder: Path, *, waits: bool) -> bool:
    """Return True when a process that a program started is alive after the program has ended."""
    pids: list[int] = []
    parent = [sys.executable, "-c", PARENT.format(waits=waits)]

    def on_line(line: str) -> None:
        pids.append(int(line))
        if waits:
            child.stop(600)

    child = await Child.start(parent, environment={}, folder=folder, log=folder / "log", on_line=on_line)
    await child.wait()
    (pid,) = pids
    until(lambda: not _alive(pid), "the process has ended")
    return _alive(pid)


def _alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_a_process_of_a_program_that_was_stopped_ends_with_it(tmp_path: Path) -> None:
    assert not await lives_on(tmp_path, waits=True)


async def test_a_process_of_a_program_that_ended_ends_with_it(tmp_path: Path) -> None:
    assert not await lives_on(tmp_path, waits=False)
