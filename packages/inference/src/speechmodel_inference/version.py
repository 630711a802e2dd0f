"""Load the published version, and verify it with its self-test clip."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError
from speechmodel_api.published import VersionList, VersionManifest
from speechmodel_api.serving_spec import Engine
from speechmodel_api.workspace import SELFTEST, VERSION, VERSIONS
from speechmodel_decoding.errors import DecodingError
from speechmodel_runtime import load
from speechmodel_runtime.errors import SpeechRuntimeError

from speechmodel_inference.decoders import DecodingOptions, VersionDecoder, open_decoder
from speechmodel_inference.errors import ModelFolderError
from speechmodel_inference.transcribing import Segment, Transcript, transcribe
from speechmodel_inference.version_files import VersionFiles

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedVersion:
    """A version that passed its self-test."""

    manifest: VersionManifest
    decoder: VersionDecoder
    engine: Engine
    """DeepSpeech or Native."""
    fetched_at: int
    """Time of the fetch, in Unix seconds."""
    versions: VersionList | None
    """The published versions at that time. None if fetch did not list them."""

    def transcribe(
        self,
        file: BinaryIO,
        *,
        name: str,
        max_seconds: float,
        options: DecodingOptions,
        heard: Callable[[Segment], None] = lambda _: None,
    ) -> Transcript:
        """Return the words in an audio file. Raises as transcribe() of transcribing."""
        level = self.manifest.speech_level
        return transcribe(
            file, self.decoder, speech_level=level, name=name, max_seconds=max_seconds, options=options, heard=heard
        )


def load_version(files: VersionFiles, *, cpus: int = 1) -> ServedVersion:
    """Return the version in `files`. The engine Native runs its network on at most `cpus` threads at once.

    Raises ModelFolderError when a digest or the self-test differs from the evaluation, and when this machine has
    no engine for the version.
    """
    began = time.monotonic()
    folder, fetched = files.folder, files.opened()
    manifest, engine = fetched.manifest, fetched.engine
    fetched.verify(weights=engine is Engine.DEEP_SPEECH and manifest.grammar is None)
    try:
        decoder, heard = _self_test(folder, manifest, engine, cpus)
    finally:
        fetched.verify()  # an error here explains that of a self-test with a damaged alphabet
    if heard != manifest.selftest_text:
        raise ModelFolderError(
            f"the self-test failed: in {folder / SELFTEST} the model recognised {heard!r}, but "
            f"{manifest.selftest_text!r} when it was evaluated; "
            f"use the image that evaluated the model, another kind of CPU, or the other engine (serving.settings.engine)"
        )
    took = time.monotonic() - began
    log.info("version %s is ready after %.2f s by the engine %s; self-test: %r", manifest.version, took, engine, heard)
    return ServedVersion(manifest, decoder, engine, int((folder / VERSION).stat().st_mtime), _versions(folder))


def _self_test(folder: Path, manifest: VersionManifest, engine: Engine, cpus: int) -> tuple[VersionDecoder, str]:
    """Return the decoder and the text of the self-test clip. Raises ModelFolderError."""
    try:
        decoder = open_decoder(folder, manifest, engine, cpus=cpus)
        clip = load(folder / SELFTEST, sample_rate=decoder.sample_rate)
        return decoder, decoder.decode(clip, name=str(folder / SELFTEST)).text
    except (SpeechRuntimeError, DecodingError) as error:
        raise ModelFolderError(f"the model does not run: {error}") from error


def _versions(folder: Path) -> VersionList | None:
    try:
        return VersionList.model_validate_json((folder / VERSIONS).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning(
            "%s cannot be read, so it is unknown whose takes are in earlier versions: %s", folder / VERSIONS, error
        )
        return None
