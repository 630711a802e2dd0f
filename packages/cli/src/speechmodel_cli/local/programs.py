"""Command lines and environments of stage programs, which start here as they do in a pod."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.credentials import NEGATIVES, SIGNING_KEY
from speechmodel_api.stages.contract import INPUT_VARIABLE, RESULT_VARIABLE, StageError, StageResult
from speechmodel_api.stages.convert import ConvertInput, PublishedModel
from speechmodel_api.stages.evaluate import CompareInput
from speechmodel_api.stages.publish import FetchInput, PublishInput

from speechmodel_cli.local.errors import ProgramMissing
from speechmodel_cli.local.object_store import Access

FETCH = "speechmodel_pipeline.fetch"
SERVER = "speechmodel_inference"


def command(module: str) -> list[str]:
    """Return the command that runs a program's module. Raises ProgramMissing when its package is not installed."""
    package = module.partition(".")[0]
    if importlib.util.find_spec(package) is None:
        name = package.replace("_", "-")
        raise ProgramMissing(f"the program {module} is missing: install {name}, or speechmodel for all of them")
    return [sys.executable, "-P", "-m", module]


def environment(document: Document, result: Path, access: Access | None = None) -> dict[str, str]:
    """Return the environment of a stage program: ours, its document, and the endpoint and keys of the bucket if it needs them.

    Only publish receives the private key of publish.signing.
    """
    if access is not None:
        document = _reachable(document, access.endpoint)
    text = document.model_dump_json(by_alias=True, exclude_none=True)
    ours = {INPUT_VARIABLE: text, RESULT_VARIABLE: str(result)}
    if isinstance(document, PublishInput) and SIGNING_KEY in os.environ:
        ours[SIGNING_KEY] = os.environ[SIGNING_KEY]
    return inherited(access.environment if access else {}) | ours


def _reachable(document: Document, endpoint: str | None) -> Document:
    """Return the document with the endpoint where the bucket of published versions is reached now."""
    changes: dict[str, object] = {}
    if isinstance(document, PublishInput | FetchInput | CompareInput | PublishedModel):
        changes["target"] = document.target.model_copy(update={"endpoint": endpoint})
    if isinstance(document, ConvertInput) and document.published is not None:
        changes["published"] = _reachable(document.published, endpoint)
    return document.model_copy(update=changes)


def reported_error(result: Path) -> StageError | None:
    """Return the error in the result of a stage program; None when it left none."""
    try:
        return StageResult[StageError].model_validate_json(result.read_bytes()).error
    except (FileNotFoundError, ValidationError):
        return None


def inherited(more: Mapping[str, str]) -> dict[str, str]:
    """Return our environment with `more`, and without AWS variables, which may belong to another service, and the
    private key of publish.signing.
    """
    keys = ("AWS_", f"{NEGATIVES}AWS_")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(keys) and name != SIGNING_KEY}
    return ours | dict(more)
