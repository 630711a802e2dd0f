"""A collector of traces: it receives OTLP over HTTP, as the programs of every vendor do."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from support.waiting import until

PATIENT = {"OTEL_BSP_EXPORT_TIMEOUT": "600000", "OTEL_EXPORTER_OTLP_TIMEOUT": "600"}
"""The first is in milliseconds, the second in seconds."""


@dataclass(frozen=True)
class Received:
    """A span as it arrived."""

    name: str
    trace: str
    span: str
    parent: str
    kind: str
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector(ThreadingHTTPServer):
    """The server and the spans that it received."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.spans: list[Received] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def variables(self) -> dict[str, str]:
        """Variables of a program that sends its spans here, and waits up to 30 s until they have arrived, as long as the SDK does."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint} | PATIENT

    def until(self, name: str) -> Received:
        """Return the first span of that name once it has arrived."""
        found = until(
            lambda: [span for span in self.spans if span.name == name],
            f"a span {name}",
            moved=lambda: len(self.spans),
            explain=lambda: repr([span.name for span in self.spans]),
            every=0.05,
        )
        return found[0]


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            request = ExportTraceServiceRequest.FromString(body)
            for resource in request.resource_spans:
                about = _values(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self.server.spans += [_received(span, about) for span in scope.spans]
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the parameter
        pass


@contextmanager
def collector() -> Iterator[Collector]:
    """Receive spans while the context lasts."""
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def _received(span: Any, resource: dict[str, Any]) -> Received:
    return Received(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.status.code == span.status.STATUS_CODE_ERROR,
        _values(span.attributes),
        resource,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in attributes}
