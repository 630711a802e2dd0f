"""The time and the processor time that an epoch takes."""

import time

from speechmodel_stagekit.cpus import available_cpus


class Clock:
    """Seconds of a running epoch, interruptions left out."""

    def __init__(self, seconds: float) -> None:
        self._before = seconds
        self._since: float | None = None

    def start(self) -> None:
        """Count the time from now on."""
        self._since = time.monotonic()

    def stop(self) -> None:
        """Count no time until the next start."""
        self._before, self._since = self.seconds, None

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._before + (time.monotonic() - self._since if self._since is not None else 0.0)


class CpuUse:
    """The use of the CPUs that this process may use."""

    def __init__(self) -> None:
        self._cpus = available_cpus()
        self._before: tuple[float, float] | None = None

    def since_last(self) -> float | None:
        """Return the share of the CPUs' time that was used since the last call, from 0 to 1; None at the first one."""
        before, now = self._before, (time.process_time(), time.monotonic())
        self._before = now
        if before is None:
            return None
        used, passed = now[0] - before[0], now[1] - before[1]
        return round(min(used / max(passed, 1e-3) / self._cpus, 1.0), 3)
