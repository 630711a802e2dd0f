import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import openai
import pytest
from support.servers import HANGS, OK_ESPEJO, Server, Start

IN_FLIGHT = "speechmodel_requests_in_flight"


@pytest.mark.parametrize("waiting", [0, 2])
def test_beyond_its_places_it_answers_429_and_says_when_to_come_back(waiting: int, start: Start) -> None:
    server = start(decoders=1, waiting=waiting, upload_seconds=3600).until_ready()
    with ExitStack() as taken:
        for _ in range(1 + waiting):
            taken.enter_context(begin_upload(server))
        server.until_metric(IN_FLIGHT, 1 + waiting)
        refused = server.transcribe(OK_ESPEJO)
        with pytest.raises(openai.RateLimitError) as limited:
            server.openai().audio.transcriptions.create(file=OK_ESPEJO, model="espejo")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == limited.value.code == "queue_full"
    server.until_metric(IN_FLIGHT, 0)
    assert server.transcribe(OK_ESPEJO).status_code == 200


def test_of_200_uploads_at_once_those_with_a_place_are_transcribed_and_the_others_are_told_to_wait(
    start: Start,
) -> None:
    server = start(decoders=1, waiting=31).until_ready()
    with ThreadPoolExecutor(200) as pool:
        answers = [future.result() for future in [pool.submit(server.transcribe, OK_ESPEJO) for _ in range(200)]]
    served = [answer.json() for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code != 200]
    assert served == [{"text": "ok espejo"}] * len(served)
    assert len(served) >= 32
    assert {answer.status_code for answer in refused} == {429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    server.until_metric(IN_FLIGHT, 0)
    assert "Traceback" not in server.log.read_text()


def test_no_more_than_the_decoders_decode_at_once(start: Start, minute: Path) -> None:
    server = start(decoders=2, waiting=5).until_ready()
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(server.transcribe, minute) for _ in range(3)]
        most = 0.0
        while not all(future.done() for future in answers):
            most = max(most, server.metric("speechmodel_requests_decoding"))
            time.sleep(0.05)
    assert most == 2


def test_the_client_that_leaves_gives_its_place_and_its_decoder_back(start: Start, five_minutes: bytes) -> None:
    server = start(decoders=1, waiting=0).until_ready()
    for _ in range(5):
        with ask(server, five_minutes):
            server.until_metric("speechmodel_requests_decoding", 1)
        left = process_seconds(server)
        server.until_metric(IN_FLIGHT, 0)
        assert process_seconds(server) - left < 3, "five minutes take several times as long"
    assert server.transcribe(OK_ESPEJO).status_code == 200
    path = "/v1/audio/transcriptions"
    server.until_metric("speechmodel_http_requests_total", 5, method="POST", path=path, status="499")


def test_the_client_that_leaves_while_its_channels_are_compared_gives_its_decoder_back(
    start: Start, eight_channels: bytes
) -> None:
    server = start(decoders=1, waiting=0).until_ready()
    with ask(server, eight_channels):
        server.until_metric("speechmodel_requests_decoding", 1)
    left = process_seconds(server)
    server.until_metric(IN_FLIGHT, 0)
    assert process_seconds(server) - left < 2, "reading it to the end takes several times as long"


def test_the_client_that_leaves_while_it_waits_costs_no_decoding(start: Start, five_minutes: bytes) -> None:
    server = start(decoders=1, waiting=8).until_ready()
    with ask(server, five_minutes):
        server.until_metric("speechmodel_requests_decoding", 1)
        for _ in range(3):
            with ask(server, OK_ESPEJO.read_bytes()):
                server.until_metric(IN_FLIGHT, 2)
            server.until_metric(IN_FLIGHT, 1)
        assert server.metric("speechmodel_requests_decoding") == 1, "nobody's place was held until the first had ended"
    assert server.transcribe(OK_ESPEJO).status_code == 200
    assert server.metric("speechmodel_decoding_seconds_count") == 1


def test_a_client_that_dies_while_it_uploads_gives_its_place_back(start: Start) -> None:
    server = start(decoders=1, waiting=0, upload_seconds=3600).until_ready()
    connection = begin_upload(server)
    server.until_metric(IN_FLIGHT, 1)
    assert server.transcribe(OK_ESPEJO).status_code == 429
    connection.close()
    server.until_metric(IN_FLIGHT, 0)
    assert server.transcribe(OK_ESPEJO).status_code == 200


def test_an_upload_that_does_not_arrive_in_time_gives_its_place_back(start: Start) -> None:
    server = start(decoders=1, waiting=0, upload_seconds=0.5).until_ready()
    with begin_upload(server) as connection:
        connection.settimeout(HANGS)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    assert answer.startswith("HTTP/1.1 408")
    assert "connection: close" in answer.lower()
    assert '"code":"upload_too_slow"' in answer
    assert server.metric(IN_FLIGHT) == 0


def process_seconds(server: Server) -> float:
    """CPU time of the server, which does not depend on what else the machine does."""
    return server.metric("process_cpu_seconds_total")


def ask(server: Server, audio: bytes) -> socket.socket:
    """A client that has sent its recording; it leaves when it is closed."""
    request = httpx.Request("POST", f"{server.url}/v1/audio/transcriptions", files={"file": audio})
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode() + request.read())
    return connection


def begin_upload(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(
        b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
    )
    return connection
