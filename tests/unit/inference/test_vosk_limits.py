"""The limits of /vosk, on the app without a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from speechmodel_inference.app import create_app
from speechmodel_inference.decoders import DecodedUtterance, DecodingOptions
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.version import ServedVersion
from speechmodel_runtime import Pcm, load
from speechmodel_runtime.errors import DecodingFailed
from starlette.testclient import TestClient, WebSocketTestSession
from support.servers import OK_ESPEJO

SPEECH = load(OK_ESPEJO).tobytes()


class Decoder:
    """Decodes nothing, and keeps the options that it was given."""

    takes_hot_words = True

    def __init__(self, error: DecodingFailed | None = None) -> None:
        self.error = error
        self.options: list[DecodingOptions] = []

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions) -> DecodedUtterance:
        self.options.append(options)
        if self.error is not None:
            raise self.error
        return DecodedUtterance("")


@contextmanager
def connected(decoder: Decoder, folder: Path, **settings: float) -> Iterator[tuple[WebSocketTestSession, Services]]:
    app = create_app(Settings.model_validate({"folder": folder, **settings}))
    services: Services = app.state.services
    fake = SimpleNamespace(manifest=SimpleNamespace(speech_level=-26.0), decoder=decoder)
    services.lifecycle._version = cast(ServedVersion, fake)
    with TestClient(app).websocket_connect("/vosk") as socket:
        yield socket, services


def test_a_failure_of_the_decoder_is_an_error_object_at_the_end_of_the_utterance(tmp_path: Path) -> None:
    with connected(Decoder(DecodingFailed("no memory", 1)), tmp_path) as (socket, _):
        socket.send_bytes(SPEECH)
        assert socket.receive_json() == {"partial": ""}
        socket.send_json({"eof": 1})
        assert "no memory" in socket.receive_json()["error"]
        assert socket.receive()["code"] == 1011


@pytest.mark.parametrize(
    ("phrases", "words"),
    [
        (None, ()),
        (["Ok Espejo", "ok", "[unk]"], ("ok", "espejo", "unk")),
        ([f"word{number}" for number in range(1000)], tuple(f"word{number}" for number in range(100))),
    ],
)
def test_a_phrase_list_counts_like_a_prompt(phrases: list[str] | None, words: tuple[str, ...], tmp_path: Path) -> None:
    decoder = Decoder()
    with connected(decoder, tmp_path) as (socket, _):
        socket.send_json({"config": {"phrase_list": phrases, "sample_rate": None}})
        socket.send_bytes(SPEECH)
        assert socket.receive_json() == {"partial": ""}
        socket.send_json({"eof": 1})
        assert socket.receive_json() == {"text": ""}
    assert {options.hot_words for options in decoder.options} == {words}
