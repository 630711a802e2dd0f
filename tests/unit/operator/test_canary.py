"""The servers of a canary as the operator reads them: their metrics, their pods and their crashes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from speechmodel_api.status import CanaryServer
from speechmodel_inference.decoding_queue import Decoded, DecodingQueue
from speechmodel_inference.errors import BadRequest, RequestError, ShuttingDown
from speechmodel_inference.lifecycle import Lifecycle
from speechmodel_inference.telemetry import Telemetry
from speechmodel_inference.transcribing import Transcript
from speechmodel_inference.version_files import VersionFiles
from speechmodel_operator.cluster.canary import Unreadable, canary_pods, counts_in, read_canary
from speechmodel_operator.cluster.views import Deployment, Pod

NOW = datetime(2026, 1, 1, tzinfo=UTC)
START = "process_start_time_seconds 1.7e+09\n"


def metrics_of_a_server() -> str:
    """Return what a real server reports after some requests."""
    queue = cast(DecodingQueue, SimpleNamespace(taken=0, decoding=0, decoders=1, places=2))
    telemetry = Telemetry(queue, Lifecycle(VersionFiles(Path("/models"))), "espejo")
    transcriptions = "/v1/audio/transcriptions"
    telemetry.transcribed(Decoded(Transcript(1.0, ()), 0.0, 0.1))
    telemetry.heard([1.0] * 9)
    for method, path, status, times in (
        ("POST", transcriptions, 200, 1),
        ("POST", transcriptions, 400, 2),
        ("POST", transcriptions, 429, 3),
        ("POST", transcriptions, 499, 1),
        ("POST", transcriptions, 500, 4),
        ("POST", "/stt", 500, 1),
        ("POST", "/stt", 503, 8),
        ("POST", "/v1/takes", 507, 6),
        ("POST", "/v1/misheard/{clip}/take", 507, 6),
        ("POST", "none", 404, 9),
        ("GET", "/metrics", 200, 99),
        ("GET", "/", 500, 7),
    ):
        for _ in range(times):
            telemetry.answered(method, path, status, 0.1)
    for code, times in ((1000, 5), (1011, 2), (1013, 1)):
        for _ in range(times):
            telemetry.stream_ended("/vosk", code)
    for error in (RequestError("a fault"), ShuttingDown(), BadRequest("too short")):
        telemetry.failed_within(error)
    return generate_latest(telemetry.registry).decode()


def test_transcriptions_count_and_those_fail_that_the_server_could_not_make() -> None:
    found = counts_in("espejo-canary-1", metrics_of_a_server())
    assert (found.pod, found.requests, found.failed) == ("espejo-canary-1", 10 + 8, 5 + 2 + 1)
    assert abs(datetime.fromtimestamp(found.process_start, UTC) - datetime.now(UTC)) < timedelta(days=1)


@pytest.mark.parametrize(
    "text", ["<html>not metrics</html>", "", "speechmodel_transcriptions_total 1\n", START, "a{ 1\n"]
)
def test_an_answer_that_is_not_of_a_server_is_reported(text: str) -> None:
    with pytest.raises(Unreadable):
        counts_in("pod", text)


@given(st.text() | st.text(st.sampled_from('speechmodel_transcriptions_total{outcome="failed"}=, 1NaN\n')))
def test_no_answer_breaks_the_operator(text: str) -> None:
    with suppress(Unreadable):
        counts_in("pod", text)


def deployment(version: str = "v2", ready: int = 1) -> Deployment:
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready}
    template = {"metadata": {"labels": {"speechops.dev/version": version}}}
    metadata = {"name": "espejo-canary", "generation": 1}
    return Deployment.read({"metadata": metadata, "spec": {"replicas": 1, "template": template}, "status": status})


def pod(name: str, port: int, *, version: str = "v2", stage: str = "canary", **status: Any) -> Pod:
    labels = {"speechops.dev/stage": stage, "speechops.dev/version": version}
    container = {"name": "server", "ports": [{"name": "http", "containerPort": port}]}
    ready = [{"type": "Ready", "status": "True"}]
    found = {"phase": "Running", "podIP": "127.0.0.1", "conditions": ready} | status
    metadata = {"name": name, "labels": labels, "creationTimestamp": NOW.isoformat()}
    return Pod.read({"metadata": metadata, "spec": {"containers": [container]}, "status": found})


@contextmanager
def server(body: str, status: int = 200) -> Iterator[int]:
    """A server that answers with this body; gives its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/metrics" else 404)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the parameter
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        Thread(target=httpd.serve_forever, daemon=True).start()
        yield httpd.server_port
        httpd.shutdown()


async def test_every_pod_of_the_version_is_read() -> None:
    with server(metrics_of_a_server()) as port:
        pods = [
            pod("new", port),
            pod("served", port, stage="server"),
            pod("earlier", port, version="v1"),
            pod("pending", port, phase="Pending"),
        ]
        found = await read_canary(deployment(), pods, NOW, {})
    assert found
    assert found.server.version == "v2"
    assert [(count.pod, count.requests, count.failed) for count in found.counts] == [("new", 18, 8)]
    assert found.pods == {"new", "pending"}
    assert found.unread is None


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("nothing", 200, "the answer has no metrics"),
        (START, 503, "answers 503"),
        ("# " + "x" * (1 << 20), 200, "answers with more than 1048576 bytes"),
    ],
)
async def test_a_server_that_cannot_be_read_is_named(body: str, status: int, words: str) -> None:
    with server(body, status) as port:
        found = await read_canary(deployment(), [pod("new", port)], NOW, {})
    assert found and found.unread
    assert found.unread.startswith("the metrics of pod new cannot be read (")
    assert words in found.unread
    assert found.counts == ()


async def test_a_port_where_nobody_listens_is_named_but_not_of_a_pod_that_starts() -> None:
    with server(START) as port:
        pass
    found = await read_canary(deployment(), [pod("new", port)], NOW, {})
    assert found and found.unread and "Cannot connect" in found.unread
    found = await read_canary(deployment(ready=0), [pod("new", port, conditions=[])], NOW, {})
    assert found and found.unread is None


@pytest.mark.parametrize(("reason", "counted"), [("Error", True), ("OOMKilled", True), ("Unknown", False)])
async def test_a_program_that_ended_is_a_crash_but_not_with_its_node(reason: str, counted: bool) -> None:
    ended = {"terminated": {"exitCode": 137, "reason": reason, "finishedAt": NOW.isoformat()}}
    status: dict[str, Any] = {"containerStatuses": [{"name": "server", "lastState": ended}], "phase": "Pending"}
    found = await read_canary(deployment(), [pod("new", 1, **status)], NOW, {})
    assert found
    assert [(crash.at, crash.message) for crash in found.crashes] == (
        [(NOW, f"pod new: exit code 137 ({reason})")] if counted else []
    )


async def test_without_a_deployment_there_is_no_canary() -> None:
    assert await read_canary(None, [pod("new", 1)], NOW, {}) is None
    assert canary_pods(None, [pod("new", 1)]) == []


def test_the_counts_survive_the_status() -> None:
    count = counts_in("pod", metrics_of_a_server())
    assert CanaryServer.model_validate_json(count.model_dump_json(by_alias=True)) == count
