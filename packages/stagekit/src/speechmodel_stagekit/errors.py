"""The ways in which a stage fails. program.py turns each into an exit code and a StageError.

StageFailure                  reason, message, exit code
+-- BadInput           64     the input document cannot be read
+-- BadData            65     the user's data cannot be used
+-- ArtefactMissing    66     a file of an earlier stage is gone or damaged
+-- TryAgain           75     may recover without help
+-- BadConfiguration   78     these settings cannot work
+-- Stopped           143     SIGTERM, everything saved
"""

from typing import ClassVar

from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.reasons import Reason


class StageFailure(Exception):
    """Ends a stage. The message says what happened, to which file or field, and what to do next."""

    code: ClassVar[ExitCode] = ExitCode.TRY_AGAIN

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BadInput(StageFailure):
    """The input document cannot be read."""

    code = ExitCode.BAD_INPUT


class BadData(StageFailure):
    """The user's data cannot be used."""

    code = ExitCode.BAD_DATA


class ArtefactMissing(StageFailure):
    """A file of an earlier stage is gone or damaged. That stage runs again."""

    code = ExitCode.ARTEFACT_MISSING


class TryAgain(StageFailure):
    """The problem may go away without an edit of the spec."""

    code = ExitCode.TRY_AGAIN


class BadConfiguration(StageFailure):
    """These settings cannot work."""

    code = ExitCode.BAD_CONFIGURATION


class Stopped(StageFailure):
    """SIGTERM arrived and everything is saved."""

    code = ExitCode.STOPPED

    def __init__(self, message: str) -> None:
        super().__init__(Reason.STOPPED, message)
