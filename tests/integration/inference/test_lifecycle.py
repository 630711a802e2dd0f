import os
import signal
import socket
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
from speechmodel_inference.app import CLIPS_SECONDS, DECODERS_SECONDS, WYOMING_SECONDS
from speechmodel_inference.server import LONGEST_LAME_DUCK
from speechmodel_inference.settings import Settings
from speechmodel_operator.resources.serving import GRACE_SECONDS, LAME_DUCK_SECONDS
from speechmodel_runtime import load
from support.servers import HANGS, OK_ESPEJO, Server, Start, Upload, VersionFolder
from support.waiting import Pace, in_pace

HOUR = 3600
"""Longer than any test: a server that ends earlier did not wait for it."""
IN_FLIGHT = "speechmodel_requests_in_flight"
DECODING = "speechmodel_requests_decoding"
STILL_ASKED = "requests still arrive"
"""Words of the log when new requests are refused."""


def test_it_is_ready_only_once_it_has_loaded_the_version(folder: VersionFolder, start: Start) -> None:
    selftest, whole = folder.path / "selftest.wav", folder.path / "whole.wav"
    selftest.rename(whole)
    os.mkfifo(selftest)
    held = os.open(selftest, os.O_RDWR)  # the server can open the file, and waits for its content
    server = start()
    server.until_answering()
    before = server.get("/readyz")
    assert (before.status_code, before.json()["reason"]) == (503, "loading the model")
    early = server.transcribe(OK_ESPEJO)
    assert (early.status_code, early.json()["error"]["code"]) == (503, "model_not_ready")
    assert server.get("/v1/models").status_code == 503
    assert server.metric("speechmodel_ready") == 0
    content = whole.read_bytes()
    whole.replace(selftest)
    with os.fdopen(held, "wb") as pipe:
        pipe.write(content)  # for its digest; the self-test opens the file again
    server.until_ready()
    assert server.transcribe(OK_ESPEJO).json() == {"text": "ok espejo"}


def reason(server: Server) -> str:
    """Return the reason why the server is not ready."""
    text: str = server.get("/readyz").json()["reason"]
    return text


def damage(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda folder: (folder / "version.json").unlink(), "fetch did not finish"),
        (lambda folder: (folder / "version.json").write_text('{"version": 7}'), "is not a valid version manifest"),
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
    server.until_answering()
    server.until(lambda: reason(server) != "loading the model", "it gives up")
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
    server.until_answering()
    server.until(lambda: "recognised 'ok espejo', but 'hola espejo'" in reason(server), "the self-test fails")


def test_requests_in_flight_end_and_new_ones_are_served_while_it_drains(start: Start) -> None:
    server = start(lame_duck_seconds=HOUR, drain_seconds=HOUR, upload_seconds=HOUR, decoders=2).until_ready()
    with Upload(server, OK_ESPEJO) as in_flight, httpx.Client(base_url=server.url, timeout=HANGS) as kept_open:
        assert "connection" not in kept_open.get("/readyz").headers
        server.until_metric(IN_FLIGHT, 1)
        server.terminate()
        server.until_draining()
        time.sleep(0.5)  # for a server that ends too soon to do so
        draining = kept_open.get("/readyz")
        assert "draining" in draining.json()["reason"]
        assert draining.headers["connection"] == "close"
        assert server.get("/livez").status_code == 200
        assert server.transcribe(OK_ESPEJO).json() == {"text": "ok espejo"}
        server.terminate()  # ends the lame-duck time
        server.until(partial(refuses_connections, server), "new connections are refused")
        status, _, document = in_flight.finish().answer()
    assert (status, document) == (200, {"text": "ok espejo"})
    assert server.until_ended() == 0


def refuses_connections(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=HANGS).close()
    except ConnectionRefusedError:
        return True
    return False


def test_who_waits_in_line_is_served_before_it_ends(start: Start, long_recording: bytes) -> None:
    server = start(lame_duck_seconds=0, drain_seconds=HOUR, decoders=1).until_ready()
    with ExitStack() as clients:
        with Upload(server, long_recording).finish():
            server.until_metric(DECODING, 1)
            uploads = [clients.enter_context(Upload(server, OK_ESPEJO)) for _ in range(3)]
            server.until_metric(IN_FLIGHT, 4)
            for upload in uploads:
                upload.finish()
            server.terminate()
            server.until(partial(refuses_connections, server), "new connections are refused")
        # the one that held the decoder has left
        assert [upload.answer()[::2] for upload in uploads] == [(200, {"text": "ok espejo"})] * 3
    assert server.until_ended() == 0


def test_no_request_fails_when_clients_follow_the_connection_headers(start: Start) -> None:
    server = start(lame_duck_seconds=HOUR).until_ready()
    failures: list[str] = []
    served = 0

    def ask_until_draining() -> None:
        nonlocal served
        with httpx.Client(base_url=server.url, timeout=HANGS) as client:
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
    server.until(lambda: served > 8 or bool(failures), "nine answers")
    server.terminate()
    for thread in threads:
        thread.join()
    assert failures == []
    server.terminate()  # ends the lame-duck time
    assert server.until_ended() == 0


def ended_though_asked(server: Server, path: str, pace: Pace) -> int:
    """Return the exit code of a server that is asked for `path` until it ends."""
    began = time.monotonic()
    while (code := server.process.poll()) is None:
        pace.step()
        assert time.monotonic() < began + HANGS, server.log.read_text()
        with suppress(httpx.TransportError):
            server.get(path)
        time.sleep(0.1)  # often enough that the server has always just been asked
    return code


def test_it_serves_on_while_a_load_balancer_that_has_not_noticed_sends_requests(start: Start) -> None:
    lame_duck = 6

    def ask(pace: Pace) -> None:
        server = start(lame_duck_seconds=lame_duck).until_ready()
        server.terminate()
        began = time.monotonic()
        while time.monotonic() < began + 2 * lame_duck:
            pace.step()
            assert server.get("/v1/models").status_code == 200
            time.sleep(0.1)
        assert ended_though_asked(server, "/readyz", pace) == 0  # probes keep no server
        assert STILL_ASKED not in server.log.read_text()

    in_pace(ask, lame_duck - 2)


def test_it_ends_though_requests_come_for_ever(start: Start) -> None:
    lame_duck = 5

    def ask_for_ever(pace: Pace) -> None:
        server = start(lame_duck_seconds=lame_duck).until_ready()
        server.terminate()
        assert ended_though_asked(server, "/v1/models", pace) == 0
        assert STILL_ASKED in server.log.read_text()

    in_pace(ask_for_ever, lame_duck - 1)


def test_a_server_ends_within_the_grace_period_of_its_pod_though_every_wait_is_the_longest() -> None:
    lame_duck = LONGEST_LAME_DUCK * LAME_DUCK_SECONDS
    drain: int = Settings.model_fields["drain_seconds"].default
    rest = WYOMING_SECONDS + DECODERS_SECONDS + CLIPS_SECONDS
    assert lame_duck + drain + rest <= GRACE_SECONDS - 5, "some seconds for everything else"
    assert f"and {rest:g} s must stay below" in (Settings.__doc__ or ""), "what is documented for other pods"


def test_a_request_without_a_key_is_told_to_close_its_connection_too(start: Start, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret")
    server = start(lame_duck_seconds=HOUR, api_keys=tmp_path / "keys").until_ready()
    server.terminate()
    server.until_draining()
    answer = server.get("/v1/models")
    assert (answer.status_code, answer.headers["connection"]) == (401, "close")


def test_work_that_outlasts_the_drain_time_is_answered_with_an_error(start: Start, long_recording: bytes) -> None:
    server = start(lame_duck_seconds=0, drain_seconds=10, decoders=1).until_ready()
    with ExitStack() as clients:
        uploads = [clients.enter_context(Upload(server, long_recording).finish()) for _ in range(3)]
        server.until_metric(IN_FLIGHT, 3)
        server.terminate()
        for upload in uploads:
            status, _, document = upload.answer()
            assert (status, document["error"]["code"]) == (503, "shutting_down")
    assert server.until_ended() == 0


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/stt"])
def test_a_body_that_still_arrives_when_the_drain_time_ends_is_answered_with_an_error(path: str, start: Start) -> None:
    server = start(lame_duck_seconds=0, drain_seconds=2, upload_seconds=HOUR).until_ready()
    with Upload(server, OK_ESPEJO, path) as upload:
        server.until_metric(IN_FLIGHT, 1)
        server.terminate()
        status, headers, document = upload.answer()
    assert (status, document["error"]["code"], headers["connection"]) == (503, "shutting_down", "close")
    assert server.until_ended() == 0
    assert "Traceback" not in server.log.read_text()


def test_a_recording_that_is_read_when_the_server_ends_leaves_no_traceback(start: Start, eight_channels: bytes) -> None:
    server = start(lame_duck_seconds=0, drain_seconds=2, decoders=1).until_ready()
    with Upload(server, eight_channels) as upload:
        server.until_metric(IN_FLIGHT, 1)
        # it is told to end when it begins to read, which takes longer than the time that is left
        with server.stopped():
            upload.finish()
            server.terminate()
        status, _, document = upload.answer()
    assert (status, document["error"]["code"]) == (503, "shutting_down")
    assert server.until_ended() == 0
    assert "Traceback" not in server.log.read_text()


def test_a_second_sigterm_or_ctrl_c_cuts_the_lame_duck_time_short(start: Start) -> None:
    for second in (signal.SIGTERM, signal.SIGINT):
        server = start(lame_duck_seconds=HOUR).until_ready()
        server.terminate()
        server.until_draining()
        server.process.send_signal(second)
        assert server.until_ended() == 0


def test_sigterm_while_it_loads_ends_it_at_once(folder: VersionFolder, start: Start) -> None:
    (folder.path / "version.json").unlink()
    server = start(lame_duck_seconds=HOUR)
    server.until_answering()
    server.terminate()
    assert server.until_ended() == 0


def test_sigterm_while_it_starts_ends_it_at_once(folder: VersionFolder, start: Start) -> None:
    manifest = folder.path / "version.json"
    manifest.unlink()
    os.mkfifo(manifest)  # the server reads it before it handles signals, and would wait for its content
    server = start()
    server.terminate()
    assert server.until_ended() == -signal.SIGTERM
    assert server.log.read_text() == ""


def test_impossible_settings_end_it_with_a_sentence_about_each(start: Start) -> None:
    server = start(decoders=0, waiting="many")
    assert server.until_ended() == 78
    log = server.log.read_text()
    assert "SPEECHMODEL_DECODERS: must be at least 1, not '0'" in log
    assert "SPEECHMODEL_WAITING: must be an integer, not 'many'" in log


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("listen", ":99999", "must have a port from 0 to 65535, not ':99999'"),
        ("wyoming_listen", ":65536", "must have a port from 0 to 65535, not ':65536'"),
        ("api_keys", "/nonexistent/keys", "/nonexistent/keys does not exist; create it, or correct the setting"),
        ("takes", "/nonexistent/takes", "/nonexistent/takes does not exist; create it, or correct the setting"),
        (
            "cors_origins",
            "https://home.example/",
            "must be an origin such as https://home.example, without a slash at its end",
        ),
    ],
)
def test_a_setting_that_cannot_work_ends_it_with_a_sentence(setting: str, value: str, says: str, start: Start) -> None:
    server = start(**{setting: value})
    assert server.until_ended() == 78
    log = server.log.read_text()
    assert says in log
    assert "Traceback" not in log


def test_an_address_that_is_taken_ends_it_with_a_sentence(start: Start) -> None:
    first = start().until_ready()
    second = start(listen=f"127.0.0.1:{first.port}")
    assert second.until_ended() == 78
    log = second.log.read_text()
    assert f"cannot listen on 127.0.0.1:{first.port}: Address already in use" in log
    assert "is ready" not in log


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_without_an_address_it_listens_on_ipv4_and_ipv6(start: Start) -> None:
    server = start(address="").until_ready()
    assert httpx.get(f"http://127.0.0.1:{server.port}/readyz", timeout=HANGS).status_code == 200
    assert httpx.get(f"http://[::1]:{server.port}/readyz", timeout=HANGS).status_code == 200


def test_an_upload_is_never_written_to_disk(start: Start) -> None:
    server = start().until_ready()
    folder = Path(f"/proc/{server.process.pid}/fd")

    def opened() -> set[Path]:
        found = set()
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                found.add(path.readlink())
        return found

    before, seen = opened(), set[Path]()  # its log, and the files of the version, which it locks
    assert server.log in before
    large = b"RIFF" + bytes(20_000_000)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(server.transcribe, large)
        while not answer.done():
            seen |= opened()
    assert answer.result().status_code == 400
    temporary = [path for path in seen - before if path.is_relative_to(tempfile.gettempdir())]
    # a checkout may be there too, whose modules are read
    assert [path for path in temporary if not path.is_relative_to(sys.prefix)] == []
