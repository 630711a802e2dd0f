"""How a stage program begins and ends: shown on real processes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.base import Document
from speechmodel_api.pods import resources_field
from speechmodel_api.stages.contract import RESULT_LIMIT, Kept, StageError, StageInput, StageName, StageResult
from speechmodel_api.stages.convert import ConvertInput
from speechmodel_api.stages.evaluate import CompareInput, EvaluateInput
from speechmodel_api.stages.prepare import PrepareInput
from speechmodel_api.stages.publish import FetchInput, PublishInput, PurgeInput
from speechmodel_api.stages.train import DownloadInput, TrainInput
from speechmodel_stagekit.program import encode_result, program_name
from support import waiting

DOCUMENT = json.dumps({"target": {"bucket": "models"}, "base": "a/b"})


def run(tmp_path: Path, body: str, document: str | None = DOCUMENT) -> tuple[int, dict[str, object], str]:
    """A stage whose function has this body -> exit code, result, stderr."""
    command, environment = stage(tmp_path, body, document)
    done = waiting.run(command, env=environment)
    result = tmp_path / "result.json"
    return done.returncode, json.loads(result.read_text()) if result.exists() else {}, done.stderr


def start(tmp_path: Path, body: str, more: str = "") -> "subprocess.Popen[str]":
    """The same, which goes on."""
    command, environment = stage(tmp_path, body, DOCUMENT, more)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def stage(tmp_path: Path, body: str, document: str | None, more: str = "") -> tuple[list[str], dict[str, str]]:
    """The command of a stage and its environment."""
    program = textwrap.dedent(
        """
        import errno, time
        from speechmodel_api.reasons import Reason
        from speechmodel_api.stages.publish import PurgeInput, PurgeOutput
        from speechmodel_stagekit.errors import *
        from speechmodel_stagekit.program import run_stage, stop_requested
        def stage(given):
        {body}
        run_stage(PurgeInput, stage{more})
        """
    ).format(body=textwrap.indent(textwrap.dedent(body), "    "), more=more)
    environment = os.environ | {"STAGE_RESULT": str(tmp_path / "result.json")}
    if document is not None:
        environment["STAGE_INPUT"] = document
    return [sys.executable, "-c", program], environment


def test_the_output_lies_in_the_result_file(tmp_path: Path) -> None:
    code, result, _ = run(tmp_path, "return PurgeOutput(objects=3)")
    assert (code, result) == (0, {"output": {"objects": 3}})


@pytest.mark.parametrize(
    "error, code",
    [("BadInput", 64), ("BadData", 65), ("ArtefactMissing", 66), ("TryAgain", 75), ("BadConfiguration", 78)],
)
def test_each_failure_has_its_exit_code_and_its_words(tmp_path: Path, error: str, code: int) -> None:
    found, result, stderr = run(tmp_path, f"raise {error}(Reason.MODEL_UNUSABLE, 'the file x is broken; correct it')")
    assert found == code
    assert result == {"error": {"reason": "ModelUnusable", "message": "the file x is broken; correct it"}}
    assert "Traceback" not in stderr


def test_an_unforeseen_error_may_heal_and_leaves_its_traceback_in_the_log(tmp_path: Path) -> None:
    code, result, stderr = run(tmp_path, "raise KeyError('surprise')")
    assert code == 75
    assert result["error"] == {"reason": "InternalError", "message": "KeyError: 'surprise'"}
    assert "Traceback" in stderr


def test_a_full_disk_says_which_setting_helps(tmp_path: Path) -> None:
    code, result, _ = run(tmp_path, "raise OSError(errno.ENOSPC, 'No space left on device', '/workspace/x')")
    assert code == 75
    assert result["error"]["reason"] == "StorageFull"  # type: ignore[index]
    assert "training.storage" in result["error"]["message"]  # type: ignore[index]
    assert "Keep the folder checkpoints" in result["error"]["message"]  # type: ignore[index]


def test_a_program_without_memory_says_which_setting_helps(tmp_path: Path) -> None:
    code, result, _ = run(tmp_path, "raise MemoryError")
    assert code == 75
    assert result["error"]["reason"] == "OutOfMemory"  # type: ignore[index]
    assert "set training.stageResources.limits.memory, or requests.memory" in result["error"]["message"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("input_type", "name", "field"),
    [
        (PrepareInput, StageName.PREPARE, "training.stageResources"),
        (DownloadInput, StageName.DOWNLOAD, "training.stageResources"),
        (TrainInput, StageName.TRAIN, "training.podTemplate.resources"),
        (ConvertInput, StageName.CONVERT, "training.stageResources"),
        (EvaluateInput, StageName.EVALUATE, "training.stageResources"),
        (PublishInput, StageName.PUBLISH, "training.stageResources"),
        (CompareInput, StageName.COMPARE, "training.stageResources"),
        (FetchInput, "fetch", "serving.podTemplate.resources"),
        (PurgeInput, "purge", "training.stageResources"),
    ],
)
def test_a_program_without_memory_names_the_field_of_its_own_pods(
    input_type: type[Document], name: str, field: str
) -> None:
    assert program_name(input_type) == name
    assert resources_field(program_name(input_type)) == field


@pytest.mark.parametrize("number", ["EACCES", "EPERM", "EROFS"])
def test_what_may_not_be_written_is_not_tried_again(tmp_path: Path, number: str) -> None:
    code, result, _ = run(tmp_path, f"raise OSError(errno.{number}, 'Permission denied', '/workspace/x')")
    assert code == 78
    assert result["error"]["reason"] == "PermissionDenied"  # type: ignore[index]
    assert "/workspace/x" in result["error"]["message"]  # type: ignore[index]


def test_an_output_that_does_not_fit_the_result_is_an_error_that_says_so(tmp_path: Path) -> None:
    code, result, _ = run(tmp_path, "return PurgeInput(target={'bucket': 'models'}, base='a' * 3000)")
    assert code == 75
    assert result["error"]["reason"] == "OutputTooLarge"  # type: ignore[index]
    assert "more than 2000" in result["error"]["message"]  # type: ignore[index]


@pytest.mark.parametrize("document", [None, "no json", '{"base": "x"}'])
def test_a_document_that_cannot_be_understood_is_code_64(tmp_path: Path, document: str | None) -> None:
    code, result, _ = run(tmp_path, "return PurgeOutput(objects=0)", document)
    assert code == 64
    assert "STAGE_INPUT" in result["error"]["message"]  # type: ignore[index]


def test_sigterm_ends_a_program_that_is_not_ready_for_it(tmp_path: Path) -> None:
    importing = "import speechmodel_pipeline, time; print('imported', flush=True); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", importing], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "imported\n"
    process.send_signal(signal.SIGTERM)
    assert waiting.until_ended(process) == -signal.SIGTERM


def test_sigterm_ends_a_stage_at_once_with_143(tmp_path: Path) -> None:
    process = start(tmp_path, "print('begun', flush=True); time.sleep(600)")
    assert process.stdout
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert waiting.until_ended(process) == 143


def test_a_stage_that_handles_stop_saves_first(tmp_path: Path) -> None:
    body = "print('begun', flush=True)\nstop_requested.wait(600)\ntime.sleep(0.3)\nraise Stopped('saved')"
    process = start(tmp_path, body, more=", handles_stop=True")
    assert process.stdout
    process.stdout.readline()
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert waiting.until_ended(process) == 143
    assert time.monotonic() - began >= 0.3
    assert json.loads((tmp_path / "result.json").read_text())["error"]["reason"] == "Stopped"


@given(st.text(st.characters(codec="utf-8"), max_size=6000) | st.integers(1000, 90000).map("й".__mul__))
def test_a_result_never_exceeds_its_limit_and_keeps_its_beginning(message: str) -> None:
    raw = encode_result(StageResult[PurgeInput](error=StageError(reason="Reason", message=message)))  # type: ignore[arg-type]
    assert len(raw) <= RESULT_LIMIT
    kept = json.loads(raw)["error"]["message"]
    assert message.startswith(kept.removesuffix(" ..."))
    assert len(kept) >= min(len(message), 250), "no more is cut than must be"


IN_A_WORKSPACE = """
import errno
from pathlib import Path
from speechmodel_api.stages.contract import StageInput
from speechmodel_api.stages.publish import PurgeOutput
from speechmodel_stagekit.errors import *
from speechmodel_stagekit.program import run_stage
def stage(task):
    if (Path(task.workspace) / "data" / "0badcafe").exists():
        raise OSError(errno.ENOSPC, "No space left on device")
    return PurgeOutput(objects=1)
run_stage(StageInput, stage)
"""


@pytest.mark.parametrize("removes", [True, False])
def test_a_stage_puts_its_workspace_in_order_first_and_reports_its_volume(tmp_path: Path, removes: bool) -> None:
    workspace, result = tmp_path / "workspace", tmp_path / "result.json"
    for name in ("0badcafe", "00000001"):
        (workspace / "data" / name).mkdir(parents=True)
    kept = Kept(folders=("data/00000001",), seconds=0) if removes else None
    task = StageInput(key="00000001", attempt=1, workspace=PurePosixPath(workspace), kept=kept)
    environment = {"STAGE_INPUT": task.model_dump_json(by_alias=True, exclude_none=True), "STAGE_RESULT": str(result)}
    done = subprocess.run([sys.executable, "-c", IN_A_WORKSPACE], env=os.environ | environment, capture_output=True)
    found = json.loads(result.read_text())
    assert done.returncode == (0 if removes else 75)
    assert (workspace / "data" / "00000001").exists()
    assert (workspace / "data" / "0badcafe").exists() is not removes
    assert ("output" in found, "error" in found) == (removes, not removes)
    assert found["storage"]["freeBytes"] > 0, "also after a failure"
