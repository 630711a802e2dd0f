import subprocess
import sys
from pathlib import Path

import pytest
from speechmodel_training.errors import LineageBusy, Superseded
from speechmodel_training.ownership import Owner, owning


def owner(attempt: int, uid: str = "a") -> Owner:
    return Owner(owner=uid, attempt=attempt)


HOLD = """
import sys, time
from pathlib import Path
from speechmodel_training.ownership import Owner, owning
with owning(Path(sys.argv[1]), Owner(owner="a", attempt=1)):
    print("held", flush=True)
    time.sleep(60)
"""


def test_an_owner_may_write(tmp_path: Path) -> None:
    with owning(tmp_path / "lineage", owner(1)) as ownership:
        ownership.check()


def test_an_older_attempt_is_refused(tmp_path: Path) -> None:
    with owning(tmp_path, owner(3)):
        pass
    with pytest.raises(Superseded, match="taken over by attempt 3 of a; attempt 2 ends"), owning(tmp_path, owner(2)):
        pass


def test_the_same_attempt_may_come_back(tmp_path: Path) -> None:
    for _ in range(2):
        with owning(tmp_path, owner(3)) as ownership:
            ownership.check()


def test_an_attempt_that_was_taken_over_notices(tmp_path: Path) -> None:
    with owning(tmp_path, owner(1)) as old:
        with pytest.raises(LineageBusy), owning(tmp_path, owner(2), lock_wait=0):
            pass
        with pytest.raises(Superseded, match="taken over by attempt 2"):
            old.check()


def test_another_models_first_attempt_takes_over_from_its_deleted_predecessor(tmp_path: Path) -> None:
    with owning(tmp_path, owner(7, "old")) as old:
        with pytest.raises(LineageBusy), owning(tmp_path, owner(1, "new"), lock_wait=0):
            pass
        with pytest.raises(Superseded, match="attempt 1 of new"):
            old.check()
    with owning(tmp_path, owner(1, "new")) as new:
        new.check()


def test_a_removed_owner_file_counts_as_taken_over(tmp_path: Path) -> None:
    with owning(tmp_path, owner(1)) as ownership:
        (tmp_path / "owner").unlink()
        with pytest.raises(Superseded):
            ownership.check()


def test_a_damaged_owner_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "owner").write_text("?")
    with owning(tmp_path, owner(1)) as ownership:
        ownership.check()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(LineageBusy, match="held by another"), owning(tmp_path, owner(1), lock_wait=0.3):
            pass
        process.kill()
    with owning(tmp_path, owner(1), lock_wait=1) as ownership:
        ownership.check()
