"""Run a program that is killed when the process that started it ends: `python -I -S leash.py PARENT PROGRAM ARGUMENT...`.

The kernel does it (PR_SET_PDEATHSIG, prctl(2)), so it also happens when the parent is killed by SIGKILL. This is a program of
its own, because code between fork and exec is unsafe in a process with threads. It uses the standard library only and starts
in 20 ms.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def leashed(program: Sequence[str]) -> list[str]:
    """Return the command line that runs `program` until this process or the thread that starts it ends."""
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), *program]


def main() -> None:
    """Become the program, or end with 137 when the parent has ended already."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit(128 + signal.SIGKILL)
    os.execvp(program[0], program)  # noqa: S606 - a list, from the engine


if __name__ == "__main__":
    main()
