"""Read the settings, run the server and return its exit code."""

import gc
import logging
import os
import sys

from pydantic import ValidationError
from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.log_format import set_up_program_logging
from speechmodel_api.tracing import end_tracing, set_up_tracing
from speechmodel_stagekit.cpus import available_cpus

from speechmodel_inference.errors import NoEngine
from speechmodel_inference.settings import PREFIX, Settings, unknown_variables
from speechmodel_inference.version_files import VersionFiles

log = logging.getLogger(__name__)


def run() -> ExitCode:
    """Serve until SIGTERM and return 0.

    Returns 78, with a sentence on stderr for each, when settings cannot work, or when no engine for the version runs
    on this machine.
    """
    if unknown := unknown_variables(os.environ):
        for variable in unknown:
            sys.stderr.write(f"{variable}: no setting has this name; correct or remove it\n")
        return ExitCode.BAD_CONFIGURATION
    try:
        settings = Settings()
    except ValidationError as error:
        for problem in error.errors():
            variable = f"{PREFIX}{str(problem['loc'][0]).upper()}"
            sys.stderr.write(f"{variable}: {problem['msg']}, not {problem['input']!r}\n")
        return ExitCode.BAD_CONFIGURATION
    set_up_program_logging(settings.log_level, sys.stderr)
    files = VersionFiles(settings.folder, settings.engine, cpus=available_cpus())
    from speechmodel_inference.server import serve  # meanwhile, the digests of the files are computed

    gc.enable()
    set_up_tracing("speechmodel-server")
    try:
        files.require_engine()
        serve(settings, files)
    except NoEngine as error:
        log.error("%s", error)
        return ExitCode.BAD_CONFIGURATION
    except OSError as error:
        log.error("cannot listen on %s: %s", settings.listen, error.strerror)
        return ExitCode.BAD_CONFIGURATION
    finally:
        end_tracing()
    return ExitCode.DONE
