"""The metrics that /metrics exports."""

from collections.abc import Sequence
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from speechmodel_inference.decoding_queue import Decoded, DecodingQueue
from speechmodel_inference.errors import RequestError
from speechmodel_inference.lifecycle import Lifecycle
from speechmodel_inference.sockets import FAILED
from speechmodel_inference.transcribing import Transcript

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Bucket bounds: from a command on a small model to a long recording on a large one."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
"""Methods with a series of their own. A client may send any word, and a series is never removed."""

CLOSE_CODES = frozenset(range(1000, 1016))
"""Close codes with a series of their own (RFC 6455, 7.4.1)."""

TRANSCRIPTIONS = frozenset({"/v1/audio/transcriptions", "/stt"})
"""Paths of requests that are answered with the words of a recording."""


class Telemetry:
    """The server's metrics, in a registry of their own."""

    def __init__(self, queue: DecodingQueue, lifecycle: Lifecycle, name: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._lifecycle, self._name = lifecycle, name
        self._requests = Counter(
            "speechmodel_http_requests",
            "Requests by method, path and status.",
            ["method", "path", "status"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "speechmodel_http_request_seconds",
            "Time from the first byte of a request to the last byte of its answer.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._streams = Counter(
            "speechmodel_streams",
            "WebSockets and connections of Wyoming that ended, by path and close code.",
            ["path", "code"],
            registry=self.registry,
        )
        self._refused = Counter(
            "speechmodel_connections_refused",
            "HTTP requests, WebSockets and Wyoming connections refused at the limit of connections.",
            ["protocol"],
            registry=self.registry,
        )
        for protocol in ("http", "websocket", "wyoming"):
            self._refused.labels(protocol)
        transcriptions = Counter(
            "speechmodel_transcriptions",
            "Recordings, and utterances of streams, by outcome: answered, or failed because of the server.",
            ["outcome"],
            registry=self.registry,
        )
        self._transcribed, self._failed = transcriptions.labels("answered"), transcriptions.labels("failed")
        self._waited = Histogram(
            "speechmodel_queue_seconds",
            "Time that a recording waited for a decoder.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._decoded = Histogram(
            "speechmodel_decoding_seconds",
            "Time to read and decode a recording.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self._audio = Counter(
            "speechmodel_audio_seconds",
            "Seconds of recordings, and of utterances of streams, that were transcribed.",
            registry=self.registry,
        )
        self._info = Gauge(
            "speechmodel_model_info",
            "The served version; always 1.",
            ["name", "version", "language", "sha256", "engine"],
            registry=self.registry,
        )
        for metric, text, value in (
            (
                "speechmodel_ready",
                "1 when the server is ready, as in /readyz; else 0.",
                lambda: float(lifecycle.problem is None),
            ),
            (
                "speechmodel_requests_in_flight",
                "Transcriptions that upload, wait or decode.",
                lambda: float(queue.taken),
            ),
            ("speechmodel_requests_decoding", "Transcriptions being decoded.", lambda: float(queue.decoding)),
            ("speechmodel_decoders", "Recordings that can be decoded at once.", lambda: float(queue.decoders)),
            (
                "speechmodel_places",
                "Transcriptions that may be in flight; one more is answered with 429.",
                lambda: float(queue.places),
            ),
        ):
            Gauge(metric, text, registry=self.registry).set_function(value)

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request by the pattern of its route. A method that is not in METHODS is "other"."""
        self._requests.labels(method if method in METHODS else "other", path, str(status)).inc()
        self._latency.labels(path).observe(seconds)
        if path in TRANSCRIPTIONS and _is_failure(status):
            self._failed.inc()

    def stream_ended(self, path: str, code: int) -> None:
        """Count a WebSocket by the pattern of its route. A code that no standard has is "other"."""
        self._streams.labels(path, str(code) if code in CLOSE_CODES else "other").inc()
        if code == FAILED:
            self._failed.inc()

    def refused(self, protocol: Literal["http", "websocket", "wyoming"]) -> None:
        """Count a request or connection that was refused at the limit of connections."""
        self._refused.labels(protocol).inc()

    def failed_within(self, error: RequestError) -> None:
        """Count an error that is sent within an answer or a stream, whose status or close code does not show it."""
        if _is_failure(error.status):
            self._failed.inc()

    def heard(self, seconds: Sequence[float]) -> None:
        """Count the utterances of a stream that were transcribed, by their seconds."""
        self._transcribed.inc(len(seconds))
        self._audio.inc(sum(seconds))

    def transcribed(self, decoded: Decoded[Transcript]) -> None:
        """Count a recording that was transcribed."""
        self._transcribed.inc()
        self._waited.observe(decoded.waited_seconds)
        self._decoded.observe(decoded.decoding_seconds)
        self._audio.inc(decoded.result.audio_seconds)

    def refresh(self) -> None:
        """Set the labels of the model once it is loaded. Call it before a scrape."""
        if self._lifecycle.loaded:
            manifest, engine = self._lifecycle.version.manifest, self._lifecycle.version.engine
            self._info.labels(self._name, manifest.version, manifest.language, manifest.model_sha256, engine).set(1)


def _is_failure(status: int) -> bool:
    """Return True for a status that tells of a fault, and False for 503: the server loads or ends, and is to be asked again."""
    return status >= 500 and status != 503
