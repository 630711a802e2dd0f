"""A server's requests as traces: in the caller's trace, with the time of the decoder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.collector import Collector, collector
from support.servers import OK_ESPEJO, Server, VersionFolder

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(scope="module")
def received() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def traced(received: Collector, tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    """A server that keeps takes and sends traces every 0.1 s."""
    base = tmp_path_factory.mktemp("traced")
    variables = received.variables | {"OTEL_BSP_SCHEDULE_DELAY": "100"}
    (base / "dataset").mkdir()
    settings = {"takes": str(base / "dataset"), "misheard_days": "3"}
    with Server(
        VersionFolder(base / "models", mapped).path, base / "server.log", settings, environment=variables
    ) as server:
        yield server.until_ready()


def test_a_transcription_continues_the_callers_trace_and_has_the_time_of_the_decoder(
    traced: Server, received: Collector
) -> None:
    files = {"file": ("clip.wav", OK_ESPEJO.read_bytes())}
    path = "/v1/audio/transcriptions"
    assert traced.client.post(path, files=files, headers={"traceparent": CALLER}).is_success
    request, work = received.until(f"POST {path}"), received.until("transcribe")
    assert f"00-{request.trace}-{request.parent}-01" == CALLER
    assert (work.trace, work.parent) == (request.trace, request.span)
    assert (request.kind, request.failed) == ("SERVER", False)
    assert request.attributes["http.response.status_code"] == 200
    assert request.resource["service.name"] == "speechmodel-server"
    assert work.attributes["speechmodel.decoding_seconds"] > 0
    assert work.attributes["speechmodel.queue_seconds"] >= 0
    assert 0.5 < work.attributes["speechmodel.audio_seconds"] < 5


def test_a_refused_request_is_a_span_of_its_own_that_did_not_fail(traced: Server, received: Collector) -> None:
    assert traced.get("/v1/models/other").status_code == 404
    request = received.until("GET /v1/models/{model}")
    assert (request.parent, request.failed, request.attributes["http.response.status_code"]) == ("", False, 404)


def test_a_stream_is_a_span(traced: Server, received: Collector) -> None:
    with traced.websocket("/vosk") as socket:
        socket.send('{"eof": 1}')
        socket.recv()
    assert received.until("WS /vosk").kind == "SERVER"


def test_probes_and_scrapes_are_no_spans(traced: Server, received: Collector) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert traced.get(path).status_code == 200
    assert traced.get("/v1/models").status_code == 200
    received.until("GET /v1/models")
    assert not {span.attributes.get("url.path") for span in received.spans} & {"/livez", "/readyz", "/metrics"}


def test_spans_have_no_names_of_people(traced: Server, received: Collector) -> None:
    form = {"text": "ok espejo", "speaker": "Ana Lopez", "consent": "true"}
    files = {"file": ("take.wav", OK_ESPEJO.read_bytes())}
    assert traced.client.post("/v1/takes", data=form, files=files).status_code == 201
    for path in ("/v1/takes", "//v1/takes", "/v1//takes/"):
        assert traced.client.get(f"{traced.url}{path}?speaker=Ana+Lopez").status_code == 200
    assert traced.client.delete("/v1/takes/Ana Lopez/20260101-000000-0a1b2c").status_code == 404
    assert traced.client.delete("/v1/takes/Ana Lopez").status_code == 200
    assert traced.get("/v1/misheard").status_code == 200
    assert traced.get("/record").status_code == 200
    received.until("GET /record")
    assert "Ana" not in repr(received.spans)
    assert "/v1/misheard" not in repr(received.spans)


def test_the_last_spans_are_sent_at_the_end(received: Collector, folder: VersionFolder, tmp_path: Path) -> None:
    variables = received.variables | {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
    settings = {"lame_duck_seconds": "0"}
    with Server(folder.path, tmp_path / "server.log", settings, environment=variables) as server:
        server.until_ready()
        assert server.get("/v1/speechmodel").status_code == 200
        assert not [span for span in received.spans if span.name == "GET /v1/speechmodel"]
        server.terminate()
        assert server.until_ended() == 0
        received.until("GET /v1/speechmodel")
