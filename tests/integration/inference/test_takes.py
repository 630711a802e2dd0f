"""Takes for the dataset: what a server keeps, refuses and deletes, and what prepare makes of it."""

import io
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.published import VersionList, VersionRecord
from speechmodel_api.takes import TAKES, Take, speaker_hash
from speechmodel_api.workspace import VERSIONS
from speechmodel_runtime import Pcm, load
from support.cards import card
from support.servers import OK_ESPEJO, Server, VersionFolder

SAMPLES = load(OK_ESPEJO)


@pytest.fixture(scope="module")
def keeping(tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    """A server whose users record takes into the folder `dataset` beside its log."""
    base = tmp_path_factory.mktemp("takes")
    (base / "dataset").mkdir()
    made = VersionFolder(base / "models", mapped)
    recorded = {"given_alphabet": (), "annotations": Annotations.REJECT, "numbers": Numbers.REJECT}
    made.describe(card().model_copy(update={"dataset": card().dataset.model_copy(update=recorded)}))
    folder = made.path
    versions = [
        ("0123abcd", ("Ana Ruiz", "Luz")),
        ("00000002", ("Luz",)),
        ("00000001", ("Ana Ruiz",)),
        ("00000000", None),
    ]
    records = [
        VersionRecord(
            version=version,
            published_at=datetime(2026, 1, 4 - age, tzinfo=UTC),
            take_speakers=None if names is None else tuple(map(speaker_hash, names)),
        )
        for age, (version, names) in enumerate(versions)
    ]
    (folder / VERSIONS).write_text(
        VersionList(versions=tuple(records)).model_dump_json(by_alias=True), encoding="utf-8"
    )
    settings = {"takes": str(base / "dataset"), "takes_wanted": "3"}
    with Server(folder, base / "server.log", settings) as server:
        yield server.until_ready()


@pytest.fixture
def folder(keeping: Server) -> Iterator[Path]:
    """The folder of the takes, empty before and after a test."""
    path = keeping.log.parent / "dataset" / TAKES
    yield path
    shutil.rmtree(path, ignore_errors=True)


def wav(pcm: Pcm) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, pcm, 16_000, format="WAV")
    return file.getvalue()


def post(server: Server, content: bytes | None = None, site: str = "same-origin", **fields: str) -> httpx.Response:
    form = {"text": "ok espejo", "speaker": "Ana Ruiz", "consent": "true"} | fields
    audio = wav(SAMPLES) if content is None else content
    headers = {"Sec-Fetch-Site": site}
    return server.client.post("/v1/takes", data=form, files={"file": ("take.wav", audio)}, headers=headers)


def counts(server: Server, speaker: str = "Ana Ruiz") -> Any:
    return server.client.get("/v1/takes", params={"speaker": speaker}).raise_for_status().json()


def test_a_take_is_kept_without_the_silence_around_it_and_counted(keeping: Server, folder: Path) -> None:
    silence = np.zeros(32_000, np.int16)
    answer = post(keeping, wav(np.concatenate([silence, SAMPLES, silence])), text="  ok   espejo ")
    assert answer.status_code == 201
    saved = answer.json()
    assert (saved["speaker"], saved["text"]) == ("Ana Ruiz", "ok espejo")
    assert saved["heard"].endswith("ok espejo")  # the silence before it is new to this model
    document = folder / "Ana Ruiz" / f"{saved['id']}.json"
    take = Take.model_validate_json(document.read_bytes())
    assert (take.text, take.speaker, take.language, take.consent) == ("ok espejo", "Ana Ruiz", "es-CL", True)
    kept = load(document.with_suffix(".wav"))
    assert len(kept) == pytest.approx(16_000 * saved["seconds"], abs=160)
    assert len(kept) < len(SAMPLES) + 16_000
    assert np.abs(kept).max() == np.abs(SAMPLES).max()  # as it was spoken, at no other level
    post(keeping, speaker="Luz")
    assert counts(keeping) == {"wanted": 3, "speakers": 2, "sentences": {"ok espejo": {"mine": 1, "all": 2}}}


def test_a_take_with_letters_that_the_version_cannot_write_is_kept_and_they_are_named(
    keeping: Server, folder: Path
) -> None:
    assert post(keeping).json()["new_letters"] == []
    answer = post(keeping, text="Ok, Ñandú")
    assert (answer.status_code, answer.json()["new_letters"]) == (201, ["d", "ñ", "ú"])
    assert len(list(folder.glob("*/*.wav"))) == 2


@pytest.mark.parametrize(
    "pcm, code",
    [
        (np.zeros(16_000, np.int16), "take_silent"),
        ((SAMPLES * 0.001).astype(np.int16), "take_silent"),
        ((SAMPLES * (33 / np.abs(SAMPLES).max())).astype(np.int16), "take_silent"),
        ((SAMPLES * 0.02).astype(np.int16), "take_faint"),
        (np.clip(SAMPLES.astype(np.int32) * 60, -32768, 32767).astype(np.int16), "take_clipped"),
        (np.tile(SAMPLES, 31 * 16_000 // len(SAMPLES)), "take_too_long"),
        (np.zeros(121 * 16_000, np.int16), "audio_too_long"),
    ],
)
def test_a_recording_that_is_no_good_take_is_refused_and_not_kept(
    keeping: Server, folder: Path, pcm: Pcm, code: str
) -> None:
    answer = post(keeping, wav(pcm))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert not folder.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"consent": "false"},
        {"consent": ""},
        {"speaker": ""},
        {"speaker": ".."},
        {"speaker": "../ana"},
        {"speaker": "a/b"},
        {"speaker": "a" * 65},
        {"text": " "},
        {"text": "x" * 1001},
    ],
)
def test_a_form_that_lacks_something_is_refused_by_its_field(
    keeping: Server, folder: Path, fields: dict[str, str]
) -> None:
    answer = post(keeping, None, "same-origin", **fields)
    assert answer.status_code == 400
    (field,) = fields
    assert answer.json()["error"]["param"] == field
    assert answer.json()["error"]["message"].startswith(f"{field}: ")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("???", "take_unusable"),
        ("<b>", "take_unusable"),
        ("[risas", "take_unusable"),
        ("hola " * 160, "take_too_short"),
    ],
)
def test_a_sentence_that_prepare_would_leave_out_is_refused(
    keeping: Server, folder: Path, text: str, code: str
) -> None:
    answer = post(keeping, text=text)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert answer.json()["error"]["message"].count("; ") == 1, "one remedy"
    assert not folder.exists()


def test_spellings_of_a_sentence_count_as_one(keeping: Server, folder: Path) -> None:
    saved = [post(keeping, text=text).json() for text in ("OK Espejo", "\u00a1Ok, espejo!", "ok espejo")]
    assert [each["text"] for each in saved] == ["ok espejo"] * 3
    assert counts(keeping)["sentences"] == {"ok espejo": {"mine": 3, "all": 3}}
    kept = {Take.model_validate_json(path.read_bytes()).text for path in folder.glob("*/*.json")}
    assert kept == {"OK Espejo", "\u00a1Ok, espejo!", "ok espejo"}, "prepare decides, by the settings of that day"


def test_one_take_is_deleted_and_a_second_deletion_says_that_it_is_gone(keeping: Server, folder: Path) -> None:
    first, second = (post(keeping).json()["id"] for _ in range(2))
    assert keeping.client.delete(f"/v1/takes/Ana Ruiz/{first}").status_code == 204
    assert {path.stem for path in (folder / "Ana Ruiz").iterdir()} == {second}
    again = keeping.client.delete(f"/v1/takes/Ana Ruiz/{first}")
    assert (again.status_code, again.json()["error"]["code"]) == (404, "take_not_found")


def test_a_name_is_the_same_however_its_accents_are_encoded(keeping: Server, folder: Path) -> None:
    assert post(keeping, speaker="Jose\u0301").json()["speaker"] == "Jos\u00e9"
    assert [path.name for path in folder.iterdir()] == ["Jos\u00e9"]
    assert keeping.client.delete("/v1/takes/Jose\u0301").json() == {"deleted": 1, "versions": [], "unknown_versions": 1}


def test_a_speaker_is_forgotten_and_the_others_stay(keeping: Server, folder: Path) -> None:
    post(keeping)
    post(keeping, text="hola espejo")
    post(keeping, speaker="Luz")
    first = keeping.client.delete("/v1/takes/Ana Ruiz").json()
    assert first["deleted"] == 2
    assert [path.name for path in folder.iterdir()] == ["Luz"]
    again = keeping.client.delete("/v1/takes/Ana Ruiz").json()
    assert again == first | {"deleted": 0}


def test_the_versions_that_were_made_with_the_takes_of_a_forgotten_speaker_are_listed(
    keeping: Server, folder: Path
) -> None:
    answer = keeping.client.delete("/v1/takes/Ana Ruiz").json()
    assert answer == {
        "deleted": 0,
        "versions": [
            {"version": "0123abcd", "published_at": "2026-01-04T00:00:00Z", "served": True},
            {"version": "00000001", "published_at": "2026-01-02T00:00:00Z", "served": False},
        ],
        "unknown_versions": 1,
    }


@pytest.mark.parametrize(
    "path", ["/v1/takes/..%2Fx", "/v1/takes/.ana", "/v1/takes/Ana/..", "/v1/takes/Ana/20260101-000000-x"]
)
def test_paths_that_name_no_take_delete_nothing(keeping: Server, folder: Path, path: str) -> None:
    post(keeping)
    assert keeping.client.delete(path).status_code in {400, 404, 405}
    assert counts(keeping)["sentences"]["ok espejo"]["all"] == 1


def test_a_name_in_a_path_that_can_be_none_is_refused_in_a_sentence(keeping: Server) -> None:
    for name in ("a" * 65, ".ana", "a%00b"):
        answer = keeping.client.delete(f"/v1/takes/{name}")
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith("speaker: send a name of 1 to 64 letters")


ORIGIN = "http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": ORIGIN}, 200),
        ({"Origin": "null"}, 403),  # a page in a sandboxed frame
        ({"Origin": "http://[elsewhere"}, 403),
        ({"Origin": f"{ORIGIN}.elsewhere.example"}, 403),
        ({"Origin": "https://voice.example", "Sec-Fetch-Site": "same-origin"}, 200),  # a proxy changed Host
        ({"Origin": "https://other.example", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_only_pages_of_this_server_and_programs_delete_takes(
    keeping: Server, headers: dict[str, str], status: int
) -> None:
    sent = {name: value.format(port=keeping.port) for name, value in headers.items()}
    assert keeping.client.delete("/v1/takes/Ana Ruiz", headers=sent).status_code == status


def test_pages_of_other_sites_record_and_delete_nothing(keeping: Server, folder: Path) -> None:
    elsewhere = keeping.client.delete("/v1/takes/Ana Ruiz", headers={"Origin": "http://elsewhere.example"})
    assert elsewhere.status_code == 403
    here = keeping.client.delete("/v1/takes/Ana Ruiz", headers={"Origin": keeping.url})
    assert here.status_code == 200
    answer = post(keeping, site="cross-site")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site")
    assert not folder.exists()


def test_a_full_or_closed_disk_is_said_and_the_server_goes_on(keeping: Server, folder: Path) -> None:
    folder.write_bytes(b"in the way")
    answer = post(keeping)
    assert (answer.status_code, answer.json()["error"]["type"]) == (507, "server_error")
    assert "cannot be read or written" in answer.json()["error"]["message"]
    folder.unlink()
    assert post(keeping).status_code == 201


def test_foreign_files_in_the_folder_are_not_counted(keeping: Server, folder: Path) -> None:
    post(keeping)
    (folder / "Ana Ruiz" / "notes.json").write_text(json.dumps({"text": "x"}), encoding="utf-8")
    assert counts(keeping)["sentences"] == {"ok espejo": {"mine": 1, "all": 1}}


def test_a_server_without_the_setting_has_no_such_paths(server: Server) -> None:
    assert server.client.get("/v1/takes").status_code == 404
    assert post(server).status_code == 404
    assert server.client.get("/v1/speechmodel").json()["takes"] is False
