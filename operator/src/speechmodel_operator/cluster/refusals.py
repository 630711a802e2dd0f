"""Writes that the API server rejected. They are not repeated at once while the spec is the same."""

import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from speechmodel_api.reasons import Severity, severity_of

from speechmodel_operator.cluster.errors import Refused

T = TypeVar("T")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 30.0, 1800.0


@dataclass(frozen=True)
class _Refusal:
    status: int
    message: str
    pause: float
    until: float
    """Monotonic time before which the write is not repeated."""


class Refusals:
    """The last rejection of each object of a SpeechModel, by kind and name."""

    def __init__(self) -> None:
        self._refusals: dict[str, _Refusal] = {}
        self._spec: Hashable = None
        """The spec that was rejected. All rejections are forgotten when it changes."""

    async def unless_refused(self, thing: str, spec: Hashable, write: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a write. One that was rejected for the same `spec` raises the same error, without a call, for 30 s,
        doubling up to half an hour. A full quota may have room at any time, so it is always asked again.
        """
        if spec != self._spec:
            self._refusals, self._spec = {}, spec
        known = self._refusals.get(thing)
        if known is not None and time.monotonic() < known.until:
            raise Refused(known.status, known.message)
        try:
            result = await write()
        except Refused as error:
            if severity_of(error.reason) is Severity.ERROR:
                pause = FIRST_PAUSE_SECONDS if known is None else min(2 * known.pause, LONGEST_PAUSE_SECONDS)
                until = time.monotonic() + pause
                self._refusals[thing] = _Refusal(error.status, str(error), pause, until)
            raise
        self._refusals.pop(thing, None)
        return result
