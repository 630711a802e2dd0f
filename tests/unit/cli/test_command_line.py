"""The command line itself."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from speechmodel_cli.command_line import main
from support.places import ROOT
from support.waiting import until_ended

HEAVY = ("pydantic", "rich", "yaml", "numpy", "httpx", "asyncio", "kubernetes", "boto3", "tensorflow")
EXAMPLE = str(ROOT / "examples" / "espejo" / "speechmodel.yaml")
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def test_help_is_fast_since_it_imports_nothing_heavy() -> None:
    program = f"""
import sys
from speechmodel_cli.command_line import main
code = main(["--help"])
sys.exit(", ".join(name for name in {HEAVY!r} if name in sys.modules) or code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Exit codes: 0 done" in done.stdout


def test_run_imports_no_part_of_a_cluster_and_no_stage() -> None:
    program = f"import sys; import speechmodel_cli.run; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['pydantic', 'rich', 'yaml', 'asyncio']\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "Usage: speechmodel [OPTIONS] COMMAND"),
        (["train"], "No such command 'train'"),
        (["run"], "Missing argument 'MANIFEST'"),
        (["run", "m.yaml", "--claim", "voices"], "'voices' is not NAME=DIR"),
        (["run", "m.yaml", "--port", "0"], "0 is not in the range 1<=x<=65535"),
        (["run", "m.yaml", "--s3", "aws"], "'aws' is not one of 'embedded', 'manifest'"),
        (["run", "m.yaml", "--claim", "a=x", "--claim", "a=y"], "--claim a is given more than once; keep one"),
        (["validate", "m.yaml", "--claim", "a=x"], "--claim names a folder that --dataset reads; add --dataset"),
        (["transcribe", "a.wav", "--url", ""], "--url is empty; give the URL of a server"),
        (["validate"], "Missing argument 'MANIFEST...'"),
        (["transcribe", "a.wav", "--model", "m", "--url", "http://h"], "--model and --url cannot be used together"),
    ],
)
def test_wrong_usage_is_reported_with_exit_code_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert complaint in capsys.readouterr().err


def test_ctrl_c_and_a_closed_pipe_have_their_exit_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(paths: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("speechmodel_cli.validate.validate", interrupted)
    assert main(["validate", "m.yaml"]) == 130
    program = (
        "import sys; from speechmodel_cli.command_line import main; sys.exit(main(['validate'] + ['none.yaml'] * 9999))"
    )
    with (
        TemporaryFile("w+") as complaints,
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=complaints) as process,
    ):
        assert process.stdout is not None
        process.stdout.close()
        code = until_ended(process)
        complaints.seek(0)
        assert (code, complaints.read()) == (1, "")


@pytest.mark.parametrize("command", [["--help"], ["validate", EXAMPLE], ["validate"] + [EXAMPLE] * 99])
def test_a_standard_output_that_is_full_is_a_sentence_and_exit_code_1(command: list[str]) -> None:
    """Short answers are buffered until the command ends; long ones are written while it runs."""
    program = "import sys; from speechmodel_cli.command_line import main; sys.exit(main(sys.argv[1:]))"
    with Path("/dev/full").open("w") as full:
        argv = [sys.executable, "-c", program, *command]
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, env=BUFFERED, check=False)
    assert done.returncode == 1
    said = done.stderr.removeprefix("standard output: ")
    assert said == "No space left on device; make room, or choose a folder on another disk\n"


def test_a_pipe_that_nobody_reads_ends_a_command_with_a_short_answer_without_a_word() -> None:
    program = "import sys; from speechmodel_cli.command_line import main; sys.exit(main(sys.argv[1:]))"
    read, write = os.pipe()
    os.close(read)
    argv = [sys.executable, "-c", program, "validate", EXAMPLE]
    done = subprocess.run(argv, stdout=write, stderr=subprocess.PIPE, text=True, env=BUFFERED, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


def test_closed_standard_streams_get_nothing_and_no_file_takes_their_place(tmp_path: Path) -> None:
    program = """
import os, sys
from speechmodel_cli.command_line import main
code = main(["validate", "none.yaml"])
names = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
open(sys.argv[1], "w").write(f"{code} {names}")
"""
    answer = tmp_path / "answer"
    subprocess.run(["sh", "-c", '"$0" -c "$1" "$2" <&- >&- 2>&-', sys.executable, program, str(answer)], check=True)
    assert answer.read_text() == "1 ['/dev/null', '/dev/null', '/dev/null']"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; make room, or choose a folder on"),
        (
            OSError(errno.EACCES, "Permission denied", "/x"),
            "/x: Permission denied; make it accessible, or choose another",
        ),
        (
            OSError(errno.EIO, "Input/output error", "/x"),
            "/x: Input/output error; correct it and run the command again",
        ),
    ],
)
def test_a_system_error_is_a_sentence_and_not_a_traceback(
    error: OSError, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise error

    monkeypatch.setattr("speechmodel_cli.status.status", fail)
    assert main(["status"]) == 1
    assert capsys.readouterr().err.startswith(said)


def test_letters_that_the_terminal_lacks_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "año.yaml").write_text("kind: Señal\n", encoding="utf-8")
    program = "import sys; from speechmodel_cli.command_line import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program, "validate", str(tmp_path / "año.yaml")],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 1
    assert "a?o.yaml:1: holds no document of kind SpeechModel" in done.stdout
    assert "Traceback" not in done.stderr


PROGRAM = "import sys; from speechmodel_cli.command_line import main; sys.exit(main(sys.argv[1:]))"
ODD_NAMES = ("año.yaml", "日本.yaml", "a b'c.yaml", "-x.yaml", "new\nline.yaml", "tab\t.yaml", "nu\u0301\u202e.yaml")
"""Names of files that are UTF-8."""


def validated(*names: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Validate files in an environment that has only these variables."""
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "validate", *names],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        env=environment,
    )


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_odd_names_of_files_are_named_without_a_locale(locale: str, tmp_path: Path) -> None:
    for name in ODD_NAMES:
        (tmp_path / name).write_text("kind: Señal\n", encoding="utf-8")
    (tmp_path / "b\udcff.yaml").write_text("kind: Other\n", encoding="utf-8")
    done = validated(*(f"{tmp_path}/{name}" for name in ODD_NAMES), LC_ALL=locale)
    assert done.returncode == 1
    for name in ODD_NAMES:
        assert f"{tmp_path}/{name}:1: holds no document of kind SpeechModel" in done.stdout
    refused = validated(f"{tmp_path}/b\udcff.yaml", LC_ALL=locale)
    assert "b\\udcff.yaml' is not UTF-8; rename the file or folder" in refused.stderr
    assert "Traceback" not in done.stderr + refused.stderr


def test_a_name_that_python_cannot_read_in_the_locale_is_refused_with_the_locale_to_set(tmp_path: Path) -> None:
    (tmp_path / "año.yaml").write_text("kind: Señal\n", encoding="utf-8")
    only_ascii = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    refused = validated(f"{tmp_path}/año.yaml", **only_ascii)
    assert refused.returncode == 2
    assert "o.yaml' is not ascii, which Python uses for names of files here; set LC_ALL=C.UTF-8" in refused.stderr
    assert "Traceback" not in refused.stderr
    repaired = validated(f"{tmp_path}/año.yaml", LC_ALL="C.UTF-8", PYTHONUTF8="1")
    assert "año.yaml:1: holds no document of kind SpeechModel" in repaired.stdout


def test_a_current_folder_that_was_removed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["validate", "m.yaml"]) == 1
    assert "the current folder was removed; change to another one" in capsys.readouterr().err
