"""An API server with one SpeechModel, as a server sees it: TLS, a token, and merge patches."""

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Object = dict[str, Any]
NAMESPACE = "speech"
PREPARED_AT = "2026-01-02T03:04:05Z"
PATH = f"/apis/speechops.dev/v1alpha1/namespaces/{NAMESPACE}/speechmodels/espejo"


def ready() -> Object:
    """Return a SpeechModel whose version is served."""
    made = ("DatasetReady", "Trained", "Published", "Promoted", "Serving", "Ready")
    return {
        "apiVersion": "speechops.dev/v1alpha1",
        "kind": "SpeechModel",
        "metadata": {"name": "espejo", "namespace": NAMESPACE, "generation": 4, "resourceVersion": "100"},
        "spec": {"language": "es", "dataset": {"revision": "1"}},
        "status": {
            "observedGeneration": 4,
            "phase": "Ready",
            "progress": "75/75",
            "conditions": [{"type": each, "status": "True", "message": f"{each} is true"} for each in made],
            "stages": [{"name": "prepare", "state": "Succeeded", "startedAt": PREPARED_AT}],
        },
    }


@dataclass
class ModelServer:
    """The server, and what it answers with."""

    account: Path
    """The folder of the ServiceAccount, as a pod has it."""
    port: int
    model: Object = field(default_factory=ready)
    token: str = "secret"
    allowed: bool = True
    answers: bytes | None = None
    """A body to send instead of a SpeechModel."""
    before_patch: Callable[[], None] = lambda: None
    """Called before each patch is applied."""
    patches: list[Object] = field(default_factory=list)
    """The patches that were applied."""

    @property
    def environment(self) -> dict[str, str]:
        """The variables that kubelet gives a pod."""
        return {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self.port)}

    @property
    def revision(self) -> str:
        revision: str = self.model["spec"]["dataset"]["revision"]
        return revision

    def write_status(self, **fields: Any) -> None:
        """Change the status, as the operator does."""
        metadata = self.model["metadata"]
        self.model["status"] |= {"observedGeneration": metadata["generation"], **fields}
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, Object | bytes]:
        """Return the status and the body of an answer."""
        if authorization != f"Bearer {self.token}":
            return 401, _status("Unauthorized")
        if not self.allowed or path.partition("?")[0] != PATH:
            return 403, _status(f"speechmodels.speechops.dev is forbidden: User cannot {method.lower()} resource")
        if self.answers is not None:
            return 200, self.answers
        if method == "PATCH":
            self.before_patch()
            patch, metadata = json.loads(body), self.model["metadata"]
            if patch["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
                return 409, _status("the object has been modified")
            self.patches.append(patch["spec"])
            self.model["spec"]["dataset"] |= patch["spec"]["dataset"]
            metadata |= {"generation": metadata["generation"] + 1, "resourceVersion": f"{metadata['resourceVersion']}0"}
        return 200, self.model


def _status(message: str) -> Object:
    return {"kind": "Status", "status": "Failure", "message": message}


@contextmanager
def model_server(folder: Path) -> Iterator[ModelServer]:
    """Run the server while the block runs. Its certificate and the account of the pod are written to `folder`."""
    account, key = folder / "account", folder / "tls.key"
    account.mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=api"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(account / "ca.crt")]
    subprocess.run([*command, *files], check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, answer = served.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_PATCH = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, *_: object) -> None:
            """Keep the output of the tests clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(account / "ca.crt", key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        served = ModelServer(account, server.server_address[1])
        (account / "token").write_text(served.token, encoding="utf-8")
        (account / "namespace").write_text(NAMESPACE, encoding="utf-8")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield served
        server.shutdown()
