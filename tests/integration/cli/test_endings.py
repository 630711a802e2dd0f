"""How a run ends before its time: Ctrl-C, SIGTERM, SIGKILL, a reader that goes away; and how it goes on."""

import re
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from support.waiting import until_ended
from support.workplace import Workplace, interrupt, read_until, rest

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, int, str]:
    """Return a long training that Ctrl-C has stopped after an epoch, with the exit code and the output after that."""
    place = Workplace.make(tmp_path_factory.mktemp("interrupted"), maxEpochs=100_000)
    process = place.start()
    try:
        read_until(process, training)
        return place, *interrupt(process)
    finally:
        place.kill()


@pytest.fixture
def begun(interrupted: tuple[Workplace, int, str], tmp_path: Path) -> Iterator[Workplace]:
    """Return a copy of it."""
    place = interrupted[0].copy(tmp_path)
    yield place
    place.kill()


@pytest.fixture
def long(tmp_path: Path) -> Iterator[Workplace]:
    """A training that does not end by itself."""
    place = Workplace.make(tmp_path, maxEpochs=100_000)
    yield place
    place.kill()


def training(line: str, after: int = 0) -> bool:
    """An epoch is done after so many."""
    found = re.match(r"train: epoch (\d+)/", line)
    return found is not None and int(found[1]) > after


def epochs(place: Workplace) -> int:
    """Epochs that are done."""
    return int(place.status["progress"].split("/")[0])


def last_run(place: Workplace) -> Path:
    """Return the folder of the newest run of train."""
    return max((place.state / "runs").glob("voz-train-*"), key=lambda folder: folder.stat().st_mtime)


def test_ctrl_c_saves_and_the_same_call_goes_on_where_it_was(
    interrupted: tuple[Workplace, int, str], begun: Workplace
) -> None:
    stopped, code, output = interrupted
    assert code == 130
    saved = epochs(stopped)
    assert saved >= 1
    assert "stopping: the running stage saves its work; interrupt again to kill it\n" in output
    assert (
        f"interrupted: training is saved after {saved}/100000 epochs; run `speechmodel run voz.yaml` to continue\n"
        in output
    )
    assert (last_run(stopped) / "exit_code").read_text() == "143\n"
    assert stopped.processes() == []

    begun.train(maxEpochs=saved + 2)
    done = begun.run()
    assert done.returncode == 0, done.stdout + done.stderr
    trained = begun.stage("train")["output"]
    assert trained["epoch"] == saved + 2
    assert trained["trainedEpochs"] == 2
    assert "prepare: started" not in done.stdout


def test_sigterm_saves_as_well(begun: Workplace) -> None:
    process = begun.start()
    read_until(process, partial(training, after=epochs(begun)))
    process.send_signal(signal.SIGTERM)
    assert rest(process)[0] == 143
    assert (last_run(begun) / "exit_code").read_text() == "143\n"


def test_a_second_ctrl_c_kills(begun: Workplace) -> None:
    process = begun.start()
    read_until(process, partial(training, after=epochs(begun)))
    (stage,) = [pid for pid, line in begun.running().items() if "speechmodel_training.train" in line]
    subprocess.run(["kill", "-STOP", str(stage)], check=True)  # it cannot save now
    process.send_signal(signal.SIGINT)
    read_until(process, lambda line: line.startswith("stopping"))
    code, output = interrupt(process)
    assert code == 130
    assert "killing the running stage\n" in output
    assert (last_run(begun) / "exit_code").read_text() == "137\n"
    begun.until_deserted()


def test_a_killed_command_leaves_no_process_and_the_next_call_goes_on(begun: Workplace) -> None:
    more = partial(training, after=(before := epochs(begun)))
    process = begun.start()
    read_until(process, more)
    process.kill()
    process.wait()
    begun.until_deserted()
    assert not (last_run(begun) / "exit_code").exists()
    assert "Training (stopped)" in begun.call("status").stdout

    process = begun.start()
    assert "prepare: started\n" not in read_until(process, more)
    interrupt(process)  # which saves, so that the status has the epochs that are saved
    assert epochs(begun) > before


def test_a_run_that_was_lost_is_tried_again_by_the_same_call_without_a_wait(long: Workplace) -> None:
    for attempt in (1, 2, 3):
        process = long.start()
        lines = read_until(process, lambda line: line.startswith("train: started"))
        assert lines[-1] == ("train: started\n" if attempt == 1 else "train: started again\n")
        process.kill()
        process.wait()
        long.until_deserted()
    process = long.start()
    read_until(process, training)
    assert long.stage("train")["attempt"] == 4
    interrupt(process)


def test_two_calls_at_once_are_refused_with_the_pid_of_the_first(long: Workplace) -> None:
    process = long.start()
    read_until(process, lambda line: line.startswith("prepare: started"))
    second = long.run()
    assert second.returncode == 1
    assert f"process {process.pid} is using the model voz ({long.state})" in second.stderr
    assert "Traceback" not in second.stderr
    interrupt(process)


def test_a_reader_that_goes_away_counts_as_a_hang_up(begun: Workplace) -> None:
    process = begun.start()
    read_until(process, partial(training, after=epochs(begun)))
    assert process.stdout is not None
    process.stdout.close()
    assert until_ended(process) == 128 + signal.SIGHUP
    assert (last_run(begun) / "exit_code").read_text() == "143\n"
