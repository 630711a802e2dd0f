"""Transcriptions of recordings, by a published version on this machine or by a server."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.workspace import MODEL

from speechmodel_cli.errors import CommandError
from speechmodel_cli.local.published import read_manifest

STDERR = 2


@dataclass(frozen=True)
class Transcription:
    """The transcription of one recording, or the reason for its absence."""

    file: Path
    text: str = ""
    """The words. Empty for silence and after an error."""
    error: str | None = None
    """The reason why there is no transcription."""


def transcribe_here(version_folder: Path, files: Sequence[Path]) -> Iterator[Transcription]:
    """Transcribe files in their order with a fetched version, on all CPUs because the runtime releases the GIL.

    Raises CommandError when the model or the runtime's library cannot be loaded.
    """
    from speechmodel_runtime import Model, level, load
    from speechmodel_runtime.errors import AudioError, DecodingFailed, SpeechRuntimeError

    manifest = read_manifest(version_folder)
    try:
        with _without_banner():
            model = Model(version_folder / MODEL, beam_width=manifest.decoding.beam_width)
    except SpeechRuntimeError as error:
        raise CommandError(str(error)) from error

    def transcribe(file: Path) -> Transcription:
        try:
            pcm = load(file, sample_rate=model.info.sample_rate)
            levelled = level(pcm, manifest.speech_level)
            return Transcription(file, model.transcribe(levelled, name=str(file)).text)
        except (AudioError, DecodingFailed) as error:
            return Transcription(file, error=str(error))

    with model, ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(transcribe, files)


def transcribe_by_server(url: str, files: Sequence[Path]) -> Iterator[Transcription]:
    """Transcribe files in their order with a server. Raises CommandError when it does not answer."""
    import httpx

    address = f"{url.rstrip('/')}/v1/audio/transcriptions"
    with httpx.Client(timeout=httpx.Timeout(300, connect=10)) as client:
        for file in files:
            try:
                with file.open("rb") as content:
                    answer = client.post(
                        address, files={"file": (file.name, content)}, data={"response_format": "text"}
                    )
            except OSError as error:
                yield Transcription(file, error=f"{file}: cannot be read: {error.strerror}")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise CommandError(f"{address} does not answer: {error}; check that the server is running") from error
            else:
                text = answer.text.strip()
                refusal = f"{file}: {address} answered {answer.status_code}: {_message(text)}"
                yield Transcription(file, text) if answer.is_success else Transcription(file, error=refusal)


def _message(text: str) -> str:
    """Return the message of an OpenAI error document, or the beginning of another answer."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:300]


@contextmanager
def _without_banner() -> Iterator[None]:
    """Hide what the library writes to standard error when it loads a model. Errors come as exceptions."""
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
