"""Folders that one process uses at a time."""

import subprocess
import sys
from pathlib import Path

import pytest
from speechmodel_cli.local.errors import StateBusy
from speechmodel_cli.local.lock import owned

HOLD = """
import signal, sys
from pathlib import Path
from speechmodel_cli.local.lock import owned
with owned(Path(sys.argv[1]), "the model espejo"):
    print("held", flush=True)
    signal.pause()
"""


def test_the_second_process_is_refused_and_given_the_pid_of_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "espejo" / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(StateBusy, match=f"process {other.pid} is using the model espejo .*kill {other.pid}"),
            owned(lock, "the model espejo"),
        ):
            pass
        other.kill()
    with owned(lock, "the model espejo"):
        pass


def test_a_lock_goes_with_its_process_however_that_ends(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
        other.wait()
        with owned(lock, "it"):
            pass
