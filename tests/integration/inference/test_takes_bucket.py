"""Takes and misheard clips of a dataset in a bucket, with a real S3 and two servers."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
import pytest
from botocore.exceptions import ReadTimeoutError
from speechmodel_api.dataset_spec import DatasetFormat, Negatives, Split
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.prepare import PrepareInput
from speechmodel_api.takes import MISHEARD, TAKES
from speechmodel_inference import sounds
from speechmodel_inference.bucket_store import BucketStore
from speechmodel_inference.sounds import CLAIMED, FolderStore, SoundStore
from speechmodel_pipeline.prepare.stage import prepare
from support.places import FIXTURES
from support.seaweed import READER, WRITER, Seaweed
from support.servers import OK_ESPEJO, PHRASES, Server, VersionFolder

BUCKET = "voices"
HOLA = FIXTURES / "clips" / "shapes_3c59dc04_2_3_000000_2_001.wav"
"""hola espejo, which is not in the grammar"""
FIRST, SECOND = "takes/Ana Ruiz/20260101-000000-0a1b2c", "takes/José/20260102-000000-0a1b2c"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with Seaweed(tmp_path_factory.mktemp("seaweed"), BUCKET) as server:
        yield server


@pytest.fixture
def as_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in WRITER.environment.items():
        monkeypatch.setenv(name, value)


# --- the two stores do the same ---


@pytest.fixture(params=["folder", "bucket", "bucket with a prefix"])
def store(request: pytest.FixtureRequest, s3: Seaweed, tmp_path: Path, as_writer: None) -> Iterator[SoundStore]:
    del as_writer
    if request.param == "folder":
        yield FolderStore(tmp_path)
        return
    prefix = "es/mirror" if "prefix" in request.param else ""
    s3.client().put_object(Bucket=BUCKET, Key="other/takes/Ana Ruiz/20260101-000000-0a1b2c.json", Body=b"{}")
    yield BucketStore(S3Location(bucket=BUCKET, prefix=prefix, endpoint=s3.endpoint))
    for key in s3.keys(BUCKET):
        s3.client().delete_object(Bucket=BUCKET, Key=key)


def test_recordings_are_kept_listed_read_and_deleted(store: SoundStore) -> None:
    for name, wav in ((SECOND, b"RIFF2"), (FIRST, b"RIFF")):
        store.add(name, wav, json.dumps({"name": name}))
    assert store.names("takes/*/*") == [FIRST, SECOND]
    assert store.names("takes/Ana Ruiz/*") == [FIRST]
    assert store.names("takes/*/20260102-000000-0a1b2c") == [SECOND]
    assert (store.names("takes/*"), store.names("misheard/*")) == ([], [])
    assert store.sizes("takes/*/*") == {FIRST: 4, SECOND: 5}
    assert (store.sound(FIRST), store.document(FIRST)) == (b"RIFF", json.dumps({"name": FIRST}).encode())
    assert [name for name, _ in store.documents([SECOND, "takes/x/gone", FIRST])] == [SECOND, FIRST]
    assert (store.remove(FIRST), store.remove(FIRST)) == (True, False)
    assert (store.sound(FIRST), store.document(FIRST), store.sizes("takes/*/*")) == (None, None, {SECOND: 5})
    assert [name for name, _ in store.documents([FIRST, SECOND])] == [SECOND]
    store.remove_folder("takes/José")
    assert store.names("takes/*/*") == []


def test_recordings_that_were_added_after_a_time_are_counted_whatever_their_names_say(store: SoundStore) -> None:
    store.add(FIRST, b"wav", "{}")
    store.add(SECOND, b"wav", "{}")
    now = datetime.now(UTC)
    assert store.count_after("takes/*/*", now - timedelta(minutes=5)) == 2
    assert store.count_after("takes/Ana Ruiz/*", now - timedelta(minutes=5)) == 1
    assert store.count_after("takes/*/*", now + timedelta(minutes=5)) == 0


def test_a_recording_that_is_there_is_not_replaced(store: SoundStore) -> None:
    store.add(FIRST, b"RIFF", '{"text": "first"}')
    with pytest.raises(FileExistsError):
        store.add(FIRST, b"RIFF", '{"text": "second"}')
    assert store.document(FIRST) == b'{"text": "first"}'


def test_one_caller_alone_reserves_a_recording_until_it_is_released_or_deleted(store: SoundStore) -> None:
    assert not store.claim(FIRST), "there is none"
    store.add(FIRST, b"RIFF", "{}")
    for end in (store.release, store.remove):
        with ThreadPoolExecutor(8) as callers:
            assert sum(callers.map(store.claim, [FIRST] * 8)) == 1
        assert store.sound(FIRST) == b"RIFF"
        end(FIRST)
    assert not store.claim(FIRST), "it is deleted"
    assert (store.document(FIRST), store.sound(FIRST)) == (None, None)


def test_an_old_claim_is_released_and_a_newer_one_stays(store: SoundStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(FIRST, b"RIFF", "{}")
    store.add(SECOND, b"RIFF", "{}")
    assert store.claim(FIRST)
    store.release_old("takes/*/*")
    assert not store.claim(FIRST)
    monkeypatch.setattr(sounds, "CLAIM_SECONDS", -10.0)
    store.release_old(SECOND)
    assert not store.claim(FIRST)
    store.release_old("takes/*/*")
    assert store.claim(FIRST)


# --- a bucket whose answers are lost ---


@pytest.fixture
def bucket(s3: Seaweed, as_writer: None) -> Iterator[BucketStore]:
    del as_writer
    yield BucketStore(S3Location(bucket=BUCKET, prefix="lost", endpoint=s3.endpoint))
    for key in s3.keys(BUCKET):
        s3.client().delete_object(Bucket=BUCKET, Key=key)


def lose(store: BucketStore, ending: str, error: Exception | None = None) -> None:
    """Let boto3 repeat the next write of an object of this ending, which was done, or fail with an error."""
    lost: list[int] = []

    def answered(request_dict: Any, attempts: int, **_: Any) -> Any:
        if lost or request_dict["method"] != "PUT" or not request_dict["url_path"].endswith(ending):
            return None
        lost.append(attempts)
        if error is not None:
            raise error
        return 0

    store._client.meta.events.register("needs-retry.s3.PutObject", answered)


def test_a_write_whose_answer_was_lost_is_a_success(bucket: BucketStore, s3: Seaweed) -> None:
    lose(bucket, ".json")
    bucket.add(FIRST, b"RIFF", "{}")
    assert bucket.document(FIRST) == b"{}"
    lose(bucket, CLAIMED)
    assert bucket.claim(FIRST)
    assert not bucket.claim(FIRST), "the mark of one caller is not that of another"


def test_a_document_that_cannot_be_written_leaves_no_sound(bucket: BucketStore, s3: Seaweed) -> None:
    lose(bucket, ".json", ReadTimeoutError(endpoint_url=s3.endpoint))
    with pytest.raises(OSError, match="timeout"):
        bucket.add(FIRST, b"RIFF", "{}")
    assert not s3.keys(BUCKET)


def test_the_end_of_an_old_claim_does_not_end_the_next_one(
    bucket: BucketStore, s3: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.add(FIRST, b"RIFF", "{}")
    assert bucket.claim(FIRST)
    monkeypatch.setattr(sounds, "CLAIM_SECONDS", -10.0)

    def another_is_faster(**_: Any) -> None:
        s3.client().put_object(Bucket=BUCKET, Key=f"lost/{FIRST}{CLAIMED}", Body=b"another")

    bucket._client.meta.events.register("before-call.s3.DeleteObject", another_is_faster)
    bucket.release_old("takes/*/*")
    assert not bucket.claim(FIRST)


# --- servers ---


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, mapped: Path, s3: Seaweed) -> Iterator[list[Server]]:
    """Two servers whose dataset is below the prefix `espejo`; a third one may only read there."""
    base = tmp_path_factory.mktemp("bucket")
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar(*PHRASES, quien=("hija", "hijo", "nuera"))
    bucket = S3Location(bucket=BUCKET, prefix="espejo", endpoint=s3.endpoint).model_dump_json(by_alias=True)
    settings = {"takes_bucket": bucket, "misheard_days": "3", "misheard_below": "0"}
    with ExitStack() as ending:
        started = [
            ending.enter_context(
                Server(folder.path, base / f"server-{number}.log", settings, environment=identity.environment)
            )
            for number, identity in enumerate((WRITER, WRITER, READER))
        ]
        yield [server.until_ready() for server in started]


@pytest.fixture(autouse=True)
def _emptied(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "servers" in request.fixturenames:
        bucket = request.getfixturevalue("s3")
        for key in bucket.keys(BUCKET):
            bucket.client().delete_object(Bucket=BUCKET, Key=key)


def post(server: Server, speaker: str = "Ana") -> httpx.Response:
    form = {"text": "ok espejo", "speaker": speaker, "consent": "true"}
    return server.client.post("/v1/takes", data=form, files={"file": ("take.wav", OK_ESPEJO.read_bytes())})


def counts(server: Server) -> Any:
    return server.get("/v1/takes?speaker=Ana").raise_for_status().json()["sentences"]


def test_takes_of_two_servers_are_counted_and_deleted_by_either(servers: list[Server], s3: Seaweed) -> None:
    one, other, _ = servers
    first, second = post(one).json()["id"], post(other).json()["id"]
    post(other, "Luz")
    assert counts(one) == counts(other) == {"ok espejo": {"mine": 2, "all": 3}}
    assert f"espejo/{TAKES}/Ana/{first}.wav" in s3.keys(BUCKET)
    assert other.client.delete(f"/v1/takes/Ana/{first}").status_code == 204
    assert counts(one) == {"ok espejo": {"mine": 1, "all": 2}}
    assert one.client.delete("/v1/takes/Ana").json()["deleted"] == 1
    assert f"espejo/{TAKES}/Ana/{second}.wav" not in s3.keys(BUCKET)
    assert counts(other) == {"ok espejo": {"mine": 0, "all": 1}}


def test_a_misheard_clip_becomes_a_take_on_either_server_but_only_once(servers: list[Server], s3: Seaweed) -> None:
    one, other, _ = servers
    one.transcribe(HOLA)
    one.until(lambda: len(one.get("/v1/misheard").json()["clips"]) == 1, "the clip is kept")
    (clip,) = other.get("/v1/misheard").json()["clips"]
    said = {"text": "hola espejo", "speaker": "Ana", "consent": True}
    answers = [each.client.post(f"/v1/misheard/{clip['id']}/take", json=said).status_code for each in (other, one)]
    assert answers == [201, 404]
    assert {key for key in s3.keys(BUCKET) if key.startswith("espejo/")} == {
        f"espejo/{TAKES}/Ana/{clip['id']}.{ending}" for ending in ("wav", "json")
    }


def test_an_access_key_that_may_not_write_is_reported_and_the_server_goes_on(servers: list[Server]) -> None:
    answer = post(servers[2])
    assert answer.status_code == 507
    assert "AccessDenied" in answer.json()["error"]["message"]
    assert servers[2].transcribe(OK_ESPEJO).json() == {"text": "ok espejo"}


def test_prepare_reads_the_takes_and_leaves_the_misheard_clips_where_they_are(
    servers: list[Server], s3: Seaweed, tmp_path: Path, as_writer: None
) -> None:
    del as_writer
    post(servers[0])
    s3.client().put_object(Bucket=BUCKET, Key="espejo/commands.csv", Body=b"id,es\n1,hola espejo\n")
    s3.client().put_object(Bucket=BUCKET, Key="espejo/original/es/1_1.wav", Body=HOLA.read_bytes())
    task = PrepareInput(
        key="0000000a",
        attempt=1,
        workspace=PurePosixPath(tmp_path),
        source=PurePosixPath(tmp_path / "source"),
        bucket=S3Location(bucket=BUCKET, prefix="espejo", endpoint=s3.endpoint),
        pinned=False,
        language="es",
        format=DatasetFormat.COMMANDS,
        split=Split(),
        negatives=Negatives(built_in=False),
    )
    output = prepare(task)
    assert (output.train_clips + output.dev_clips + output.test_clips, output.speakers) == (2, 1)
    s3.client().put_object(Bucket=BUCKET, Key=f"espejo/{MISHEARD}/espejo/20260101-000000-0a1b2c.wav", Body=b"RIFF")
    assert prepare(task).listing_digest == output.listing_digest
    assert not (tmp_path / "source" / MISHEARD).exists()
