"""kubectl and helm as the tests call them, and requests of the tests, while the API server does not answer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from support.api_server import write_kubeconfig
from support.helm_chart import Helm
from support.kube import Kubectl

REFUSED = "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?"
DIALED = 'Get "https://127.0.0.1:6443/version": dial tcp 127.0.0.1:6443: connect: connection refused'


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call is made again without a pause."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def program(folder: Path, script: str) -> str:
    """Return a program that runs these lines of sh."""
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(0o755)
    return str(path)


def failing_once(folder: Path, error: str) -> str:
    """Return a program that fails once with an error. Then it writes its arguments, but for the first four."""
    (folder / "error").write_text(error)
    once = f'if mkdir "{folder}/called" 2>/dev/null; then cat "{folder}/error" >&2; exit 1; fi\n'
    return program(folder, once + 'shift 4\necho "$@"\n')


def kubectl(folder: Path, error: str) -> Kubectl:
    """Return a kubectl that fails once with an error. Then it writes its arguments."""
    return Kubectl(failing_once(folder, error), "kubeconfig", None, "default")


@pytest.mark.parametrize("verb", ["apply", "create", "exec"])
@pytest.mark.parametrize(
    "error",
    [
        f"E1130 memcache.go:265] couldn't get current server API group list: {DIALED}\n{REFUSED}",
        "Unable to connect to the server: net/http: TLS handshake timeout",
        "Unable to connect to the server: dial tcp 127.0.0.1:6443: i/o timeout",
        "Error from server: error dialing backend: dial tcp 10.0.0.2:10250: connect: connection refused",
        "error: unable to upgrade connection: error dialing backend: EOF",
        f"error: failed to create configmap: {DIALED}",
        f'error: error validating "STDIN": error validating data: failed to download openapi: {DIALED}',
    ],
)
def test_a_call_that_reached_no_api_server_is_made_again(verb: str, error: str, tmp_path: Path) -> None:
    assert kubectl(tmp_path, error)(verb, "x") == f"{verb} x\n"


def test_a_program_in_a_pod_that_reaches_nobody_does_not_run_twice(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="command terminated with exit code 7"):
        kubectl(tmp_path, f"curl: {DIALED}\ncommand terminated with exit code 7")("exec", "x")


def test_a_webhook_that_accepts_no_connection_is_an_error_of_the_test(tmp_path: Path) -> None:
    error = f'Error from server (InternalError): Internal error occurred: failed calling webhook "x": {DIALED}'
    with pytest.raises(AssertionError, match="failed calling webhook"):
        kubectl(tmp_path, error)("apply", "x")


def test_a_read_that_reached_no_api_server_is_made_again(tmp_path: Path) -> None:
    assert kubectl(tmp_path, f'error: unable to recognize "STDIN": {DIALED}')("get", "x") == "get x\n"


@pytest.mark.parametrize("began", ["", "INSTALLATION FAILED: cluster reachability check failed: "])
def test_helm_is_run_again_if_it_reached_no_api_server(began: str, tmp_path: Path) -> None:
    helm = Helm(failing_once(tmp_path, f"Error: {began}kubernetes cluster unreachable: {DIALED}"))
    assert helm("upgrade", "x", "chart", "--install", "--wait") == "--wait\n"


@pytest.mark.parametrize("error", [f"Error: UPGRADE FAILED: {DIALED}", f"Error: pod x failed: {DIALED}"])
def test_helm_is_not_run_again_once_it_has_begun(error: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="connection refused"):
        Helm(failing_once(tmp_path, error))("upgrade", "x")


@pytest.mark.parametrize(("script", "differs"), [("exit 0", False), ("echo '+a: 1'; echo Warning >&2; exit 1", True)])
def test_a_difference_is_told_from_none(script: str, differs: bool, tmp_path: Path) -> None:
    assert Kubectl(program(tmp_path, script), "kubeconfig", None, "default").differs("-f", "-", stdin="") is differs


@pytest.mark.parametrize("code", [1, 2])
def test_a_diff_that_fails_is_not_an_empty_one(code: int, tmp_path: Path) -> None:
    script = f"echo 'error: Apply failed with 1 conflict' >&2; exit {code}"
    with pytest.raises(AssertionError, match="kubectl diff -f -: error: Apply failed with 1 conflict"):
        Kubectl(program(tmp_path, script), "kubeconfig", None, "default").differs("-f", "-", stdin="")


def test_a_diff_that_reached_no_api_server_is_made_again(tmp_path: Path) -> None:
    script = f'mkdir "{tmp_path}/called" 2>/dev/null || exit 0\necho "{REFUSED}" >&2; exit 1'
    assert not Kubectl(program(tmp_path, script), "kubeconfig", None, "default").differs("-f", "-", stdin="")


def test_a_deletion_that_lost_its_connection_may_find_nothing_more_to_delete(tmp_path: Path) -> None:
    assert kubectl(tmp_path, REFUSED)("delete", "pod", "x") == "delete pod x --ignore-not-found\n"


def test_a_change_that_may_have_been_made_is_made_again_only_if_that_does_no_harm(tmp_path: Path) -> None:
    error = "Error from server: etcdserver: request timed out"
    with pytest.raises(AssertionError, match="kubectl create x: Error from server: etcdserver"):
        kubectl(tmp_path, error)("create", "x")
    (tmp_path / "called").rmdir()
    assert kubectl(tmp_path, error)("apply", "x") == "apply x\n"


def test_an_error_of_the_api_server_is_one_of_the_test(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"kubectl get pod x: Error from server \(NotFound\)"):
        kubectl(tmp_path, "Error from server (NotFound): pods x not found")("get", "pod", "x")


@contextmanager
def answering(codes: list[int]) -> Iterator[str]:
    """Answer requests with these status codes, one after another, and give the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = b'{"items": [], "status": {"allowed": true}}'
            self.send_response(codes.pop(0))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PATCH(self) -> None:
            self.do_GET()

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def requesting(folder: Path, server: str) -> Kubectl:
    """Return a kubectl whose requests go to a server."""
    write_kubeconfig(folder / "kubeconfig", server, "token")
    return Kubectl("kubectl", str(folder / "kubeconfig"), None, "default")


def test_a_read_is_sent_again_while_the_api_server_cannot_answer(tmp_path: Path) -> None:
    codes = [503, 500, 200]
    with answering(codes) as server:
        assert requesting(tmp_path, server).find("jobs") == []
    assert codes == []


def test_a_read_that_is_not_allowed_fails_at_once(tmp_path: Path) -> None:
    codes = [403, 200]
    with answering(codes) as server, pytest.raises(AssertionError, match="403"):
        requesting(tmp_path, server).find("jobs")
    assert codes == [200]


def test_an_edit_is_sent_again_while_the_api_server_cannot_answer(tmp_path: Path) -> None:
    codes = [503, 200]
    with answering(codes) as server:
        requesting(tmp_path, server).patch("espejo", {"suspend": True})
    assert codes == []


def test_an_object_is_not_created_again(tmp_path: Path) -> None:
    codes = [503, 201]
    with answering(codes) as server, pytest.raises(AssertionError, match="503"):
        requesting(tmp_path, server).may("espejo", [], verb="get", resource="pods")
    assert codes == [201]
