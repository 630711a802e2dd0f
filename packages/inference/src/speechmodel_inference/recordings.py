"""Transcribe the recording of a request in a decoder thread, and count it."""

import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace

from speechmodel_api.tracing import span
from speechmodel_decoding.errors import DecodingError
from speechmodel_runtime.errors import SpeechRuntimeError

from speechmodel_inference.decoders import DecodingOptions
from speechmodel_inference.runtime_errors import of_runtime
from speechmodel_inference.services import Services
from speechmodel_inference.transcribing import Segment, Transcript
from speechmodel_inference.upload import Upload
from speechmodel_inference.version import ServedVersion

log = logging.getLogger(__name__)


async def transcribe_upload(
    upload: Upload,
    services: Services,
    version: ServedVersion,
    left: Awaitable[object],
    *,
    options: DecodingOptions = DecodingOptions(),  # noqa: B008 - it is frozen
    heard: Callable[[Segment], None] = lambda _: None,
) -> Transcript:
    """Return the words of a recording. The caller holds a place of the queue.

    `left` completes when the client leaves. `heard` is called in the decoder thread with each segment. Raises
    RequestError, and ClientLeft once the decoder is free.
    """

    def work(abandoned: threading.Event) -> Transcript:
        transcript = version.transcribe(
            upload.audio(),
            name=upload.name,
            max_seconds=services.settings.max_audio_seconds,
            options=replace(options, abandoned=abandoned),
            heard=heard,
        )
        if services.misheard is not None:
            services.misheard.recording(version, upload, transcript)
        return transcript

    with span("transcribe") as found:
        try:
            decoded = await services.queue.run(work, left)
        except (SpeechRuntimeError, DecodingError) as error:
            raise of_runtime(error) from error
        found.describe(
            {
                "speechmodel.audio_seconds": decoded.result.audio_seconds,
                "speechmodel.queue_seconds": decoded.waited_seconds,
                "speechmodel.decoding_seconds": decoded.decoding_seconds,
            }
        )
    services.telemetry.transcribed(decoded)
    log.info(
        "%.2f s of audio, waited %.3f s, decoded in %.3f s",
        decoded.result.audio_seconds, decoded.waited_seconds, decoded.decoding_seconds,
    )  # fmt: skip
    return decoded.result
