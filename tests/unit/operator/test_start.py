"""The start of the operator."""

import asyncio
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio import client
from speechmodel_api.crd import GROUP, PLURAL, VERSION
from speechmodel_operator import __main__ as module
from speechmodel_operator.cluster import definition
from speechmodel_operator.settings import Settings
from support.ports import free_ports
from support.waiting import STALLED_SECONDS


async def test_an_operator_is_healthy_while_it_waits_for_the_definition_and_ready_once_that_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, installed = asyncio.Event(), asyncio.Event()
    group = f"/apis/{GROUP}/{VERSION}"

    async def answers(request: web.Request) -> web.StreamResponse:
        asked.set()
        if installed.is_set() and request.path == group:
            return web.json_response({"resources": [{"name": PLURAL}]})
        return web.Response(status=HTTPStatus.NOT_FOUND)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answers)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]

    async def configuration() -> client.Configuration:
        return client.Configuration(host=f"http://{host}:{port}")

    monkeypatch.setattr(module, "load_configuration", configuration)
    monkeypatch.setattr(definition, "LOOK_AGAIN_SECONDS", 0.01)
    liveness, metrics = free_ports(2)
    settings = Settings(liveness_port=liveness, metrics_port=metrics)
    operator = asyncio.create_task(module.operate(settings))
    async with asyncio.timeout(STALLED_SECONDS), aiohttp.ClientSession() as session:

        async def status(path: str) -> int:
            async with session.get(f"http://127.0.0.1:{liveness}{path}") as answer:
                return answer.status

        await asked.wait()
        assert (await status("/healthz"), await status("/readyz")) == (HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE)
        installed.set()
        while await status("/readyz") != HTTPStatus.OK:
            await asyncio.sleep(0.01)
    operator.cancel()
    await asyncio.gather(operator, return_exceptions=True)
    await runner.cleanup()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="no file"),
        pytest.param("kind: Config\n", id="no current context"),
        pytest.param("current-context: [", id="no YAML"),
        pytest.param(
            "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
            "clusters: [{name: k, cluster: {server: 'https://127.0.0.1:1', certificate-authority: absent.pem}}]\n"
            "users: [{name: u, user: {}}]\n",
            id="no certificate",
        ),
    ],
)
def test_without_a_cluster_the_operator_ends_with_a_sentence(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    command = [sys.executable, "-m", "speechmodel_operator"]
    done = subprocess.run(command, env={"KUBECONFIG": str(file), "HOME": "/"}, capture_output=True, text=True)
    assert done.returncode == 78, done.stderr
    assert "speechmodel-operator: no cluster found; set KUBECONFIG to a kubeconfig file" in done.stderr
    assert "Traceback" not in done.stderr
