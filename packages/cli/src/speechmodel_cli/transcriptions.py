"""Transcriptions of recordings, by a published version on this machine or by a server."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from speechmodel_api.serving_spec import Engine

from speechmodel_cli.errors import CommandError
from speechmodel_cli.local.published import read_manifest

if TYPE_CHECKING:
    from speechmodel_inference.openai_types import VerboseTranscription

STDERR = 2
STANDARD_INPUT = Path("-")
ALTERNATIVES = 3
"""Most candidates of a transcription with a grammar."""


@dataclass(frozen=True)
class Transcription:
    """The transcription of one recording, or the reason for its absence."""

    file: Path
    answer: "VerboseTranscription | None" = None
    """The transcription as a server answers it. None after an error."""
    error: str | None = None
    """The reason why there is no transcription."""

    @property
    def text(self) -> str:
        """The words. Empty for silence, for anything that is not in the grammar, and after an error."""
        return self.answer.text if self.answer else ""


def transcribe_here(version_folder: Path, files: Sequence[Path], wanted: Engine) -> Iterator[Transcription]:
    """Transcribe files in their order with a fetched version, on all CPUs: libdeepspeech and ONNX Runtime release the GIL.

    The engine is the one that a server with `wanted` chooses. Raises CommandError when the model or the runtime's
    library cannot be loaded.
    """
    from speechmodel_decoding.errors import DecodingError
    from speechmodel_inference.decoders import DecodingOptions, open_decoder
    from speechmodel_inference.engines import choose_engine
    from speechmodel_inference.errors import ModelFolderError
    from speechmodel_inference.openai_types import VerboseTranscription
    from speechmodel_inference.transcribing import transcribe as transcribe_recording
    from speechmodel_runtime.errors import SpeechRuntimeError

    options = DecodingOptions(alternatives=ALTERNATIVES)
    manifest = read_manifest(version_folder)
    cpus = len(os.sched_getaffinity(0))
    try:
        with _without_banner():
            decoder = open_decoder(version_folder, manifest, choose_engine(manifest, wanted), cpus=cpus)
    except (SpeechRuntimeError, DecodingError, ModelFolderError) as error:
        raise CommandError(str(error)) from error

    def transcribe(file: Path) -> Transcription:
        try:
            transcript = transcribe_recording(
                _content(file), decoder, speech_level=manifest.speech_level, name=str(file), options=options
            )
            return Transcription(file, VerboseTranscription.of(transcript, manifest.language))
        except (SpeechRuntimeError, DecodingError) as error:
            return Transcription(file, error=str(error))

    with decoder, ThreadPoolExecutor(cpus) as pool:
        yield from pool.map(transcribe, files)


def transcribe_by_server(url: str, files: Sequence[Path]) -> Iterator[Transcription]:
    """Transcribe files in their order with a server. Raises CommandError when it does not answer."""
    import httpx
    from speechmodel_inference.openai_types import VerboseTranscription

    address = f"{url.rstrip('/')}/v1/audio/transcriptions"
    form = {"response_format": "verbose_json", "alternatives": str(ALTERNATIVES)}
    with httpx.Client(timeout=httpx.Timeout(300, connect=10)) as client:
        for file in files:
            try:
                with _content(file).open("rb") as content:
                    answer = client.post(address, files={"file": (file.name, content)}, data=form)
            except OSError as error:
                yield Transcription(file, error=f"{file}: cannot be read: {error.strerror}")
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise CommandError(f"{address} does not answer: {error}; check that the server is running") from error
            else:
                if not answer.is_success:
                    refusal = f"{file}: {address} answered {answer.status_code}: {_message(answer.text.strip())}"
                    yield Transcription(file, error=refusal)
                    continue
                try:
                    yield Transcription(file, VerboseTranscription.model_validate_json(answer.content))
                except ValidationError as error:
                    raise CommandError(
                        f"{address} is not a server of this release: {_message(answer.text)}; check the URL"
                    ) from error


def _content(file: Path) -> Path:
    """Return the path to read: the standard input for `-`."""
    return Path("/dev/stdin") if file == STANDARD_INPUT else file


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
