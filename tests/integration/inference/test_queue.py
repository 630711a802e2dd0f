from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import openai
import pytest
from support.servers import OK_ESPEJO, Server, Start, Upload
from support.waiting import Pace, in_pace

IN_FLIGHT = "speechmodel_requests_in_flight"
DECODING = "speechmodel_requests_decoding"


@pytest.mark.parametrize("waiting", [0, 2])
def test_beyond_its_places_it_answers_429_and_says_when_to_come_back(waiting: int, start: Start) -> None:
    server = start(decoders=1, waiting=waiting, upload_seconds=3600).until_ready()
    with ExitStack() as taken:
        for _ in range(1 + waiting):
            taken.enter_context(Upload(server, OK_ESPEJO))
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


def test_no_more_than_the_decoders_decode_at_once(start: Start, long_recording: bytes) -> None:
    server = start(decoders=2, waiting=5).until_ready()
    with ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(Upload(server, long_recording).finish())
        server.until_metric(IN_FLIGHT, 3)
        server.until_metric(DECODING, 2)
        until = process_seconds(server) + 2
        while process_seconds(server) < until:
            assert server.metric(DECODING) == 2


def test_the_client_that_leaves_gives_its_place_and_its_decoder_back(start: Start, long_recording: bytes) -> None:
    server = start(decoders=1, waiting=0).until_ready()
    for _ in range(3):
        with Upload(server, long_recording).finish():
            server.until_metric(DECODING, 1)
        left = process_seconds(server)
        server.until_metric(IN_FLIGHT, 0)
        assert process_seconds(server) - left < 3, "all of it takes many times as long"
    assert server.transcribe(OK_ESPEJO).status_code == 200
    path = "/v1/audio/transcriptions"
    server.until_metric("speechmodel_http_requests_total", 3, method="POST", path=path, status="499")


def test_the_client_that_leaves_while_its_channels_are_compared_gives_its_decoder_back(
    start: Start, eight_channels: bytes
) -> None:
    server = start(decoders=1, waiting=0).until_ready()

    def begin_and_leave(pace: Pace) -> float:
        with Upload(server, eight_channels) as upload:
            server.until_metric(IN_FLIGHT, 1)
            pace.step()
            upload.finish()
            server.until(lambda: bool(server.metric(DECODING)) or not server.metric(IN_FLIGHT), "it is decoded")
            assert server.metric(DECODING) == 1, "its channels were compared too soon"
        return process_seconds(server)

    left = in_pace(begin_and_leave, 1)
    server.until_metric(IN_FLIGHT, 0)
    assert process_seconds(server) - left < 2, "reading it to the end takes several times as long"


def test_the_client_that_leaves_while_it_waits_costs_no_decoding(start: Start, long_recording: bytes) -> None:
    server = start(decoders=1, waiting=8).until_ready()
    with Upload(server, long_recording).finish():
        server.until_metric(DECODING, 1)
        for _ in range(3):
            with Upload(server, OK_ESPEJO).finish():
                server.until_metric(IN_FLIGHT, 2)
            server.until_metric(IN_FLIGHT, 1)
        assert server.metric(DECODING) == 1, "nobody's place was held until the first had ended"
    assert server.transcribe(OK_ESPEJO).status_code == 200
    assert server.metric("speechmodel_decoding_seconds_count") == 1


def test_a_client_that_dies_while_it_uploads_gives_its_place_back(start: Start) -> None:
    server = start(decoders=1, waiting=0, upload_seconds=3600).until_ready()
    with Upload(server, OK_ESPEJO):
        server.until_metric(IN_FLIGHT, 1)
        assert server.transcribe(OK_ESPEJO).status_code == 429
    server.until_metric(IN_FLIGHT, 0)
    assert server.transcribe(OK_ESPEJO).status_code == 200


def test_an_upload_that_does_not_arrive_in_time_gives_its_place_back(start: Start) -> None:
    server = start(decoders=1, waiting=0, upload_seconds=0.5).until_ready()
    with Upload(server, OK_ESPEJO) as upload:
        status, headers, document = upload.answer()
    assert (status, headers["connection"], document["error"]["code"]) == (408, "close", "upload_too_slow")
    assert server.metric(IN_FLIGHT) == 0


def process_seconds(server: Server) -> float:
    """CPU time of the server, which does not depend on what else the machine does."""
    return server.metric("process_cpu_seconds_total")
