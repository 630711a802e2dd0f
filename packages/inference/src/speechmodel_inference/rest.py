"""The parts that only some requests need. They are loaded once the server is ready, so that no request waits for them."""

import logging

from speechmodel_decoding.speech_detector import SpeechDetector

from speechmodel_inference.languages import is_language

log = logging.getLogger(__name__)


def load_rest(language: str) -> None:
    """Load PyAV, the tables of languages, and the detector of speech. A part that fails is logged; requests that need it
    fail too.
    """
    try:
        import speechmodel_runtime.ffmpeg  # noqa: F401

        is_language("", language)
        SpeechDetector()
    except (ImportError, OSError) as error:
        log.error("recordings that libsndfile does not read, or the field language, cannot be used: %s", error)
