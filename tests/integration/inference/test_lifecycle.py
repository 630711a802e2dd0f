import signal
import socket
import tempfile
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from speechmodel_runtime import Model, load

from .conftest import OK_ESPEJO, Start, VersionFolder, wait_for


def test_it_is_ready_only_after_it_heard_its_selftest(folder: VersionFolder, start: Start) -> None:
    long = np.tile(load(OK_ESPEJO), 30)  # seconds of work, so that the time before can be seen
    with Model(folder.path / "output_graph.pbmm", beam_width=100) as model:
        folder.selftest(long, model.transcribe(long).text)
    server = start()
    server.wait_until_answering()
    before = server.get("/readyz")
    assert (before.status_code, before.json()["reason"]) == (503, "loading the model")
    early = server.transcribe(OK_ESPEJO)
    assert (early.status_code, early.json()["error"]["code"]) == (503, "model_not_ready")
    assert server.get("/v1/models").status_code == 503
    assert server.metric("speechmodel_ready") == 0
    server.wait_until_ready()
    assert server.transcribe(OK_ESPEJO).json() == {"text": "ok espejo"}


def damage(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: (folder / "version.json").unlink(), "fetch did not finish"),
        (lambda folder: (folder / "version.json").write_text('{"version": 7}'), "is no version manifest"),
        (lambda folder: (folder / "output_graph.pbmm").unlink(), "No such file"),
        (lambda folder: damage(folder / "output_graph.pbmm"), "has the sha256"),
        (lambda folder: damage(folder / "selftest.wav"), "has the sha256"),
    ],
)
def test_a_version_that_is_not_whole_never_gets_ready_and_says_why(
    harm: object, says: str, folder: VersionFolder, start: Start
) -> None:
    assert callable(harm)
    harm(folder.path)
    server = start()
    server.wait_until_answering()
    wait_for(lambda: server.get("/readyz").json()["reason"] != "loading the model")
    answer = server.get("/readyz")
    assert answer.status_code == 503
    assert says in answer.json()["reason"]
    assert says in server.log.read_text()
    assert server.transcribe(OK_ESPEJO).status_code == 503


def test_a_model_that_hears_something_else_in_the_selftest_never_gets_ready(
    folder: VersionFolder, start: Start
) -> None:
    folder.selftest(load(OK_ESPEJO), "hola espejo")
    server = start()
    server.wait_until_answering()
    wait_for(lambda: "heard 'ok espejo', but 'hola espejo'" in server.get("/readyz").json()["reason"])


def test_requests_in_flight_end_and_new_ones_are_served_while_it_drains(start: Start, minute: Path) -> None:
    server = start(lame_duck_seconds=600, drain_seconds=600, decoders=2).wait_until_ready()
    with ThreadPoolExecutor(1) as pool, httpx.Client(base_url=server.url) as kept_open:
        assert "connection" not in kept_open.get("/readyz").headers
        in_flight: Future[httpx.Response] = pool.submit(server.transcribe, minute)
        wait_for(lambda: server.metric("speechmodel_requests_decoding") == 1)
        server.terminate()
        wait_for(lambda: server.get("/readyz").status_code == 503)
        time.sleep(0.5)  # for a server that ends too soon to do so
        draining = kept_open.get("/readyz")
        assert "draining" in draining.json()["reason"]
        assert draining.headers["connection"] == "close"
        assert server.get("/livez").status_code == 200
        assert server.transcribe(OK_ESPEJO).json() == {"text": "ok espejo"}
        server.terminate()  # ends the lame-duck time
        answer = in_flight.result()
    assert answer.status_code == 200
    assert "ok espejo" in answer.json()["text"]
    assert server.process.wait(timeout=30) == 0


def test_who_waits_in_line_is_served_before_it_ends(start: Start, minute: Path) -> None:
    server = start(lame_duck_seconds=0, decoders=1).wait_until_ready()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(server.transcribe, minute)
        wait_for(lambda: server.metric("speechmodel_requests_decoding") == 1)
        waiting = [pool.submit(server.transcribe, OK_ESPEJO) for _ in range(3)]
        wait_for(lambda: server.metric("speechmodel_requests_in_flight") == 4)
        server.terminate()
        assert first.result().status_code == 200
        assert [future.result().json() for future in waiting] == [{"text": "ok espejo"}] * 3
    assert server.process.wait(timeout=10) == 0


def test_no_request_fails_when_clients_follow_the_connection_headers(start: Start) -> None:
    server = start(lame_duck_seconds=30).wait_until_ready()
    failures: list[str] = []
    served = 0

    def ask_until_draining() -> None:
        nonlocal served
        with httpx.Client(base_url=server.url) as client:
            while True:
                try:
                    answer = client.post("/v1/audio/transcriptions", files={"file": OK_ESPEJO.read_bytes()})
                except httpx.TransportError as error:
                    failures.append(repr(error))
                    return
                if answer.status_code != 200:
                    failures.append(answer.text)
                served += 1
                if answer.headers.get("connection") == "close":
                    return

    threads = [threading.Thread(target=ask_until_draining) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: served > 8)
    server.terminate()
    for thread in threads:
        thread.join()
    assert failures == []
    server.terminate()  # ends the lame-duck time
    assert server.process.wait(timeout=30) == 0


def test_work_that_outlasts_the_drain_time_is_given_up(start: Start, five_minutes: bytes) -> None:
    server = start(lame_duck_seconds=0, drain_seconds=1, decoders=1).wait_until_ready()
    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(server.transcribe, five_minutes) for _ in range(3)]
        wait_for(lambda: server.metric("speechmodel_requests_in_flight") == 3)
        server.terminate()
        assert server.process.wait(timeout=10) == 0
        for future in answers:
            assert isinstance(future.exception(), httpx.TransportError) or future.result().status_code == 500


def test_a_second_sigterm_or_ctrl_c_cuts_the_lame_duck_time_short(start: Start) -> None:
    for second in (signal.SIGTERM, signal.SIGINT):
        server = start(lame_duck_seconds=60).wait_until_ready()
        server.terminate()
        wait_for(lambda server=server: server.get("/readyz").status_code == 503)  # type: ignore[misc] # bound per turn
        server.process.send_signal(second)
        assert server.process.wait(timeout=5) == 0


def test_sigterm_while_it_loads_ends_it_at_once(folder: VersionFolder, start: Start) -> None:
    (folder.path / "version.json").unlink()
    server = start(lame_duck_seconds=60)
    server.wait_until_answering()
    server.terminate()
    assert server.process.wait(timeout=5) == 0


def test_sigterm_while_it_starts_ends_it_at_once(start: Start) -> None:
    server = start()
    status = Path(f"/proc/{server.process.pid}/status")
    wait_for(lambda: _handles(signal.SIGTERM, status.read_text()))
    server.terminate()
    assert server.process.wait(timeout=5) == 0
    assert server.log.read_text() == ""


def _handles(number: int, status: str) -> bool:
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def test_impossible_settings_end_it_with_a_sentence_about_each(start: Start) -> None:
    server = start(decoders=0, waiting="many")
    assert server.process.wait(timeout=10) == 78
    log = server.log.read_text()
    assert "SPEECHMODEL_DECODERS: Input should be greater than or equal to 1, not '0'" in log
    assert "SPEECHMODEL_WAITING: Input should be a valid integer" in log


def test_an_address_that_is_taken_ends_it_with_a_sentence(start: Start) -> None:
    first = start().wait_until_ready()
    second = start(listen=f"127.0.0.1:{first.port}")
    assert second.process.wait(timeout=10) == 78
    assert f"cannot listen on 127.0.0.1:{first.port}: Address already in use" in second.log.read_text()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_without_an_address_it_listens_on_ipv4_and_ipv6(start: Start) -> None:
    server = start(address="").wait_until_ready()
    assert httpx.get(f"http://127.0.0.1:{server.port}/readyz").status_code == 200
    assert httpx.get(f"http://[::1]:{server.port}/readyz").status_code == 200


def test_an_upload_is_never_written_to_disk(start: Start) -> None:
    server = start().wait_until_ready()
    opened = Path(f"/proc/{server.process.pid}/fd")
    large = b"RIFF" + bytes(20_000_000)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.transcribe, large)
        seen = {server.log}
        while not answer.done():
            for path in opened.iterdir():
                with suppress(FileNotFoundError):  # closed meanwhile
                    seen.add(path.readlink())
    assert answer.result().status_code == 400
    assert [path for path in seen if path.is_relative_to(tempfile.gettempdir())] == [server.log]
