"""Stage programs as the operator runs them: subprocesses with an input document, a result file and an exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechmodel_api.base import Document
from speechmodel_api.progress import StepProgress, parse_progress
from speechmodel_api.stages.contract import RESULT_LIMIT


@dataclass(frozen=True)
class Ended:
    """How a stage program ended."""

    code: int
    output: dict[str, Any]
    """Empty when it failed."""
    reason: str
    message: str
    """Reason and message are empty when it succeeded."""
    progress: list[StepProgress]
    log: str


def run_program(stage: str, document: Document, folder: Path, environment: Mapping[str, str] | None = None) -> Ended:
    """Run `python -m speechmodel_pipeline.<stage>` on `document`; its result file is in `folder`."""
    result = folder / f"{stage}.result.json"
    result.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", f"speechmodel_pipeline.{stage}"],
        env={
            **_clean_environment(),
            **(environment or {}),
            "STAGE_INPUT": document.model_dump_json(by_alias=True, exclude_none=True),
            "STAGE_RESULT": str(result),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    raw = result.read_bytes()
    assert len(raw) <= RESULT_LIMIT
    answer = json.loads(raw)
    error = answer.get("error", {})
    records = [record for line in done.stdout.splitlines() if isinstance(record := parse_progress(line), StepProgress)]
    return Ended(
        done.returncode,
        answer.get("output", {}),
        error.get("reason", ""),
        error.get("message", ""),
        records,
        done.stderr,
    )


def _clean_environment() -> dict[str, str]:
    """Variables without the credentials and settings of the person who runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "STAGE_"))}
