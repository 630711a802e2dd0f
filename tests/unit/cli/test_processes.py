"""Processes that are identified beyond their pid."""

import os
import subprocess
import sys

from speechmodel_cli.local.processes import ProcessIdentity, identify, is_alive, kill_group
from support.waiting import until

SLEEP = [sys.executable, "-c", "import signal; signal.pause()"]


def test_a_running_process_is_alive_and_an_ended_one_is_not() -> None:
    process = subprocess.Popen(SLEEP, start_new_session=True)
    known = identify(process.pid)
    assert known is not None
    assert is_alive(known)
    kill_group(known)
    assert process.wait() == -9
    assert not is_alive(known)


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    known = identify(process.pid)
    assert known is not None
    until(lambda: not is_alive(known), "the process ends", every=0.01)
    process.wait()


def test_a_pid_that_was_used_again_is_another_process_and_is_left_alone() -> None:
    process = subprocess.Popen(SLEEP, start_new_session=True)
    try:
        now = identify(process.pid)
        assert now is not None
        for before in (
            ProcessIdentity(pid=now.pid, started_seconds=now.started_seconds - 0.01, boot=now.boot),
            ProcessIdentity(
                pid=now.pid, started_seconds=now.started_seconds, boot="00000000-0000-0000-0000-000000000000"
            ),
        ):
            assert not is_alive(before)
            kill_group(before)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_nobody_has_a_pid_beyond_the_kernels_limit() -> None:
    assert identify(2**22 + 1) is None
    assert identify(os.getpid()) is not None


def test_another_process_identifies_it_alike() -> None:
    program = f"from speechmodel_cli.local.processes import identify; print(identify({os.getpid()}).model_dump_json())"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert identify(os.getpid()) == ProcessIdentity.model_validate_json(other.stdout)
