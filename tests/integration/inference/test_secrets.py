"""Keys occur in nothing that a server logs or keeps, whatever its log level."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from speechmodel_api.schema import S3Location
from support.leaks import files, leaks
from support.own_model import ModelServer, model_server
from support.seaweed import WRITER, Seaweed
from support.servers import OK_ESPEJO, Server, VersionFolder
from websockets.exceptions import InvalidStatus

BUCKET = "voices"
KEY, WRONG, IN_SUBPROTOCOL = "ApiKeyOfAClient71e0", "WrongApiKey5d2f", "openai-insecure-api-key."
TOKEN = "TokenOfTheServiceAccountB8c4"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ModelServer]:
    """An API server that knows the token."""
    (tmp_path / "api").mkdir()
    with model_server(tmp_path / "api") as server:
        server.token = TOKEN
        (server.account / "token").write_text(TOKEN, encoding="utf-8")
        yield server


def test_no_key_is_in_the_log_or_beside_the_takes(tmp_path: Path, mapped: Path, cluster: ModelServer) -> None:
    base = tmp_path / "server"
    base.mkdir()
    (tmp_path / "keys").write_text(KEY, encoding="utf-8")
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar("ok espejo", "vale [espejo]")
    with Seaweed(tmp_path / "seaweed", BUCKET) as s3:
        settings = {
            "log_level": "DEBUG",
            "api_keys": str(tmp_path / "keys"),
            "takes_bucket": S3Location(bucket=BUCKET, endpoint=s3.endpoint).model_dump_json(by_alias=True),
            "misheard_days": "3",
            "misheard_below": "1",
            "service_account": str(cluster.account),
        }
        environment = {**cluster.environment, **WRITER.environment}
        with Server(folder.path, base / "server.log", settings, environment=environment) as server:
            server.until_ready()
            sound = OK_ESPEJO.read_bytes()
            form = {"text": "ok espejo", "speaker": "Ana", "consent": "true"}
            for key, codes in ((KEY, [200, 201, 200]), (WRONG, [401] * 3)):
                headers = {"Authorization": f"Bearer {key}"}
                answers = [
                    server.client.post("/v1/audio/transcriptions", files={"file": sound}, headers=headers),
                    server.client.post("/v1/takes", data=form, files={"file": sound}, headers=headers),
                    server.client.get("/v1/retrain", headers=headers),
                ]
                assert [answer.status_code for answer in answers] == codes
            offered = [f"{IN_SUBPROTOCOL}{KEY}", "realtime"]
            with server.websocket("/v1/realtime?intent=transcription", subprotocols=offered) as socket:
                socket.recv()
            with pytest.raises(InvalidStatus):
                server.websocket("/vosk", subprotocols=[f"{IN_SUBPROTOCOL}{WRONG}"])
            server.terminate()
            assert server.until_ended() == 0
        kept = {key: s3.client().get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in s3.keys(BUCKET)}
    assert any(key.startswith("takes/") for key in kept)
    found = kept | files(base)
    assert b" DEBUG " in found["server.log"]
    assert leaks(found, [KEY, WRONG, WRITER.secret_key, TOKEN]) == []
