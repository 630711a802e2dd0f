import pytest
from kubecluster.errors import CommandFailed, TimedOut
from kubecluster.shell import flags, run, wait_for


def test_flags_are_spelt_as_go_reads_them() -> None:
    assert flags({"a": True, "b": 1, "c-d": "x"}) == ["--a=true", "--b=1", "--c-d=x"]


def test_a_failing_program_is_an_error_that_quotes_its_stderr() -> None:
    with pytest.raises(CommandFailed, match="exited 3: oops"):
        run("sh", "-c", "echo oops >&2; exit 3")


def test_a_failure_that_is_expected_is_no_error() -> None:
    assert run("sh", "-c", "exit 3", check=False).returncode == 3


def test_waiting_too_long_says_for_what_and_why() -> None:
    with pytest.raises(TimedOut, match=r"the thing: not within 0.2 s. because"):
        wait_for("the thing", lambda: False, 0.2, diagnose=lambda: "because")
