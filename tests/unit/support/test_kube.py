"""Requests of the tests to an API server."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from support.api_server import write_kubeconfig
from support.kube import Kubectl


@contextmanager
def answering(codes: list[int]) -> Iterator[str]:
    """Answer requests with these status codes, one after another, and give the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"items": []}'
            self.send_response(codes.pop(0))
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

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


def kubectl(folder: Path, server: str) -> Kubectl:
    write_kubeconfig(folder / "kubeconfig", server, "token")
    return Kubectl("kubectl", str(folder / "kubeconfig"), None, "default")


def test_a_read_is_sent_again_while_the_api_server_cannot_answer(tmp_path: Path) -> None:
    codes = [503, 500, 200]
    with answering(codes) as server:
        assert kubectl(tmp_path, server).find("jobs") == []
    assert codes == []


def test_a_read_that_is_not_allowed_fails_at_once(tmp_path: Path) -> None:
    with answering([403]) as server, pytest.raises(AssertionError, match="403"):
        kubectl(tmp_path, server).find("jobs")
