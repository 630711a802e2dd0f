"""The files of a fetched version. Each is locked for as long as the server runs, because fetch removes files from a cache
that no server has locked.

Their digests were compared by fetch. Files that changed since, or that fetch did not record, are compared again, in threads
while the server imports and loads its parts: without the instructions for SHA-256 that newer processors have, a large model
takes half a second.
"""

import fcntl
import hashlib
import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError
from speechmodel_api.published import VersionManifest
from speechmodel_api.serving_spec import Engine
from speechmodel_api.workspace import ACOUSTIC, GRAMMAR, MODEL, QUANTISED, SCORER, SELFTEST, VERSION
from speechmodel_stagekit.locks import lock
from speechmodel_stagekit.verified import VerifiedFiles, read_verified

from speechmodel_inference.engines import choose_engine
from speechmodel_inference.errors import ModelFolderError, NoEngine

log = logging.getLogger(__name__)

LOCK_SECONDS = 10.0
"""Longest wait for a lock. A pod that looks for unused files holds it for a moment."""


@dataclass(frozen=True)
class OpenedVersion:
    """The files of a version, and the comparisons of their digests."""

    manifest: VersionManifest
    engine: Engine
    """DeepSpeech or Native."""
    _digests: Mapping[str, Future[None]]
    _locked: tuple[BinaryIO, ...]
    """Every file that fetch left, also those that this engine does not read. They are never closed."""

    def verify(self, *, weights: bool = True) -> None:
        """Wait until the digest of each file is compared, without `weights` those beside output_graph.pbmm.

        Raises ModelFolderError when one differs.
        """
        for name, digest in self._digests.items():
            if weights or name != MODEL:
                digest.result()


class VersionFiles:
    """The version that fetch left in a folder."""

    def __init__(self, folder: Path, wanted: Engine = Engine.AUTO, *, cpus: int = 1) -> None:
        """Begin to read the files that the engine needs, in at most `cpus` threads. Errors come later."""
        self.folder = folder
        threads = ThreadPoolExecutor(cpus, thread_name_prefix="digest")
        self._opened = threads.submit(_open, folder, wanted, threads)

    def require_engine(self) -> None:
        """Wait for the manifest. Raises NoEngine when no engine for the version runs on this machine."""
        error = self._opened.exception()
        if isinstance(error, NoEngine):
            raise error

    def opened(self) -> OpenedVersion:
        """Wait for the manifest. Raises ModelFolderError when it cannot be used, or no engine can run the version."""
        return self._opened.result()


def _open(folder: Path, wanted: Engine, threads: ThreadPoolExecutor) -> OpenedVersion:
    manifest = _manifest(folder / VERSION)
    engine = choose_engine(manifest, wanted)
    needed = _needed(manifest, engine)
    locked = tuple(_locked(folder, manifest))
    known = read_verified(folder)
    digests = {name: threads.submit(_verify, folder / name, sha256, known) for name, sha256 in needed.items()}
    return OpenedVersion(manifest, engine, digests, locked)


def _locked(folder: Path, manifest: VersionManifest) -> Iterator[BinaryIO]:
    """Yield the files, locked. A file that is missing is reported when its digest is compared."""
    for name in (file.name for file in manifest.files):
        try:
            file = (folder / name).open("rb")
            lock(file, fcntl.LOCK_SH, LOCK_SECONDS)
        except OSError as error:
            if (folder / name).is_symlink():
                log.warning("%s is not locked, so another pod may remove it from the cache: %s", folder / name, error)
        else:
            yield file


def _needed(manifest: VersionManifest, engine: Engine) -> dict[str, str]:
    """Return the sha256 of each file that an engine reads, by name, the largest last."""
    files = {SELFTEST: manifest.selftest_sha256}
    if manifest.scorer is not None:
        files[SCORER] = manifest.scorer.scorer_sha256
    if manifest.grammar is not None:
        files[GRAMMAR] = manifest.grammar.grammar_sha256
    if engine is Engine.NATIVE and not manifest.embedded:
        assert manifest.native is not None
        files[QUANTISED] = manifest.native.quantised_sha256
    elif (scores := manifest.grammar or manifest.rejection) is not None:
        files[ACOUSTIC] = scores.acoustic_sha256
    elif manifest.confidence is not None and manifest.confidence.quantised_sha256 is not None:
        files[QUANTISED] = manifest.confidence.quantised_sha256
    files[MODEL] = manifest.model_sha256
    return files


def _manifest(path: Path) -> VersionManifest:
    try:
        return VersionManifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ModelFolderError(
            f"{path} cannot be read ({error.strerror}); fetch writes it last, so fetch did not finish"
        ) from error
    except ValidationError as error:
        raise ModelFolderError(f"{path} is not a valid version manifest: {error}") from error


def _verify(path: Path, sha256: str, known: VerifiedFiles) -> None:
    """Check the digest: the runtime loads a model with a damaged weight without an error."""
    try:
        with path.open("rb") as file:
            if known.knows(path.name, file, sha256):
                return
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFolderError(
            f"{path} cannot be read ({error.strerror}); fetch the version again (on a cluster: delete the pod)"
        ) from error
    if digest != sha256:
        raise ModelFolderError(
            f"{path} has the sha256 {digest}, not {sha256}; fetch the version again (on a cluster: delete the pod)"
        )
