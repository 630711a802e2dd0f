"""Exit codes of the stage programs, which the podFailurePolicy and the retries depend on."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit code of a stage program. The values follow sysexits.h where it has a fitting one."""

    DONE = 0
    """The stage succeeded, and its output document is in the termination log."""
    BAD_INPUT = 64
    """The input document cannot be read. A retry cannot help."""
    BAD_DATA = 65
    """The dataset cannot be used. A retry cannot help until the data or the spec changes."""
    ARTEFACT_MISSING = 66
    """A file of an earlier stage is missing or damaged. That stage runs again."""
    TRY_AGAIN = 75
    """A failure that may pass, such as an unreachable S3 service, a full disk or a newer
    attempt."""
    BAD_CONFIGURATION = 78
    """The combination of settings cannot work. A retry cannot help until the spec changes."""
    STOPPED = 143
    """The program was stopped by SIGTERM and saved its progress."""

    @property
    def final(self) -> bool:
        """True if another run with the same key would end the same way."""
        return self in (ExitCode.BAD_INPUT, ExitCode.BAD_DATA, ExitCode.BAD_CONFIGURATION)
