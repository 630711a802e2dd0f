"""What /metrics shows."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from speechmodel_inference.decoding_queue import Decoded, DecodingQueue
from speechmodel_inference.lifecycle import Lifecycle
from speechmodel_inference.version import Heard

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""Bucket bounds: a command takes a small model tens of milliseconds, a long recording a large one a minute."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
"""Counted by their names; a client may send any word, and each would be a series for ever."""


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
            "From the first byte to the last.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._waited = Histogram(
            "speechmodel_queue_seconds", "Wait for a decoder.", buckets=SECONDS, registry=self.registry
        )
        self._decoded = Histogram(
            "speechmodel_decoding_seconds", "Reading and decoding a recording.", buckets=SECONDS, registry=self.registry
        )
        self._audio = Counter("speechmodel_audio_seconds", "Seconds of audio transcribed.", registry=self.registry)
        self._info = Gauge(
            "speechmodel_model_info",
            "The served version; always 1.",
            ["name", "version", "language", "sha256"],
            registry=self.registry,
        )
        for metric, text, value in (
            ("speechmodel_ready", "1 when /readyz says so.", lambda: float(lifecycle.problem is None)),
            (
                "speechmodel_requests_in_flight",
                "Transcriptions that upload, wait or decode.",
                lambda: float(queue.taken),
            ),
            ("speechmodel_requests_decoding", "Transcriptions being decoded.", lambda: float(queue.decoding)),
            ("speechmodel_decoders", "Recordings that can be decoded at once.", lambda: float(queue.decoders)),
            (
                "speechmodel_places",
                "Transcriptions in flight beyond which 429 is answered.",
                lambda: float(queue.places),
            ),
        ):
            Gauge(metric, text, registry=self.registry).set_function(value)

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request; `path` is the route's pattern, so that its number stays bounded, and methods not in METHODS are "other"."""
        self._requests.labels(method if method in METHODS else "other", path, str(status)).inc()
        self._latency.labels(path).observe(seconds)

    def transcribed(self, decoded: Decoded[Heard]) -> None:
        """Count a transcription."""
        self._waited.observe(decoded.waited_seconds)
        self._decoded.observe(decoded.decoding_seconds)
        self._audio.inc(decoded.result.audio_seconds)

    def refresh(self) -> None:
        """Before a scrape: the model's labels, once they are known."""
        if self._lifecycle.loaded:
            manifest = self._lifecycle.version.manifest
            self._info.labels(self._name, manifest.version, manifest.language, manifest.model_sha256).set(1)
