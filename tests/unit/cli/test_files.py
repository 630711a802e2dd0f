"""Files that are replaced whole, and folders that one process owns."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from speechmodel_cli.local.errors import StateBusy
from speechmodel_cli.local.files import owned, replace_file

HOLD = """
import sys, time
from pathlib import Path
from speechmodel_cli.local.files import owned
with owned(Path(sys.argv[1]), "the model espejo"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path):
    path = tmp_path / "status.json"
    replace_file(path, "old")
    replace_file(path, "new")
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


def test_the_second_process_is_refused_and_told_the_pid_of_the_first(tmp_path: Path):
    lock = tmp_path / "espejo" / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(StateBusy, match=f"process {other.pid} works on the model espejo .*kill {other.pid}"),
            owned(lock, "the model espejo"),
        ):
            pass
        other.kill()
    with owned(lock, "the model espejo"):
        pass


def test_a_lock_goes_with_its_process_however_that_ends(tmp_path: Path):
    lock = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.kill()
        other.wait()
        deadline = time.monotonic() + 5
        with owned(lock, "it"):
            assert time.monotonic() < deadline
