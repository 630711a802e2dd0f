"""Read the settings, run the server and return its exit code."""

import gc
import logging
import os
import socket
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.log_format import set_up_program_logging
from speechmodel_api.tracing import end_tracing, set_up_tracing
from speechmodel_stagekit.cpus import available_cpus

from speechmodel_inference.errors import CannotListen, NoEngine
from speechmodel_inference.listening import listening_socket
from speechmodel_inference.settings import PREFIX, Settings, unknown_variables
from speechmodel_inference.version_files import VersionFiles
from speechmodel_inference.wording import problem

log = logging.getLogger(__name__)

LONGEST_REPORT = 1000
"""Characters of a report in a pod's status, which holds 4096 bytes."""
_IN_POD = "KUBERNETES_SERVICE_HOST"
"""A variable of every container in a pod."""


def run() -> ExitCode:
    """Serve until SIGTERM and return 0.

    Returns 78, with a sentence on stderr for each, when settings cannot work, or when no engine for the version runs
    on this machine. In a pod, they are also written to the pod's status.
    """
    try:
        settings = _settings()
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return _refused(str(error))
    set_up_program_logging(settings.log_level, sys.stderr)
    if settings.log_level == "DEBUG":  # it would log every header of a WebSocket, with the API key
        logging.getLogger("uvicorn.error").setLevel(logging.INFO)
    try:
        # before the version is loaded: the program could not end until that is done
        with listening_socket(settings.listen) as listening, _listening_for_wyoming(settings) as wyoming:
            _serve(settings, listening, wyoming)
    except (CannotListen, NoEngine) as error:
        log.error("%s", error)
        return _refused(str(error))
    return ExitCode.DONE


def _listening_for_wyoming(settings: Settings) -> AbstractContextManager[socket.socket | None]:
    return listening_socket(settings.wyoming_listen) if settings.wyoming_listen else nullcontext()


def _serve(settings: Settings, listening: socket.socket, wyoming: socket.socket | None) -> None:
    """Load the version and serve it. Raises NoEngine."""
    files = VersionFiles(settings.folder, settings.engine, cpus=available_cpus())
    from speechmodel_inference.lifecycle import Lifecycle  # meanwhile, the manifest is read

    lifecycle = Lifecycle(files)
    lifecycle.begin()
    from speechmodel_inference.server import serve  # meanwhile, the model is loaded and decodes its self-test clip

    gc.enable()
    set_up_tracing("speechmodel-server")
    try:
        files.require_engine()
        serve(settings, lifecycle, listening, wyoming)
    finally:
        end_tracing()


def _settings() -> Settings:
    """Return the settings of the environment. Raises ValueError with a line for each that cannot work."""
    if unknown := unknown_variables(os.environ):
        raise ValueError("\n".join(f"{each}: no setting has this name; {_instead(each)}" for each in unknown))
    try:
        settings = Settings()
    except ValidationError as error:
        lines = (f"{PREFIX}{str(each['loc'][0]).upper()}: {problem(each)}" for each in error.errors())
        raise ValueError("\n".join(lines)) from error
    if missing := settings.missing_paths():
        raise ValueError("\n".join(missing))
    return settings


def _instead(variable: str) -> str:
    """Return the advice about a variable that is no setting."""
    if variable.endswith("_PORT"):
        return f"the addresses and ports are {PREFIX}LISTEN and {PREFIX}WYOMING_LISTEN, such as :9000"
    return "correct or remove it"


def _refused(problem: str) -> ExitCode:
    """Write the problem where the operator reads it, as a stage program does, and return 78."""
    if _IN_POD in os.environ:
        from speechmodel_api.base import Document  # takes longer to import than the settings, and is rarely needed
        from speechmodel_api.reasons import Reason
        from speechmodel_api.stages.contract import TERMINATION_LOG, StageError, StageResult

        message = "; ".join(problem.splitlines())[:LONGEST_REPORT]
        result = StageResult[Document](error=StageError(reason=Reason.INVALID_SERVER_SETTINGS, message=message))
        try:
            Path(TERMINATION_LOG).write_text(result.model_dump_json(by_alias=True, exclude_none=True), encoding="utf-8")
        except OSError as error:
            log.warning("cannot write the problem to the status of the pod: %s", error)
    return ExitCode.BAD_CONFIGURATION
