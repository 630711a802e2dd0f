"""Runs of a network that streams share: the frames that wait while a run takes place go together into the next
one, so that the weights are read from memory once for all of them.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
Run: TypeAlias = Callable[[Floats, Floats, Floats], Sequence[Floats]]
"""Takes patches `[frames, batch, width]` and the states h and c `[1, batch, units]`, and returns outputs
`[frames, batch, classes]` and both states after the last frame."""

BLOCK = 50
"""Frames of each stream in a run, 1 s, after which others can join or leave."""
FIRST_BLOCK = 25
"""The same for the first run of a stream that is alone, so that those which begin at the same time join it soon."""
ALONE_BLOCK = 75
"""The same for its other runs: a command of 2 s has two."""
MOST_STREAMS = 16
"""Most streams in one run. More make each of them wait longer and are hardly cheaper."""
ENOUGH_BESIDE = 4
"""Streams that are always enough for a run beside another one. A run with fewer costs nearly as much as one with all of
them."""


@dataclass(eq=False)
class _Stream:
    patches: Floats
    h: Floats
    c: Floats
    begun: int = 0
    """Frames that were run, or are in a run."""
    outputs: deque[Floats] = field(default_factory=deque)
    error: BaseException | None = None
    left: bool = False
    """True when nobody reads the outputs any more."""

    @property
    def waits(self) -> bool:
        """True if it has frames for the next run, once its last one is over."""
        return self.begun < len(self.patches) and self.error is None and not self.left


@dataclass
class SharedRuns:
    """Runs the frames of several streams together. Safe for any number of threads.

    After a run, its streams wait for the next one, whether or not their outputs were read: streams that shared a run
    share the next one too.
    """

    run: Run
    at_once: int
    """Most runs that take place at once, each on one thread."""
    _running: list[int] = field(default_factory=list)
    """Streams of each run that takes place."""
    _waiting: list[_Stream] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise ValueError("at_once must be 1 or more")

    def outputs(self, patches: Floats, h: Floats, c: Floats) -> Generator[Floats]:
        """Yield the outputs `[frames, classes]` for patches `[frames, width]` of one stream, in blocks.

        The caller runs the network for the streams that wait, while its own is one of them. Raises the error of a run.
        """
        if not len(patches):
            return
        stream, read = _Stream(patches, h, c), 0
        with self._changed:
            self._waiting.append(stream)
            self._changed.notify_all()  # there may be enough for a run beside another one
        try:
            while read < len(patches):
                frames = self._next(stream)
                read += len(frames)
                yield frames
        finally:
            with self._changed:
                stream.left = True
                if stream in self._waiting:
                    self._waiting.remove(stream)

    def _next(self, stream: _Stream) -> Floats:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: stream.outputs or stream.error or (stream in self._waiting and self._may_run())
                )
                if stream.outputs:
                    return stream.outputs.popleft()
                if stream.error is not None:
                    raise stream.error
                most = min(max(self._fair_share(), ENOUGH_BESIDE), MOST_STREAMS)
                together, self._waiting = self._waiting[:most], self._waiting[most:]
                self._running.append(len(together))
            try:
                self._together(together)
            finally:
                with self._changed:
                    self._running.remove(len(together))
                    self._waiting += [each for each in together if each.waits]
                    self._changed.notify_all()

    def _may_run(self) -> bool:
        """Return True when the streams that wait may have a run: any of them alone, and a fair share beside another run."""
        enough = min(self._fair_share(), ENOUGH_BESIDE) if self._running else 1
        return len(self._running) < self.at_once and len(self._waiting) >= enough

    def _fair_share(self) -> int:
        """Return the streams of each run if as many as allowed took place at once, rounded up."""
        return -(-(len(self._waiting) + sum(self._running)) // self.at_once)

    def _together(self, streams: Sequence[_Stream]) -> None:
        """Run the next frames of each stream, and give it the outputs or the error.

        A stream with fewer frames left than others has zeros after them. Its states are then meaningless, and not needed.
        """
        most = BLOCK
        if len(streams) == 1:
            most = ALONE_BLOCK if streams[0].begun else FIRST_BLOCK
        blocks = [stream.patches[stream.begun : stream.begun + most] for stream in streams]
        for stream, block in zip(streams, blocks, strict=True):
            stream.begun += len(block)
        try:
            patches = np.zeros((max(map(len, blocks)), len(blocks), blocks[0].shape[1]), np.float32)
            for at, block in enumerate(blocks):
                patches[: len(block), at] = block
            h = np.concatenate([stream.h for stream in streams], axis=1)
            c = np.concatenate([stream.c for stream in streams], axis=1)
            outputs, h_after, c_after = self.run(patches, h, c)
            parts = [outputs[: len(block), at] for at, block in enumerate(blocks)]
            states = [(h_after[:, at : at + 1], c_after[:, at : at + 1]) for at in range(len(blocks))]
        except BaseException as error:
            for stream in streams:
                stream.error = error
            if not isinstance(error, Exception):  # such as Ctrl-C, which is this thread's own
                raise
            return
        for stream, part, state in zip(streams, parts, states, strict=True):
            stream.outputs.append(part)
            stream.h, stream.c = state
