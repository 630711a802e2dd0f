"""A stage program from start to exit: read the input document, run the stage, write the result,
exit with its code.

if __name__ == "__main__":
    run_stage(ConvertInput, convert)
"""

import errno
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.log_format import set_up_program_logging
from speechmodel_api.pods import resources_field
from speechmodel_api.progress import StepProgress, TrainProgress
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import (
    INPUT_VARIABLE,
    RESULT_LIMIT,
    RESULT_VARIABLE,
    StageError,
    StageInput,
    StageResult,
    VolumeUse,
)
from speechmodel_api.tracing import PARENT, end_tracing, set_up_tracing, span
from speechmodel_api.workspace import Workspace

from speechmodel_stagekit.errors import BadInput, StageFailure, Stopped, TryAgain
from speechmodel_stagekit.tidy import tidy

log = logging.getLogger(__name__)

Input = TypeVar("Input", bound=Document)
Output = TypeVar("Output", bound=Document)

_CUT = " ..."
_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors that another attempt would meet again."""

stop_requested = threading.Event()
"""Set by SIGTERM and SIGINT. A stage with `handles_stop` watches it; any other ends at once."""


def run_stage(input_type: type[Input], stage: Callable[[Input], Document], *, handles_stop: bool = False) -> NoReturn:
    """Run `stage` on the document in STAGE_INPUT and exit.

    With `handles_stop` the stage watches `stop_requested` and raises Stopped once its work is
    saved. Otherwise SIGTERM ends it at once with 143, which is safe: a stage's folder appears only
    when it is complete.
    """
    set_up_program_logging(logging.INFO, sys.stderr)
    set_up_tracing("speechmodel-stage")
    _listen_for_stop(leave_at_once=not handles_stop)
    result, code = _traced(input_type, stage)
    _write(result)
    end_tracing()
    sys.stdout.flush()
    logging.shutdown()
    os._exit(code)  # native threads (BLAS, S3 transfers) must not delay the exit or change its code


def storage_full(problem: str) -> str:
    """Return the message of a volume that is full."""
    return (
        f"{problem}; enlarge the workspace claim (training.storage.volumeClaimTemplate.storage), or make room on the disk. "
        "Keep the folder checkpoints: training continues from it"
    )


def out_of_memory(problem: str, resources: str) -> str:
    """Return the message of a program that had no memory left. `resources` is the field of the spec that sets its memory."""
    return f"{problem}; give it more memory: on a cluster, set {resources}.limits.memory, or requests.memory if there is no limit"


def permission_denied(problem: str) -> str:
    """Return the message of a file or folder that may not be read or written."""
    return (
        f"{problem}; make it accessible for user {os.getuid()} and group {os.getgid()}, then set the annotation "
        "speechops.dev/retry, or run the command again"
    )


def program_name(input_type: type[Document]) -> str:
    """Return the name of a stage program, such as prepare, by the type of its input."""
    return input_type.__name__.removesuffix("Input").lower()


def report(progress: TrainProgress | StepProgress) -> None:
    """Write one progress record."""
    print(progress.model_dump_json(by_alias=True, exclude_none=True), flush=True)


def _traced(input_type: type[Input], stage: Callable[[Input], Document]) -> tuple[bytes, ExitCode]:
    """Return the encoded result and the exit code, in a span that continues the trace of the operator's step."""
    with span(program_name(input_type), parent={"traceparent": os.environ.get(PARENT, "")}) as found:
        result, code = _attempt(input_type, stage)
        found.describe({"process.exit.code": code})
        if code not in (ExitCode.DONE, ExitCode.STOPPED):
            found.fail(result.decode())
        return result, code


def _attempt(input_type: type[Input], stage: Callable[[Input], Document]) -> tuple[bytes, ExitCode]:
    """Return the encoded result and the exit code. The workspace is put in order before the stage and measured after it."""
    begun: list[Input] = []

    def run() -> Document:
        begun.append(_read(input_type))
        if isinstance(task := begun[0], StageInput) and task.kept is not None:
            tidy(Workspace(task.workspace), task.kept)
        return stage(begun[0])

    result, code = _outcome(run, resources_field(program_name(input_type)))
    try:
        return encode_result(result.model_copy(update={"storage": _volume_use(begun)})), code
    except TryAgain as failure:
        return encode_result(_failed(failure.reason, str(failure))), failure.code


def _volume_use(begun: list[Input]) -> VolumeUse | None:
    """Return the use of the volume of the workspace, if the stage has one."""
    workspaces = [task.workspace for task in begun if isinstance(task, StageInput)]
    try:
        usage = shutil.disk_usage(workspaces[0]) if workspaces else None
    except OSError:  # the workspace was never made
        return None
    return VolumeUse(used_bytes=usage.used, free_bytes=usage.free) if usage else None


def _outcome(run: Callable[[], Document], resources: str) -> tuple[StageResult[Document], ExitCode]:
    """Return the result and the exit code. `resources` is the field of the spec that sets the memory of the program."""
    try:
        return StageResult(output=run()), ExitCode.DONE
    except StageFailure as failure:
        log.log(logging.INFO if isinstance(failure, Stopped) else logging.ERROR, "%s: %s", failure.reason, failure)
        return _failed(failure.reason, str(failure)), failure.code
    except OSError as error:
        log.exception("system error")
        if error.errno in _FULL:
            return _failed(Reason.STORAGE_FULL, storage_full(str(error))), ExitCode.TRY_AGAIN
        if error.errno in _DENIED:
            return _failed(Reason.PERMISSION_DENIED, permission_denied(str(error))), ExitCode.BAD_CONFIGURATION
        return _failed(Reason.SYSTEM_ERROR, str(error)), ExitCode.TRY_AGAIN
    except MemoryError:
        log.exception("out of memory")
        message = out_of_memory("the process ran out of memory", resources)
        return _failed(Reason.OUT_OF_MEMORY, message), ExitCode.TRY_AGAIN
    except Exception as error:
        log.exception("unexpected error")
        return _failed(Reason.INTERNAL_ERROR, f"{type(error).__name__}: {error}"), ExitCode.TRY_AGAIN


def _read(input_type: type[Input]) -> Input:
    text = os.environ.get(INPUT_VARIABLE)
    if text is None:
        raise BadInput(
            Reason.BAD_INPUT, f"the environment variable {INPUT_VARIABLE} is missing; it holds the input document"
        )
    try:
        return input_type.model_validate_json(text)
    except ValidationError as error:
        raise BadInput(Reason.BAD_INPUT, f"{INPUT_VARIABLE} is not a valid {input_type.__name__}: {error}") from error


def _failed(reason: Reason, message: str) -> StageResult[Document]:
    return StageResult(error=StageError(reason=reason, message=message))


def encode_result(result: StageResult[Document]) -> bytes:
    """Return the result as UTF-8 JSON of at most RESULT_LIMIT bytes. A message that is too long
    loses its end.

    Raises TryAgain (OutputTooLarge) for an output that is too long, since it cannot be cut.
    """
    raw = _json(result)
    if len(raw) <= RESULT_LIMIT:
        return raw
    if result.error is None:
        raise TryAgain(
            Reason.OUTPUT_TOO_LARGE,
            f"the stage is done, but its output has {len(raw)} bytes, more than {RESULT_LIMIT}; please report this",
        )
    reason, kept = result.error.reason, result.error.message
    while len(raw) > RESULT_LIMIT:
        kept = kept[: max(0, len(kept) * RESULT_LIMIT // len(raw) - len(_CUT))]
        raw = _json(result.model_copy(update={"error": StageError(reason=reason, message=kept + _CUT)}))
    return raw


def _json(result: StageResult[Document]) -> bytes:
    # an output has the fields of its stage, which the envelope does not declare
    return result.model_dump_json(by_alias=True, exclude_none=True, serialize_as_any=True).encode()


def _write(result: bytes) -> None:
    if target := os.environ.get(RESULT_VARIABLE):
        try:
            Path(target).write_bytes(result)
        except OSError as error:
            log.error("cannot write the result to %s: %s", target, error)
            os._exit(TryAgain.code)
    else:
        log.info("result: %s", result.decode())


def _listen_for_stop(*, leave_at_once: bool) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop_requested.set()
        if leave_at_once:
            os._exit(ExitCode.STOPPED)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
