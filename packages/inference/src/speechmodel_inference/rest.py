"""The parts that only some requests need. They are loaded once the server is ready, so that few requests wait for
them.
"""

import logging

from speechmodel_decoding.speech_detector import SpeechDetector

from speechmodel_inference.languages import is_language

log = logging.getLogger(__name__)


def load_rest(language: str) -> None:
    """Load PyAV, the tables of languages, and the detector of speech. A part that fails is logged, and only
    requests that need it fail.
    """
    for part, load in (
        ("PyAV, for recordings that libsndfile does not read", _load_av),
        ("the tables of languages, for requests that name a language", lambda: is_language("", language)),
        ("the detector of speech, for streams and for long recordings", SpeechDetector),
    ):
        try:
            load()
        except Exception:  # a library may raise anything, and the server serves without the part
            log.exception("cannot load %s; requests that need it fail", part)


def _load_av() -> None:
    import speechmodel_runtime.ffmpeg  # noqa: F401
