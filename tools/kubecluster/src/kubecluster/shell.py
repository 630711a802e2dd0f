"""Run programs, lock files and wait for conditions."""

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import BaseFileLock, FileLock

from kubecluster.errors import CommandFailed, TimedOut

Options = Mapping[str, str | int | Path]  # of a program: a name without dashes -> its value

QUOTED = 2000  # characters of a failing program's output that the error shows
CONTAINED = (
    *("setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"),
)


def run(
    *argv: str | Path,
    check: bool = True,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and capture its output.

    Raises CommandFailed, quoting stderr, when `check` and the program exits with an error.
    """
    done = subprocess.run(
        [str(a) for a in argv],
        input=stdin,
        env=env,
        cwd=cwd,
        text=True,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        check=False,
    )
    if check and done.returncode:
        output = (done.stderr or done.stdout).strip()[-QUOTED:]
        raise CommandFailed(f"{' '.join(map(str, argv))} exited {done.returncode}: {output}")
    return done


def contained(*argv: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a long program that cannot outlive this one, nor leave a process or a mount; return its stdout.

    It gets its own PID and mount namespaces, whose init the kernel kills when this process dies.
    """
    return run(*CONTAINED, *argv, env=env, cwd=cwd).stdout


def locked(path: Path) -> BaseFileLock:
    """Return the lock between processes at `path`; the kernel releases it when its holder ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def wait_for(
    what: str,
    ready: Callable[[], bool],
    seconds: float,
    every: float = 0.1,
    diagnose: Callable[[], str] = lambda: "",
) -> None:
    """Poll `ready` each `every` seconds; raises TimedOut with the text of `diagnose` after `seconds`."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimedOut(f"{what}: not within {seconds:g} s. {diagnose()}".rstrip())
        time.sleep(every)


def tail(log: Path, lines: int = 8) -> str:
    """Return the last lines of a log, below its path."""
    if not log.exists():
        return f"{log}: no such log"
    return f"{log}:\n  " + "\n  ".join(log.read_text(errors="replace").splitlines()[-lines:])


def flags(options: Options) -> list[str]:
    """Spell options as Go's flag parsers know them: {"a-b": True} gives ["--a-b=true"]."""
    return [f"--{k}={str(v).lower() if isinstance(v, bool) else v}" for k, v in options.items()]
