"""The program of `helm test`, against an API server that answers what each test needs."""

import importlib.util
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from speechmodel_api.crd import schema
from support.places import CHART

RULES = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["get", "create"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]
Answer = tuple[int, Any]


class ApiServer:
    """Answers what the program asks, and can be made to lack a field, a permission or health."""

    def __init__(self) -> None:
        self.schema: dict[str, Any] | None = schema()
        self.denied: set[tuple[str, str, str]] = set()
        """Pairs of a resource and a subresource, with a verb."""
        self.health: list[int] = [200]
        """Status codes of /healthz, of which the last one stays."""
        self.reviewed: list[dict[str, str]] = []

    def get(self, path: str) -> Answer:
        """Return the answer to a GET."""
        if path == "/healthz":
            return (self.health.pop(0) if len(self.health) > 1 else self.health[0]), {"reconcile": "stalled"}
        if path == "/openapi/v3/apis/speechops.dev/v1alpha1" and self.schema:
            return 200, {"components": {"schemas": {"dev.speechops.v1alpha1.SpeechModel": self.schema}}}
        return 404, {"message": "not found"}

    def review(self, body: dict[str, Any]) -> Answer:
        """Return the answer to an access review."""
        asked = body["spec"]["resourceAttributes"]
        self.reviewed.append(asked)
        denied = (asked["resource"], asked.get("subresource", ""), asked["verb"]) in self.denied
        return 201, body | {"status": {"allowed": not denied}}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """The API server that the kubeconfig names, and the operator's health."""
    state = ApiServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(state.get(self.path))

        def do_POST(self) -> None:
            self.answer(state.review(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def answer(self, answer: Answer) -> None:
            self.send_response(answer[0])
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer[1]).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{http.server_port}"
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(_kubeconfig(address)), encoding="utf-8")
        monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        for name, value in {
            "CHECK_HEALTH": f"{address}/healthz",
            "CHECK_RULES": json.dumps(RULES),
            "CHECK_NAMESPACES": "",
        }.items():
            monkeypatch.setenv(name, value)
        yield state
        http.shutdown()


def _kubeconfig(address: str) -> dict[str, Any]:
    return {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": address}}],
        "users": [{"name": "test", "user": {"token": "secret"}}],
    }


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program as a module, which gives the operator one second to become healthy."""
    specification = importlib.util.spec_from_file_location("check_install", CHART / "files" / "check_install.py")
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, "HEALTH_SECONDS", 1)
    return module


async def test_a_good_installation_passes(
    server: ApiServer, program: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await program.main() == 0
    assert capsys.readouterr().out == "schema: ok\npermissions: ok\nhealth: ok\n"
    assert [(asked["resource"], asked.get("subresource"), asked["verb"]) for asked in server.reviewed] == [
        ("jobs", "", "get"),
        ("jobs", "", "create"),
        ("pods", "log", "get"),
    ]


async def test_a_missing_definition_fails(
    server: ApiServer, program: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    server.schema = None
    assert await program.main() == 1
    assert "does not serve speechops.dev/v1alpha1 (404 Not Found): install the Custom" in capsys.readouterr().out


async def test_an_older_definition_fails_and_the_missing_fields_are_named(
    server: ApiServer, program: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.schema
    del server.schema["properties"]["spec"]["properties"]["serving"]["properties"]["service"]["properties"]["name"]
    del server.schema["properties"]["status"]["properties"]["stages"]["items"]["properties"]["settings"]
    assert await program.main() == 1
    assert "lacks spec.serving.service.name, status.stages.settings: upgrade it" in capsys.readouterr().out


async def test_a_missing_permission_fails_in_the_namespace_that_lacks_it(
    server: ApiServer, program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHECK_NAMESPACES", "a,b")
    server.denied = {("pods", "log", "get")}
    assert await program.main() == 1
    printed = capsys.readouterr().out
    assert "may not get pods/log in a\n" in printed
    assert "may not get pods/log in b\n" in printed
    assert "jobs" not in printed


async def test_an_operator_that_becomes_healthy_passes(
    server: ApiServer, program: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "HEALTH_SECONDS", 600)
    server.health = [503, 200]
    assert await program.main() == 0


async def test_an_unhealthy_operator_fails_with_its_own_answer(
    server: ApiServer, program: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    server.health = [503]
    assert await program.main() == 1
    assert 'healthz answered 503 Service Unavailable: {"reconcile": "stalled"}' in capsys.readouterr().out


async def test_an_operator_that_does_not_run_fails(
    server: ApiServer, program: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    del server
    monkeypatch.setenv("CHECK_HEALTH", "http://127.0.0.1:9/healthz")
    assert await program.main() == 1
    assert "check that the operator's pod is running" in capsys.readouterr().out
