"""The command line itself."""

import subprocess
import sys

import pytest
from speechmodel_cli.command_line import main

HEAVY = ("pydantic", "rich", "yaml", "jsonschema", "numpy", "httpx", "kopf", "kubernetes", "boto3", "tensorflow")


def test_help_is_fast_since_it_imports_nothing_heavy():
    program = f"""
import contextlib, sys
from speechmodel_cli.command_line import main
with contextlib.suppress(SystemExit):
    main(["--help"])
sys.exit(", ".join(name for name in {HEAVY!r} if name in sys.modules) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "exit codes: 0 done" in done.stdout


def test_run_imports_no_part_of_a_cluster_and_no_stage():
    program = f"import sys; import speechmodel_cli.run; print([n for n in {HEAVY!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['pydantic', 'rich', 'yaml', 'jsonschema']\n"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["run"], "the following arguments are required: MANIFEST"),
        (["run", "m.yaml", "--claim", "voices"], "'voices' is not NAME=DIR"),
        (["run", "m.yaml", "--port", "0"], "'0' is not a port from 1 to 65535"),
        (["run", "m.yaml", "--s3", "aws"], "invalid choice: 'aws'"),
        (["transcribe", "a.wav", "--model", "m", "--url", "http://h"], "not allowed with argument"),
    ],
)
def test_wrong_usage_is_told_with_exit_code_2(arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
