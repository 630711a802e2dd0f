"""The inbox of misheard clips: what a server keeps of requests, for how long, and how it becomes a take."""

import base64
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from speechmodel_api.takes import TAKES, Misheard, Take
from speechmodel_inference.misheard import inbox_folder
from speechmodel_runtime import Pcm, load
from support.places import FIXTURES
from support.servers import OK_ESPEJO, PHRASES, Server, Start, VersionFolder

HOLA = FIXTURES / "clips" / "shapes_3c59dc04_2_3_000000_2_001.wav"
"""hola espejo, which is not in the grammar"""
INBOX = inbox_folder("espejo")
PAUSE = np.zeros(16_000, np.int16)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dataset")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, mapped: Path, dataset: Path) -> Iterator[list[Server]]:
    """Two servers with a grammar that keep what they reject, in the same folder."""
    base = tmp_path_factory.mktemp("misheard")
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar(*PHRASES, quien=("hija", "hijo", "nuera"))
    settings = {"takes": str(dataset), "misheard_days": "3", "misheard_below": "0"}
    with (
        Server(folder.path, base / "server-0.log", settings) as first,
        Server(folder.path, base / "server-1.log", settings) as second,
    ):
        yield [first.until_ready(), second.until_ready()]


@pytest.fixture
def server(servers: list[Server], dataset: Path) -> Iterator[Server]:
    """One of them, with an empty folder before and after a test."""
    yield servers[0]
    for name in (INBOX, TAKES):
        shutil.rmtree(dataset / name, ignore_errors=True)


def wav(pcm: Pcm) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm, 16_000, format="WAV")
    return file.getvalue()


def clips(server: Server) -> Any:
    return server.get("/v1/misheard").raise_for_status().json()["clips"]


def until_kept(server: Server, count: int) -> Any:
    """Return the clips once there are as many: they are written after the answer."""
    server.until(lambda: len(clips(server)) >= count, f"{count} clips are kept")
    found = clips(server)
    assert len(found) == count
    return found


def confirm(server: Server, clip: str, **said: object) -> httpx.Response:
    body = {"text": "hola espejo", "speaker": "Ana", "consent": True} | said
    return server.client.post(f"/v1/misheard/{clip}/take", json=body)


def test_a_rejected_recording_is_kept_and_an_answered_one_is_not(server: Server, dataset: Path) -> None:
    assert server.transcribe(OK_ESPEJO).json() == {"text": "ok espejo"}
    assert server.transcribe(HOLA).json() == {"text": ""}
    (clip,) = until_kept(server, 1)
    assert (clip["heard"], clip["confidence"], clip["version"]) == ("", None, "0123abcd")
    assert "ok espejo" in clip["candidates"]
    sound = server.get(f"/v1/misheard/{clip['id']}/audio")
    assert sound.headers["content-type"] == "audio/wav"
    assert len(load(io.BytesIO(sound.content))) == pytest.approx(16_000 * clip["seconds"], abs=160)
    document = (dataset / INBOX / f"{clip['id']}.json").read_bytes()
    assert Misheard.model_validate_json(document).language == "es-CL"


def test_of_a_recording_with_pauses_only_the_rejected_part_is_kept(server: Server) -> None:
    recording = np.concatenate([load(OK_ESPEJO), PAUSE, load(HOLA)])
    assert server.transcribe(wav(recording)).json() == {"text": "ok espejo"}
    (clip,) = until_kept(server, 1)
    assert clip["seconds"] < len(load(HOLA)) / 16_000 + 0.7


def vosk(server: Server) -> None:
    with server.websocket("/vosk") as socket:
        socket.send(load(HOLA).tobytes())
        socket.recv()
        socket.send('{"eof": 1}')
        assert json.loads(socket.recv())["text"] == ""


def realtime(server: Server, more: str = "") -> None:
    samples = np.concatenate([load(HOLA).repeat(3)[::2], PAUSE, PAUSE])  # 24 kHz
    with server.websocket(f"/v1/realtime?intent=transcription{more}") as socket:
        audio = base64.b64encode(samples.tobytes()).decode()
        socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
        while not json.loads(socket.recv())["type"].endswith("transcription.completed"):
            pass


def body(server: Server) -> None:
    assert server.client.post("/stt", content=HOLA.read_bytes()).text == ""


@pytest.mark.parametrize("send", [vosk, realtime, body])
def test_every_protocol_keeps_what_is_rejected(server: Server, send: Callable[[Server], None]) -> None:
    send(server)
    until_kept(server, 1)


def test_a_recording_with_a_preview_is_kept_once(server: Server) -> None:
    realtime(server, "&preview=true")
    server.transcribe(HOLA)  # the last one is written last
    until_kept(server, 1)


def test_silence_and_noise_that_could_be_no_take_are_not_kept(server: Server) -> None:
    server.transcribe(wav(np.zeros(32_000, np.int16)))
    server.transcribe(wav(np.random.default_rng(1).normal(0, 900, 32_000).astype(np.int16)))
    server.transcribe(HOLA)  # the last one is written last
    until_kept(server, 1)


def test_a_clip_becomes_a_take_and_leaves_the_inbox(server: Server, dataset: Path) -> None:
    server.transcribe(HOLA)
    (clip,) = until_kept(server, 1)
    sound = server.get(f"/v1/misheard/{clip['id']}/audio").content
    answer = confirm(server, clip["id"], text=" hola   espejo ", speaker="Ana Ruiz")
    assert (answer.status_code, answer.json()) == (
        201,
        {"id": clip["id"], "speaker": "Ana Ruiz", "text": "hola espejo", "new_letters": []},
    )
    document = dataset / TAKES / "Ana Ruiz" / f"{clip['id']}.json"
    take = Take.model_validate_json(document.read_bytes())
    assert (take.text, take.speaker, take.language, take.consent) == ("hola espejo", "Ana Ruiz", "es-CL", True)
    assert document.with_suffix(".wav").read_bytes() == sound
    assert clips(server) == []
    again = confirm(server, clip["id"])
    assert (again.status_code, again.json()["error"]["code"]) == (404, "clip_not_found")


@pytest.mark.parametrize("said", [{"consent": False}, {"speaker": "../ana"}, {"speaker": ""}, {"text": " "}])
def test_a_take_that_lacks_something_is_refused_and_the_clip_stays(server: Server, said: dict[str, object]) -> None:
    server.transcribe(HOLA)
    (clip,) = until_kept(server, 1)
    answer = confirm(server, clip["id"], **said)
    (field,) = said
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
    assert [each["id"] for each in clips(server)] == [clip["id"]]


def test_a_sentence_for_which_the_clip_is_too_short_is_refused_and_the_clip_stays(server: Server) -> None:
    server.transcribe(HOLA)
    (clip,) = until_kept(server, 1)
    answer = confirm(server, clip["id"], text="hola " * 100)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "take_too_short")
    assert "too short for this sentence; correct the sentence" in answer.json()["error"]["message"]
    assert [each["id"] for each in clips(server)] == [clip["id"]]


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        (b'{"text": "hola"', 400, "invalid_json", "send one with text, speaker and consent"),
        (b"", 400, "invalid_json", "send one with text, speaker and consent"),
        (b'{"text": 5}', 400, "invalid_value", "send the spoken sentence"),
        (b"a" * (65 << 10), 413, "upload_too_large", "larger than"),
    ],
    ids=["cut", "empty", "number", "too large"],
)
def test_a_body_that_cannot_be_read_is_refused_in_a_sentence(
    server: Server, body: bytes, status: int, code: str, says: str
) -> None:
    parts = (body[start : start + (1 << 10)] for start in range(0, len(body), 1 << 10))  # without Content-Length
    answer = server.client.post(
        "/v1/misheard/20260101-000000-abcdef/take", content=parts, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert says in answer.json()["error"]["message"]


def test_clips_are_deleted_one_by_one_and_together(server: Server, dataset: Path) -> None:
    for _ in range(3):
        server.transcribe(HOLA)
    first = until_kept(server, 3)[0]["id"]
    assert server.client.delete(f"/v1/misheard/{first}").status_code == 204
    assert server.client.delete(f"/v1/misheard/{first}").status_code == 404
    assert server.client.delete("/v1/misheard").json() == {"deleted": 2}
    assert list((dataset / INBOX).iterdir()) == []


def test_two_servers_share_the_inbox_and_a_clip_becomes_one_take(
    servers: list[Server], server: Server, dataset: Path
) -> None:
    with ThreadPoolExecutor(6) as people:
        list(people.map(lambda each: each.transcribe(HOLA), servers * 3))
    found = until_kept(server, 6)
    server.until(lambda: len(clips(servers[1])) == 6, "the other server lists them too")
    with ThreadPoolExecutor(2) as people:
        for clip in found:
            answers = people.map(
                lambda each, name, clip=clip: confirm(each, clip["id"], speaker=name), servers, ("Ana", "Luz")
            )
            assert sorted(answer.status_code for answer in answers) == [201, 404]
    assert len(list((dataset / TAKES).glob("*/*.json"))) == 6


def test_a_clip_that_was_confirmed_just_before_a_server_ended_becomes_no_second_take(
    server: Server, dataset: Path
) -> None:
    server.transcribe(HOLA)
    (clip,) = until_kept(server, 1)
    left = {path.name: path.read_bytes() for path in (dataset / INBOX).iterdir()}
    confirm(server, clip["id"], speaker="Ana")
    for name, content in left.items():
        (dataset / INBOX / name).write_bytes(content)
    assert confirm(server, clip["id"], speaker="Luz").status_code == 404
    assert [path.name for path in (dataset / TAKES).iterdir()] == ["Ana"]
    assert clips(server) == []


def test_pages_of_other_sites_confirm_and_delete_nothing(server: Server) -> None:
    server.transcribe(HOLA)
    (clip,) = until_kept(server, 1)
    headers = {"Origin": "http://elsewhere.example"}
    assert server.client.delete("/v1/misheard", headers=headers).status_code == 403
    assert server.client.get(f"/v1/misheard/{clip['id']}/audio", headers=headers).status_code == 403
    assert len(clips(server)) == 1


@pytest.mark.parametrize("clip", ["..%2F..%2Ftakes", "20260101-000000-xxxxxx", "x"])
def test_paths_that_name_no_clip_are_refused(server: Server, clip: str) -> None:
    assert server.client.get(f"/v1/misheard/{clip}/audio").status_code in {400, 404}
    assert server.client.delete(f"/v1/misheard/{clip}").status_code in {400, 404, 405}


def test_a_full_or_closed_disk_costs_the_clip_and_no_answer(server: Server, dataset: Path) -> None:
    (dataset / INBOX).parent.mkdir(exist_ok=True)
    (dataset / INBOX).write_bytes(b"in the way")
    try:
        assert server.transcribe(HOLA).status_code == 200
        server.until(lambda: "clip is not kept" in server.log.read_text(), "the log says so")
    finally:
        (dataset / INBOX).unlink()
    server.transcribe(HOLA)
    until_kept(server, 1)


# --- settings ---


@pytest.fixture
def starting(folder: VersionFolder, start: Start, tmp_path: Path) -> Callable[..., Server]:
    """Start a server with a grammar whose dataset is the folder `dataset`."""
    folder.decode_by_grammar(*PHRASES, quien=("hija", "hijo", "nuera"))
    (tmp_path / "dataset").mkdir(exist_ok=True)
    return lambda **settings: start(takes=tmp_path / "dataset", **settings).until_ready()


def leave(dataset: Path, age: timedelta) -> Path:
    """Put a clip of this age into the inbox and return its sound."""
    time = datetime.now(UTC) - age
    path = dataset / INBOX / f"{time:%Y%m%d-%H%M%S}-0a1b2c.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(HOLA.read_bytes())
    clip = Misheard(heard="", language="es", version="0123abcd", seconds=1.5, recorded_at=time)
    path.with_suffix(".json").write_text(clip.model_dump_json(by_alias=True), encoding="utf-8")
    return path


def test_clips_go_when_their_time_is_over(starting: Callable[..., Server], tmp_path: Path) -> None:
    old, new = leave(tmp_path / "dataset", timedelta(days=3, hours=1)), leave(tmp_path / "dataset", timedelta(days=2))
    orphan = old.with_name("20200101-000000-0a1b2c.wav")  # a server ended before it wrote the document
    orphan.write_bytes(b"RIFF")
    server = starting(misheard_days=3)
    server.until(lambda: not old.exists() and not orphan.exists(), "the old clips are gone")
    assert [each["id"] for each in clips(server)] == [new.stem]
    assert not old.with_suffix(".json").exists()


def test_without_the_setting_nothing_is_kept_and_what_is_left_goes(
    starting: Callable[..., Server], tmp_path: Path
) -> None:
    left = leave(tmp_path / "dataset", timedelta(hours=1))
    server = starting()
    server.until(lambda: not left.exists(), "the clip is gone")
    assert server.transcribe(HOLA).json() == {"text": ""}
    assert server.get("/v1/misheard").status_code == 404
    assert server.get("/v1/speechmodel").json()["misheard_days"] is None
    server.terminate()
    assert server.until_ended() == 0
    assert list((tmp_path / "dataset" / INBOX).iterdir()) == []


def test_doubtful_answers_are_kept_with_what_was_heard(starting: Callable[..., Server]) -> None:
    server = starting(misheard_days=1, misheard_below=1)
    answer = server.transcribe(OK_ESPEJO, response_format="verbose_json").json()
    (clip,) = until_kept(server, 1)
    assert (clip["heard"], clip["confidence"]) == ("ok espejo", answer["confidence"])


def test_the_oldest_clips_make_room_for_new_ones(starting: Callable[..., Server], tmp_path: Path) -> None:
    old = [leave(tmp_path / "dataset", timedelta(hours=hours)) for hours in (3, 2)]
    for path in old:
        os.truncate(path, 600_000)
    server = starting(misheard_days=1, misheard_mebibytes=1)
    server.transcribe(HOLA)
    server.until(lambda: not old[0].exists(), "the oldest clip is gone")
    server.until(lambda: len(clips(server)) == 2, "the new clip is kept")
    assert old[1].exists()


def test_a_clip_is_written_before_a_server_ends(starting: Callable[..., Server], tmp_path: Path) -> None:
    server = starting(misheard_days=1, lame_duck_seconds=0)
    server.transcribe(HOLA)
    server.terminate()
    assert server.until_ended() == 0
    assert len(list((tmp_path / "dataset" / INBOX).glob("*.json"))) == 1


def test_the_inbox_needs_a_key_where_the_server_asks_for_one(starting: Callable[..., Server], tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret", encoding="utf-8")
    server = starting(misheard_days=1, api_keys=tmp_path / "keys")
    assert server.get("/v1/misheard").status_code == 401
    assert server.client.get("/v1/misheard", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_the_inbox_without_a_folder_is_refused(start: Start) -> None:
    server = start(misheard_days=3)
    assert server.until_ended() == 78
    assert "SPEECHMODEL_MISHEARD_DAYS: set SPEECHMODEL_TAKES too" in server.log.read_text()
