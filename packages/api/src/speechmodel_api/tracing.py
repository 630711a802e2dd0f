"""Traces: spans of OpenTelemetry, which a program sends to the collector that the standard variables name.

Without an endpoint in the environment, this module imports nothing of OpenTelemetry, and a span costs a function call.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables with the address of a collector that speaks OTLP over HTTP, such as http://collector:4318."""
PASSED_ON = (*ENDPOINTS, "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")
"""Variables that the operator gives to its pods. Headers are not among them, because they may be secret."""
PARENT = "TRACEPARENT"
"""Variable with the span that a stage program belongs to, as in the header of W3C Trace Context."""
EXPORT_TIMEOUT = "OTEL_BSP_EXPORT_TIMEOUT"
"""Variable with the longest time that the end of a program waits for the collector, in milliseconds."""
FLUSH_SECONDS = 3.0
"""Seconds that it waits if EXPORT_TIMEOUT is not set or is not a number."""

Attributes = Mapping[str, str | int | float]

_provider: "TracerProvider | None" = None


class Span:
    """A span while traces are off. Nothing is recorded."""

    def describe(self, attributes: Attributes) -> None:
        """Add attributes."""

    def fail(self, message: str) -> None:
        """Mark the span as failed."""


class _Recorded(Span):
    def __init__(self, span: "trace.Span") -> None:
        self._span = span

    def describe(self, attributes: Attributes) -> None:
        self._span.set_attributes(attributes)

    def fail(self, message: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.set_status(Status(StatusCode.ERROR, message))


def set_up_tracing(service: str) -> None:
    """Send the spans of this process, if the environment names a collector. `service` is its name unless
    OTEL_SERVICE_NAME gives another one.
    """
    global _provider
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or not any(os.environ.get(name) for name in ENDPOINTS):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    about = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
    _provider = TracerProvider(resource=Resource.create(about), shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))


def provider() -> "TracerProvider | None":
    """Return the provider of the spans of this process, for libraries that record their own; None if it sends none."""
    return _provider


@contextmanager
def span(
    name: str,
    attributes: Attributes | None = None,
    *,
    kind: Literal["INTERNAL", "CLIENT"] = "INTERNAL",
    parent: Mapping[str, str] | None = None,
) -> Iterator[Span]:
    """Record a span while the context lasts. An exception marks it as failed.

    `parent` has the headers of W3C Trace Context of another program, such as traceparent. Without it, the parent is the
    span of this task, if there is one.
    """
    if _provider is None:
        yield Span()
        return
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = None if parent is None else TraceContextTextMapPropagator().extract(parent)
    tracer = _provider.get_tracer("speechmodel")
    with tracer.start_as_current_span(name, context, SpanKind[kind], attributes) as found:
        yield _Recorded(found)


def traceparent() -> str | None:
    """Return the span of this task for another program, or None without one."""
    if _provider is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


def end_tracing() -> None:
    """Send the spans that are left. A collector that does not answer delays the end of the program by at most the time in
    EXPORT_TIMEOUT, or FLUSH_SECONDS without it.
    """
    global _provider
    provider, _provider = _provider, None
    if provider is not None:
        sending = threading.Thread(target=provider.shutdown, name="end of tracing", daemon=True)
        sending.start()
        sending.join(_flush_seconds())


def _flush_seconds() -> float:
    try:
        return int(os.environ[EXPORT_TIMEOUT]) / 1000
    except (KeyError, ValueError):  # the SDK has logged a value that is not a number
        return FLUSH_SECONDS
