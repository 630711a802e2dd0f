import csv
import io
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import openai
import pytest
import soundfile
from speechmodel_runtime import load
from support.places import FIXTURES
from support.servers import BOTH_ENGINES, OK_ESPEJO, Server


def encoded(container: str, rate: int = 16000, samples: np.ndarray | None = None) -> bytes:
    file = io.BytesIO()
    pcm = load(OK_ESPEJO, sample_rate=rate) if samples is None else samples
    soundfile.write(file, pcm, rate, format=container)
    return file.getvalue()


def spoken() -> list[tuple[str, str]]:
    with (FIXTURES / "clips.csv").open(encoding="utf-8", newline="") as file:
        return [(row["wav_filename"], row["transcript"]) for row in csv.DictReader(file)]


@BOTH_ENGINES
def test_the_openai_client_gets_the_words_of_every_clip(server: Server) -> None:
    client = server.openai()
    for name, words in spoken():
        with (FIXTURES / name).open("rb") as file:
            assert client.audio.transcriptions.create(file=file, model="espejo").text == words


@pytest.mark.parametrize(
    ("container", "rate"),
    [("WAV", 16000), ("WAV", 44100), ("FLAC", 48000), ("OGG", 16000), ("MP3", 44100)],
)
def test_any_usual_format_is_understood(container: str, rate: int, server: Server) -> None:
    answer = server.transcribe(encoded(container, rate))
    assert answer.status_code == 200, answer.text
    assert "espejo" in answer.json()["text"]


def test_curl_gets_json_and_text(server: Server) -> None:
    def curl(*more: str) -> str:
        command = ["curl", "-sS", "-F", f"file=@{OK_ESPEJO}", *more, f"{server.url}/v1/audio/transcriptions"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert json.loads(curl()) == {"text": "ok espejo"}
    assert curl("-F", "response_format=text") == "ok espejo\n"


def test_the_openai_client_gets_plain_text(server: Server) -> None:
    with OK_ESPEJO.open("rb") as file:
        answer = server.openai().audio.transcriptions.create(file=file, model="espejo", response_format="text")
    assert answer == "ok espejo\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "espejo"},
        {"model": "0123abcd"},
        {"model": ""},
        {"language": "es"},
        {"model": "whisper-1"},
        {"model": "gpt-4o-transcribe"},
        {"language": "ES-mx"},
        {"language": "es_ES"},
        {"language": "spa"},
        {"language": "Spanish"},
        {"language": "español"},
        {"language": "auto"},
        {"language": "", "response_format": "", "temperature": " ", "stream": "", "timestamp_granularities[]": ""},
        {"temperature": "0", "prompt": "una casa", "timestamp_granularities[]": "word"},
        {"timestamp_granularities": "word"},
        {"stream": "false"},
    ],
)
def test_what_clients_send_along_is_taken(fields: dict[str, str], server: Server) -> None:
    answer = server.transcribe(OK_ESPEJO, **fields)
    assert (answer.status_code, answer.json()) == (200, {"text": "ok espejo"})


@pytest.mark.parametrize(
    ("fields", "status", "param", "says"),
    [
        (
            {"response_format": "docx"},
            400,
            "response_format",
            "'json', 'text', 'srt', 'vtt' or 'verbose_json', not 'docx'",
        ),
        ({"timestamp_granularities[]": "letter"}, 400, "timestamp_granularities", "'word' or 'segment', not 'letter'"),
        ({"temperature": "hot"}, 400, "temperature", "number"),
        ({"stream": "perhaps"}, 400, "stream", "must be true or false"),
        ({"language": "klingon of the north"}, 400, "language", "this model recognises es-CL"),
        ({"language": "en"}, 400, "language", "this model recognises es-CL, not 'en'"),
        ({"model": "whisper-9"}, 404, "model", "'whisper-9' does not exist here; this server has 'espejo'"),
    ],
)
def test_a_field_that_cannot_be_met_is_named(
    fields: dict[str, str], status: int, param: str, says: str, server: Server
) -> None:
    answer = server.transcribe(OK_ESPEJO, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (status, param)
    assert says in error["message"]
    assert set(error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("audio", "code", "says"),
    [
        (b"", "audio_empty", "is empty (0 bytes)"),
        (b"this is a letter, not a recording" * 10, "audio_unreadable", "is not readable audio"),
        (encoded("WAV", samples=np.zeros(0, np.int16)), "audio_empty", "has no samples"),
        (
            encoded("WAV", samples=np.zeros(511, np.int16)),
            "audio_too_short",
            "511 samples, and the model needs at least 512",
        ),
        (encoded("FLAC", samples=np.zeros(16000 * 21, np.int16)), "audio_too_long", "is longer than 20 s"),
    ],
)
def test_audio_that_cannot_be_used_is_refused_with_a_sentence(
    audio: bytes, code: str, says: str, server: Server
) -> None:
    answer = server.transcribe(audio)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "file", code)
    assert error["message"].startswith("clip.wav: ")
    assert says in error["message"]


def test_the_openai_client_raises_its_own_errors(server: Server) -> None:
    client = server.openai()
    with pytest.raises(openai.NotFoundError) as unknown:
        client.audio.transcriptions.create(file=OK_ESPEJO, model="whisper-9")
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as unreadable:
        client.audio.transcriptions.create(file=("x.wav", b"no sound"), model="espejo")
    assert unreadable.value.param == "file"


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"json": {"file": "x"}}, "multipart/form-data"),
        ({"data": {"model": "espejo"}, "files": {"sound": b"x"}}, "The field 'file' with the recording is missing"),
        ({"data": {"file": "clip.wav"}, "files": {"x": b"x"}}, "'file' with the recording has text instead of a file"),
        ({"content": b"no parts", "headers": {"content-type": "multipart/form-data; boundary=x"}}, "multipart"),
        ({"content": b"--y\r\n\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}}, "multipart"),
        ({"content": b"", "headers": {"content-type": "multipart/form-data"}}, "boundary"),
        ({"files": [("file", b"x"), ("file", b"y")]}, "The body has more than one file;"),
    ],
)
def test_a_body_that_is_no_upload_is_refused(request_: dict[str, object], says: str, server: Server) -> None:
    answer = server.client.post("/v1/audio/transcriptions", **request_)  # type: ignore[arg-type] # a table of keywords
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_beyond_the_limit_is_refused(chunked: bool, server: Server) -> None:
    command = [
        "curl",
        "-sS",
        "-F",
        "file=@-;filename=long.wav",
        f"{server.url}/v1/audio/transcriptions",
        "-w",
        "\n%{http_code}",
    ]
    headers = ["-H", "Transfer-Encoding: chunked", "-H", "Expect:"] if chunked else ["-H", "Expect:"]
    done = subprocess.run(command + headers, input=bytes(6_000_000), capture_output=True, check=True)
    body, status = done.stdout.decode().rsplit("\n", 1)
    assert status == "413"
    assert json.loads(body)["error"]["code"] == "upload_too_large"


def test_a_large_upload_below_the_limit_is_taken(server: Server) -> None:
    long = encoded(
        "WAV", samples=np.tile(load(OK_ESPEJO, sample_rate=44100), 13)[: 44100 * 20].astype(np.int16), rate=44100
    )
    assert 1_500_000 < len(long) < 2_000_000
    assert server.transcribe(long).status_code == 200


def test_eight_clients_at_once_hear_what_one_hears(server: Server) -> None:
    clips = spoken()

    def all_of_them(offset: int) -> list[tuple[str, str]]:
        client = server.openai()
        order = clips[offset:] + clips[:offset]
        return [(w, client.audio.transcriptions.create(file=FIXTURES / n, model="espejo").text) for n, w in order[:9]]

    with ThreadPoolExecutor(8) as pool:
        pairs = [pair for heard in pool.map(all_of_them, range(8)) for pair in heard]
    assert len(pairs) == 72
    assert all(words == heard for words, heard in pairs)


def test_models_are_listed_and_found_by_name_and_version(server: Server) -> None:
    client = server.openai()
    assert [model.id for model in client.models.list()] == ["espejo"]
    for name in ("espejo", "0123abcd"):
        model = client.models.retrieve(name)
        assert (model.id, model.owned_by) == ("espejo", "speechmodel")
        assert (model.model_extra or {})["wer"] == 0.125
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("openai/whisper-1")


def test_other_paths_and_methods_answer_in_the_same_form(server: Server) -> None:
    missing, wrong = server.get("/v1/chat/completions"), server.get("/v1/audio/transcriptions")
    assert (missing.status_code, wrong.status_code) == (404, 405)
    assert missing.json()["error"]["type"] == wrong.json()["error"]["type"] == "invalid_request_error"
    assert wrong.headers["allow"] == "POST"


def test_the_openapi_document_describes_the_form(server: Server) -> None:
    operation = server.get("/openapi.json").json()["paths"]["/v1/audio/transcriptions"]["post"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"file", "model", "response_format"} <= set(form["properties"])


@BOTH_ENGINES
def test_metrics_count_requests_and_audio(server: Server, engine: str) -> None:
    before = server.metric("speechmodel_audio_seconds_total")
    server.transcribe(OK_ESPEJO)
    assert server.metric("speechmodel_audio_seconds_total") - before == pytest.approx(len(load(OK_ESPEJO)) / 16000)
    path = "/v1/audio/transcriptions"
    assert server.metric("speechmodel_http_requests_total", method="POST", path=path, status="200") >= 1
    assert server.metric("speechmodel_ready") == 1
    assert server.metric("speechmodel_requests_in_flight") == 0
    info = next(line for line in server.get("/metrics").text.splitlines() if line.startswith("speechmodel_model_info{"))
    assert 'name="espejo"' in info
    assert 'version="0123abcd"' in info
    assert f'engine="{engine}"' in info


@pytest.mark.parametrize("order", ["<i2", ">i2"], ids=["little-endian", "big-endian"])
def test_raw_samples_are_understood_if_their_type_says_what_they_are(order: str, server: Server) -> None:
    raw = load(OK_ESPEJO).astype(order).tobytes()
    answer = server.client.post("/v1/audio/transcriptions", files={"file": ("raw.pcm", raw, "audio/L16; rate=16000")})
    assert (answer.status_code, answer.json()) == (200, {"text": "ok espejo"})


def test_raw_samples_without_a_rate_are_refused_with_what_to_send(server: Server) -> None:
    answer = server.client.post("/v1/audio/transcriptions", files={"file": ("raw.pcm", b"00", "audio/L16")})
    assert answer.status_code == 400
    assert "needs a rate from 4000 to 768000, as in 'audio/l16; rate=16000'" in answer.json()["error"]["message"]


def multipart(disposition: bytes, content: bytes, end: bytes) -> dict[str, Any]:
    body = b"--b\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + content + end
    return {"content": body, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}


def test_a_form_that_was_cut_on_its_way_is_refused_as_such(server: Server) -> None:
    cut = multipart(b'name="file"; filename="a.wav"', OK_ESPEJO.read_bytes()[:9_000], b"")
    error = server.client.post("/v1/audio/transcriptions", **cut).json()["error"]
    assert (error["code"], error["param"]) == ("incomplete_multipart", "file")
    assert "ends before its last boundary" in error["message"]


def test_a_file_name_as_in_rfc_5987_is_that_of_a_file(server: Server) -> None:
    name = b"name=\"file\"; filename*=UTF-8''ni%C3%B1o.wav"
    answer = server.client.post("/v1/audio/transcriptions", **multipart(name, OK_ESPEJO.read_bytes(), b"\r\n--b--\r\n"))
    assert (answer.status_code, answer.json()) == (200, {"text": "ok espejo"})
    refused = server.client.post("/v1/audio/transcriptions", **multipart(name, b"no sound", b"\r\n--b--\r\n"))
    assert refused.json()["error"]["message"].startswith("ni\u00f1o.wav: is not readable audio")


async def test_the_asynchronous_openai_client_gets_the_words(server: Server) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        answer = await client.audio.transcriptions.create(file=OK_ESPEJO, model="whisper-1", language="es")
        assert answer.text == "ok espejo"
        events = await client.audio.transcriptions.create(file=OK_ESPEJO, model="whisper-1", stream=True)
        assert [event.type async for event in events] == ["transcript.text.delta", "transcript.text.done"]


@BOTH_ENGINES
def test_the_openai_client_gets_each_segment_as_it_is_decoded(server: Server) -> None:
    clip, pause = load(OK_ESPEJO), np.zeros(16_000 * 2, np.int16)
    speech = encoded("FLAC", samples=np.concatenate([clip, pause, clip]))
    events = list(
        server.openai().audio.transcriptions.create(file=("two.flac", speech), model="whisper-1", stream=True)
    )
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert (len(deltas), deltas[0], deltas[1][0], deltas[1][-9:]) == (2, "ok espejo", " ", "ok espejo")
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == "".join(deltas)


def test_an_error_before_the_first_segment_of_a_stream_is_an_error(server: Server) -> None:
    with pytest.raises(openai.BadRequestError):
        server.openai().audio.transcriptions.create(file=("x.wav", b"no sound"), model="whisper-1", stream=True)
    assert server.metric("speechmodel_requests_in_flight") == 0


@BOTH_ENGINES
def test_subtitles(server: Server) -> None:
    clip, pause = load(OK_ESPEJO), np.zeros(16_000 * 2, np.int16)
    speech = encoded("FLAC", samples=np.concatenate([clip, pause, clip]))
    srt, vtt = (server.transcribe(speech, response_format=each) for each in ("srt", "vtt"))
    lines = srt.text.splitlines()
    assert (lines[0], lines[2], lines[3], lines[4], lines[6][-9:]) == ("1", "ok espejo", "", "2", "ok espejo")
    assert re.fullmatch(r"00:00:0\d,\d{3} --> 00:00:0\d,\d{3}", lines[1])
    assert vtt.headers["content-type"].startswith("text/vtt")
    times = [lines[number].replace(",", ".") for number in (1, 5)]
    assert vtt.text.splitlines() == ["WEBVTT", "", times[0], lines[2], "", times[1], lines[6]]
    assert (
        server.openai()
        .audio.transcriptions.create(file=OK_ESPEJO, model="espejo", response_format="srt")
        .startswith("1\n")
    )


@pytest.mark.parametrize("wanted", [{"word"}, {"segment"}, {"word", "segment"}])
@BOTH_ENGINES
def test_verbose_json_has_the_lists_that_are_asked_for(wanted: set[Literal["word", "segment"]], server: Server) -> None:
    answer = server.openai().audio.transcriptions.create(
        file=OK_ESPEJO,
        model="espejo",
        response_format="verbose_json",
        timestamp_granularities=sorted(wanted),
    )
    assert {name for name, found in (("word", answer.words), ("segment", answer.segments)) if found} == wanted


def test_translations_are_refused_in_a_sentence(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="es-CL and does not translate; use /v1/audio/transcriptions"):
        server.openai().audio.translations.create(file=OK_ESPEJO, model="whisper-1")


def test_a_cut_file_is_transcribed_with_a_warning(server: Server) -> None:
    answer = server.transcribe(OK_ESPEJO.read_bytes()[:-8000], response_format="verbose_json").json()
    assert "ok" in answer["text"]
    assert [warning["kind"] for warning in answer["warnings"]] == ["CutShort"]
    assert server.transcribe(OK_ESPEJO, response_format="verbose_json").json()["warnings"] == []
