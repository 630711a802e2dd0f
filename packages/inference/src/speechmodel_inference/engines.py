"""The engine of a version: DeepSpeech, which is libdeepspeech in free text, or Native, a quantised network."""

import logging
import platform

from speechmodel_api.published import VersionManifest
from speechmodel_api.serving_spec import Engine

from speechmodel_inference.errors import NoEngine

log = logging.getLogger(__name__)

_WITH_LIBRARY = ("x86_64", "AMD64")
"""Machines that libdeepspeech was built for."""
_MOVE = "serve the version on x86-64 nodes (serving.podTemplate.nodeSelector: {kubernetes.io/arch: amd64})"


def choose_engine(manifest: VersionManifest, wanted: Engine) -> Engine:
    """Return DeepSpeech or Native for a version on this machine. A version that Native cannot decode falls back to
    DeepSpeech, with a warning if Native was asked for.

    For a grammar that the phrase network decodes, both are the same, and Auto is Native.

    Raises NoEngine for free text that only libdeepspeech decodes, or is to decode, on a machine that it does not run on.
    """
    machine = platform.machine()
    without_library = machine not in _WITH_LIBRARY and manifest.grammar is None
    if manifest.embedded:
        return Engine.NATIVE if wanted is Engine.AUTO else wanted
    native = manifest.native
    if native is None:
        if without_library:
            raise NoEngine(
                f"version {manifest.version} {_reason(manifest)}, and libdeepspeech does not run on {machine}; {_MOVE}"
            )
        if wanted is Engine.NATIVE:
            log.warning("version %s %s; the engine is DeepSpeech", manifest.version, _reason(manifest))
        return Engine.DEEP_SPEECH
    if wanted is Engine.DEEP_SPEECH and without_library:
        raise NoEngine(
            f"the engine DeepSpeech is set, and libdeepspeech does not run on {machine}; "
            f"set serving.settings.engine to Auto or Native, or {_MOVE}"
        )
    if wanted is not Engine.AUTO:
        return wanted
    if native.differences == 0:
        return Engine.NATIVE
    counted = (
        f"Native answers {native.differences} of {native.clips} test clips of version {manifest.version} differently"
    )
    if without_library:
        log.warning("%s, but libdeepspeech does not run on %s; the engine is Native", counted, machine)
        return Engine.NATIVE
    log.info("%s; the engine is DeepSpeech", counted)
    return Engine.DEEP_SPEECH


def _reason(manifest: VersionManifest) -> str:
    """Return the reason why a version has no network for Native, as the end of a sentence."""
    if manifest.scorer is not None:
        return "has a scorer, which only libdeepspeech decodes with"
    return "was published without a network for the engine Native (another training.hyperparameters.seed trains one)"
