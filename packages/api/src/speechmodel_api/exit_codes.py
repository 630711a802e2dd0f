"""How a stage program ends: the codes that the Jobs' podFailurePolicy and the operator's retries go by."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of the stage programs, after sysexits.h where it has a fitting one."""

    DONE = 0
    """The output document lies in the termination log."""
    BAD_INPUT = 64
    """The input document could not be understood: retrying cannot help."""
    BAD_DATA = 65
    """The user's data cannot be used: retrying cannot help until the data or the spec changes."""
    ARTEFACT_MISSING = 66
    """A file of an earlier stage is gone or damaged: that stage's success is forgotten and it runs again."""
    TRY_AGAIN = 75
    """Something that may heal by itself: S3 unreachable or refusing, disk full, a newer attempt took over."""
    BAD_CONFIGURATION = 78
    """The combination of settings cannot work: retrying cannot help until the spec changes."""
    STOPPED = 143
    """Stopped by SIGTERM with everything saved."""

    @property
    def final(self) -> bool:
        """Whether the same key would end the same way again."""
        return self in (ExitCode.BAD_INPUT, ExitCode.BAD_DATA, ExitCode.BAD_CONFIGURATION)
