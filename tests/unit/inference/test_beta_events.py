"""Which clients of realtime sessions get the events of the beta API, on the app without a model."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from speechmodel_inference.app import create_app
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.version import ServedVersion
from starlette.testclient import TestClient


@pytest.mark.parametrize(
    ("sent", "beta"), [("realtime=v1", True), ("x=1, Realtime=v1", True), ("assistants=v2", False)]
)
def test_the_header_of_another_beta_api_asks_for_no_beta_events(sent: str, beta: bool, tmp_path: Path) -> None:
    app = create_app(Settings(folder=tmp_path))
    services: Services = app.state.services
    services.lifecycle._version = cast(ServedVersion, SimpleNamespace(decoder=SimpleNamespace(takes_hot_words=True)))
    with TestClient(app).websocket_connect("/v1/realtime", headers={"OpenAI-Beta": sent}) as socket:
        assert socket.receive_json()["type"] == ("transcription_session.created" if beta else "session.created")
