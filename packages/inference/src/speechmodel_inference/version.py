"""Load the published version, and verify it with its digests and its self-test clip."""

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError
from speechmodel_api.published import VersionList, VersionManifest
from speechmodel_api.serving_spec import Engine
from speechmodel_api.workspace import ACOUSTIC, GRAMMAR, MODEL, QUANTISED, SCORER, SELFTEST, VERSION, VERSIONS
from speechmodel_decoding.errors import DecodingError
from speechmodel_runtime import load
from speechmodel_runtime.errors import SpeechRuntimeError

from speechmodel_inference.decoders import DecodingOptions, VersionDecoder, open_decoder
from speechmodel_inference.engines import choose_engine
from speechmodel_inference.errors import ModelFolderError
from speechmodel_inference.transcribing import Segment, Transcript, transcribe

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


def load_version(folder: Path, wanted: Engine = Engine.AUTO, *, cpus: int = 1) -> ServedVersion:
    """Return the version that fetch left in `folder`. The engine Native runs its network on at most `cpus`
    threads at once.

    Raises ModelFolderError when a digest or the self-test differs from the evaluation, and when this machine has
    no engine for the version.
    """
    began = time.monotonic()
    manifest = _manifest(folder / VERSION)
    model_path, selftest = folder / MODEL, folder / SELFTEST
    _verify(model_path, manifest.model_sha256)
    _verify(selftest, manifest.selftest_sha256)
    engine = choose_engine(manifest, wanted)
    if engine is Engine.NATIVE:
        assert manifest.native is not None
        _verify(folder / QUANTISED, manifest.native.quantised_sha256)
    elif (scores := manifest.grammar or manifest.rejection) is not None:
        _verify(folder / ACOUSTIC, scores.acoustic_sha256)
    if manifest.scorer is not None:
        _verify(folder / SCORER, manifest.scorer.scorer_sha256)
    if manifest.grammar is not None:
        _verify(folder / GRAMMAR, manifest.grammar.grammar_sha256)
    try:
        decoder = open_decoder(folder, manifest, engine, cpus=cpus)
        heard = decoder.decode(load(selftest, sample_rate=decoder.sample_rate), name=str(selftest)).text
    except (SpeechRuntimeError, DecodingError) as error:
        raise ModelFolderError(f"the model does not run: {error}") from error
    if heard != manifest.selftest_text:
        raise ModelFolderError(
            f"the self-test failed: in {selftest} the model recognised {heard!r}, but {manifest.selftest_text!r} when it was evaluated; "
            f"use the image that evaluated the model, another kind of CPU, or the other engine (serving.settings.engine)"
        )
    took = time.monotonic() - began
    log.info("version %s is ready after %.2f s by the engine %s; self-test: %r", manifest.version, took, engine, heard)
    return ServedVersion(manifest, decoder, engine, int((folder / VERSION).stat().st_mtime), _versions(folder))


def _manifest(path: Path) -> VersionManifest:
    try:
        return VersionManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelFolderError(
            f"{path} cannot be read ({error.strerror}); fetch writes it last, so fetch did not finish"
        ) from error
    except ValidationError as error:
        raise ModelFolderError(f"{path} is not a valid version manifest: {error}") from error


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


def _verify(path: Path, sha256: str) -> None:
    """Check the digest: the runtime loads a model with a damaged weight without an error."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFolderError(
            f"{path} cannot be read ({error.strerror}); fetch the version again (on a cluster: delete the pod)"
        ) from error
    if digest != sha256:
        raise ModelFolderError(
            f"{path} has the sha256 {digest}, not {sha256}; fetch the version again (on a cluster: delete the pod)"
        )
