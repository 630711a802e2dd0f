"""Recordings through the runtime, with a version that was fetched and verified."""

import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speechmodel_runtime import Model, load
from speechmodel_runtime.errors import AudioError, DecodingFailed, SpeechRuntimeError

from speechmodel_cli.errors import CommandError
from speechmodel_cli.local.published import MODEL_FILE, read_manifest

STDERR = 2


@dataclass(frozen=True)
class Heard:
    """One recording."""

    file: Path
    text: str
    """The words; empty when nothing was heard or with an error."""
    error: str | None = None
    """Why it could not be heard."""


def hear(folder: Path, files: Sequence[Path]) -> Iterator[Heard]:
    """What the version in `folder` hears in each file, in their order; decoded on all CPUs, since the runtime releases the GIL.

    Raises CommandError when the model or the runtime's library cannot be loaded.
    """
    beam_width = read_manifest(folder).decoding.beam_width
    try:
        with _without_banner():
            model = Model(folder / MODEL_FILE, beam_width=beam_width)
    except SpeechRuntimeError as error:
        raise CommandError(str(error)) from error
    with model, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(lambda file: _hear(model, file), files)


def _hear(model: Model, file: Path) -> Heard:
    try:
        pcm = load(file, sample_rate=model.info.sample_rate)
        return Heard(file, model.transcribe(pcm, name=str(file)).text)
    except (AudioError, DecodingFailed) as error:
        return Heard(file, "", str(error))


@contextmanager
def _without_banner() -> Iterator[None]:
    """The library greets on standard error when it loads a model; what goes wrong comes as an exception."""
    sys.stderr.flush()
    kept = os.dup(STDERR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
        os.close(nowhere)
