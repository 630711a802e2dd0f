"""Runs of a network that callers share: the steps that wait while a run takes place go together into the next
one, so that the weights are read from memory once for all of them.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Run: TypeAlias = Callable[[Floats, Floats, Floats], Sequence[Floats]]
"""Takes patches `[frames, batch, width]` and the states h and c `[1, batch, units]`, and returns outputs
`[frames, batch, classes]` and both states after the last frame."""

MOST_STREAMS = 16
"""Most steps in one run. More make each of them wait longer and are hardly cheaper."""


@dataclass(eq=False)
class _Step:
    patches: Floats
    h: Floats
    c: Floats
    taken: bool = False
    outputs: tuple[Floats, Floats, Floats] | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.outputs is not None or self.error is not None


@dataclass
class SharedRuns:
    """Runs steps of several streams together. Safe for any number of threads."""

    run: Run
    at_once: int
    """Runs that take place at once, each on one thread."""
    _waiting: list[_Step] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def step(self, patches: Floats, h: Floats, c: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the outputs `[frames, classes]` for patches `[frames, width]` of one stream, and its states.

        The states are meaningless after fewer frames than another step in the run has: only the last
        step of a stream may be shorter than the others. Raises the error of the run.
        """
        step = _Step(patches, h, c)
        with self._changed:
            self._waiting.append(step)
        while not step.done:
            with self._changed:
                self._changed.wait_for(lambda: step.done or (not step.taken and self.at_once > 0))
                if step.done:
                    break
                together, self._waiting = self._waiting[:MOST_STREAMS], self._waiting[MOST_STREAMS:]
                for each in together:
                    each.taken = True
                self.at_once -= 1
            try:
                self._together(together)
            finally:
                with self._changed:
                    self.at_once += 1
                    self._changed.notify_all()
        if step.error is not None:
            raise step.error
        assert step.outputs is not None
        return step.outputs

    def _together(self, steps: Sequence[_Step]) -> None:
        """Run `steps`, and give each its outputs or the error."""
        try:
            frames = max(len(step.patches) for step in steps)
            patches = np.zeros((frames, len(steps), steps[0].patches.shape[1]), np.float32)
            for at, step in enumerate(steps):
                patches[: len(step.patches), at] = step.patches
            h, c = (
                np.concatenate(states, axis=1) for states in zip(*((step.h, step.c) for step in steps), strict=True)
            )
            outputs, h_after, c_after = self.run(patches, h, c)
        except Exception as error:  # noqa: BLE001 - every caller raises it
            for step in steps:
                step.error = error
            return
        for at, step in enumerate(steps):
            step.outputs = outputs[: len(step.patches), at], h_after[:, at : at + 1], c_after[:, at : at + 1]
