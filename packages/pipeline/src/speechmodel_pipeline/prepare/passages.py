"""The speech in recordings of other speech, which may be hours long and begin with silence.

A recording is decoded in blocks of about a second, so its length costs no memory, and the speech detector
hears no more of it than is used.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_decoding import Cutter
from speechmodel_runtime import Pcm, read_pcm
from speechmodel_runtime.errors import AudioError
from speechmodel_runtime.readers import open_reader

HEARD_SECONDS = 3600.0
"""Seconds of a recording that are used at most."""


@dataclass(frozen=True)
class Slot:
    """A stretch of a recording from which one passage is taken."""

    start: float
    """Seconds."""
    end: float
    """Seconds."""
    samples: int
    """Length of the passage."""


def heard_seconds(path: Path, name: str) -> float:
    """Return the length of a recording, at most HEARD_SECONDS, by its header if that says it. It is 0 for a file that
    cannot be read, which is reported when it is.
    """
    try:
        with path.open("rb") as file:
            reader = open_reader(file, name)
            rate, frames = reader.header.sample_rate, reader.header.announced_frames
            if frames is None or not reader.reaches(min(frames, int(HEARD_SECONDS * rate)) - 1):
                frames = 0
                for block in reader.blocks():
                    frames += len(block)
                    if frames >= HEARD_SECONDS * rate:
                        break
            return min(frames / rate, HEARD_SECONDS)
    except (OSError, AudioError, ZeroDivisionError):
        return 0


def passages(path: Path, name: str, slots: Sequence[Slot]) -> Iterator[Pcm]:
    """Yield the first speech of each slot, which are in the order of time. It is shorter than the slot's passage, or empty,
    where there is too little of it.

    Raises AudioError, also after some passages.
    """
    with read_pcm(path, name=name) as reader:
        blocks = _Clock(reader.blocks())
        for slot in slots:
            for _ in blocks.until(slot.start):
                pass
            yield speech_in(blocks.until(slot.end), slot.samples)


def excerpt(pcm: Pcm, samples: int, seed: str) -> Pcm:
    """Return speech of at most this length from a place that the seed draws. It is empty when nobody speaks."""
    start = random.Random(seed).randrange(len(pcm))  # noqa: S311 - no secret
    parts = (pcm[start:], pcm[:start])
    return speech_in(chain.from_iterable(_blocks(part) for part in parts), samples)


def speech_in(blocks: Iterator[Pcm], samples: int) -> Pcm:
    """Return the first speech in the blocks without its pauses, at most this length."""
    cutter = Cutter()
    found: list[Pcm] = [np.zeros(0, np.int16)]
    for block in blocks:
        found += (utterance.pcm for utterance in cutter.feed(block))
        if samples <= sum(map(len, found)) + cutter.samples:
            break
    found += (utterance.pcm for utterance in cutter.finish())
    spoken: Pcm = np.concatenate(found)[:samples]
    return spoken


class _Clock:
    """Counts the samples of the blocks that were taken."""

    def __init__(self, blocks: Iterator[Pcm]) -> None:
        self._blocks, self._samples = blocks, 0

    def until(self, end: float) -> Iterator[Pcm]:
        """Yield the next blocks that begin before `end`, in seconds."""
        while self._samples < end * SAMPLE_RATE and (block := next(self._blocks, None)) is not None:
            self._samples += len(block)
            yield block


def _blocks(pcm: Pcm) -> Iterator[Pcm]:
    yield from (pcm[start : start + SAMPLE_RATE] for start in range(0, len(pcm), SAMPLE_RATE))
