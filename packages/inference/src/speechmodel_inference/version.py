"""The published version in the model folder: read, verified and loaded, and tried on its self-test clip."""

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError
from speechmodel_api.stages import VersionManifest
from speechmodel_runtime import Model, Pcm, load, seconds
from speechmodel_runtime.errors import SpeechRuntimeError

from speechmodel_inference.errors import ClientLeft, ModelFolderError

log = logging.getLogger(__name__)

PIECE = 16_000
"""Samples fed to the decoder at once: after each it looks whether the client is still there."""


@dataclass(frozen=True)
class Heard:
    """What was said in a recording."""

    text: str
    audio_seconds: float


@dataclass(frozen=True)
class ServedVersion:
    """A version that heard its self-test clip."""

    manifest: VersionManifest
    model: Model
    fetched_at: int
    """Unix seconds."""

    def transcribe(self, file: BinaryIO, *, name: str, max_seconds: float, abandoned: threading.Event) -> Heard:
        """The words in an audio file of any format that libsndfile reads.

        Raises AudioError or DecodingFailed of the runtime, and ClientLeft soon after `abandoned` is set.
        """
        pcm = load(file, name=name, max_seconds=max_seconds, sample_rate=self.model.info.sample_rate)
        text = hear(self.model, pcm, name=name, abandoned=abandoned)
        return Heard(text, seconds(len(pcm), sample_rate=self.model.info.sample_rate))


def hear(model: Model, pcm: Pcm, *, name: str, abandoned: threading.Event) -> str:
    """The words in `pcm`; the same as Model.transcribe, but it can be given up on the way (ClientLeft)."""
    model.require_window(len(pcm), name)
    with model.stream() as stream:
        for start in range(0, len(pcm), PIECE):
            if abandoned.is_set():
                raise ClientLeft
            stream.feed(pcm[start : start + PIECE])
        return stream.finish(name=name).text


def load_version(folder: Path) -> ServedVersion:
    """The version that fetch left in `folder`, its digests verified and its self-test clip heard as when it was evaluated.

    Raises ModelFolderError.
    """
    began = time.monotonic()
    manifest = _manifest(folder / "version.json")
    model_path, selftest = folder / "output_graph.pbmm", folder / "selftest.wav"
    _verify(model_path, manifest.model_sha256)
    _verify(selftest, manifest.selftest_sha256)
    try:
        model = Model(model_path, beam_width=manifest.decoding.beam_width)
        heard = hear(
            model, load(selftest, sample_rate=model.info.sample_rate), name=str(selftest), abandoned=threading.Event()
        )
    except SpeechRuntimeError as error:
        raise ModelFolderError(f"the model does not run: {error}") from error
    if heard != manifest.selftest_text:
        raise ModelFolderError(
            f"the self-test failed: in {selftest} the model heard {heard!r}, but {manifest.selftest_text!r} when it was evaluated; "
            f"the server's image and the one that evaluated differ, or this machine's CPU computes otherwise"
        )
    log.info("version %s is ready after %.2f s: it heard %r", manifest.version, time.monotonic() - began, heard)
    return ServedVersion(manifest, model, int((folder / "version.json").stat().st_mtime))


def _manifest(path: Path) -> VersionManifest:
    try:
        return VersionManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelFolderError(
            f"{path} cannot be read ({error.strerror}); fetch writes it last, so fetch did not finish"
        ) from error
    except ValidationError as error:
        raise ModelFolderError(f"{path} is no version manifest: {error}") from error


def _verify(path: Path, sha256: str) -> None:
    """The runtime loads a model with a damaged weight without a word, so the bytes must be those that were published."""
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
