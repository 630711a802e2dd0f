"""prepare of a dataset in a bucket, against a real S3."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from speechmodel_api.credentials import NEGATIVES
from speechmodel_api.dataset_spec import DatasetFormat, Negatives, Split
from speechmodel_api.progress import StepProgress, parse_progress
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.prepare import PrepareInput
from speechmodel_cli.local.seaweedfs import Identity
from speechmodel_pipeline.prepare.audio_files import is_recording
from speechmodel_pipeline.prepare.stage import prepare
from speechmodel_pipeline.s3.download import download, list_objects, listing_digest
from speechmodel_pipeline.s3.objects import Bucket
from speechmodel_stagekit.errors import BadData, TryAgain
from support.ports import free_port
from support.seaweed import READER, WRITER, Seaweed
from support.tones import tone

from .conftest import BUCKET

pytestmark = pytest.mark.usefixtures("as_the_reader")

WORDS = ("uno", "dos", "tres", "cuatro")


def act_as(key: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in key.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def recordings(tmp_path: Path, s3: Seaweed, prefix: str) -> Path:
    """A dataset on this machine and the same in the bucket."""
    source = tmp_path / "recordings"
    for number, word in enumerate(WORDS):
        tone(source / "original/es" / f"{word}.wav", 300 + 50 * number)
    rows = "".join(f"{word},{word}\n" for word in WORDS)
    (source / "commands.csv").write_text(f"id,es\n{rows}", encoding="utf-8")
    for path in source.rglob("*.*"):
        put(s3, prefix, path.relative_to(source).as_posix(), path.read_bytes())
    put(s3, f"{prefix}2", "other.csv", b"of another dataset")
    return source


def put(s3: Seaweed, prefix: str, name: str, content: bytes) -> None:
    s3.client().put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=content)


def task(
    workspace: Path,
    source: Path,
    bucket: S3Location | None = None,
    layout: DatasetFormat = DatasetFormat.COMMANDS,
    **more: Any,
) -> PrepareInput:
    return PrepareInput(
        key="0000000a",
        attempt=1,
        workspace=PurePosixPath(workspace),
        source=PurePosixPath(source),
        bucket=bucket,
        format=layout,
        language="es",
        split=Split(dev_percent=0, test_percent=0),
        negatives=Negatives(built_in=False),
        **more,
    )


def location(s3: Seaweed, prefix: str) -> S3Location:
    return S3Location(bucket=BUCKET, prefix=prefix, endpoint=s3.endpoint)


def test_a_bucket_gives_the_same_dataset_as_a_folder(
    recordings: Path, s3: Seaweed, prefix: str, tmp_path: Path
) -> None:
    from_folder = prepare(task(tmp_path / "a", recordings))
    from_bucket = prepare(task(tmp_path / "b", tmp_path / "b/sources/0", location(s3, prefix)))
    assert from_bucket.dataset_digest == from_folder.dataset_digest
    assert from_bucket.train_clips == len(WORDS)
    listed = listing_digest(list_objects(Bucket.connect(location(s3, prefix)), prefix))
    assert (from_folder.listing_digest, from_bucket.listing_digest) == (None, listed), "as finished datasets have it"


def test_a_table_in_a_bucket_names_no_files_outside_of_it(s3: Seaweed, prefix: str, tmp_path: Path) -> None:
    source = tmp_path / "w/sources/0"
    tone(tmp_path / "w/a.wav")
    put(s3, prefix, "a.wav", (tmp_path / "w/a.wav").read_bytes())
    put(s3, prefix, "train.csv", b"wav_filename,transcript\na.wav,hola\n../../a.wav,hola\n")
    output = prepare(task(tmp_path / "w", source, location(s3, prefix), DatasetFormat.DEEPSPEECH_CSV))
    assert (output.train_clips, output.rejected) == (1, 1)
    assert "train.csv row 3: the recording ../../a.wav is outside of the folder of the dataset" in output.note


def test_only_objects_that_are_new_changed_or_damaged_here_are_downloaded(
    recordings: Path, s3: Seaweed, prefix: str, tmp_path: Path
) -> None:
    bucket, folder, counted = Bucket.connect(location(s3, prefix)), tmp_path / "downloads" / "0", [0]

    def again() -> int:
        listed = list_objects(bucket, prefix)
        counted[0] = 0

        def advance(count: int) -> None:
            counted[0] += count

        number = download(bucket, listed, folder, advance)
        assert counted[0] == sum(each.size for each in listed)
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert there == {each.name for each in listed}
        return number

    assert again() == 1 + len(WORDS)
    assert (folder / "original/es/uno.wav").read_bytes() == (recordings / "original/es/uno.wav").read_bytes()
    assert again() == 0
    (folder / "original/es/uno.wav").write_bytes(b"short")
    (folder / "original/es/dos.wav").unlink()
    (folder / "left.wav").write_bytes(b"of an object that is gone")
    assert again() == 2
    other = (recordings / "original/es/tres.wav").read_bytes()[::-1]
    put(s3, prefix, "original/es/tres.wav", other)
    put(s3, prefix, "original/es/cinco/1.wav", b"a new object")
    assert again() == 2
    assert (folder / "original/es/tres.wav").read_bytes() == other
    s3.client().delete_object(Bucket=BUCKET, Key=f"{prefix}/original/es/cinco/1.wav")
    assert again() == 0
    assert not (folder / "original/es/cinco").exists()
    index = folder.with_name("0.objects.jsonl")
    lines = index.read_text(encoding="utf-8").splitlines(keepends=True)
    index.write_text("".join(lines[:-1]) + lines[-1][:20], encoding="utf-8")
    assert again() == 1, "a line that a killed run left incomplete costs one file"


def test_a_download_that_broke_off_keeps_what_is_whole(
    recordings: Path, s3: Seaweed, prefix: str, tmp_path: Path
) -> None:
    bucket, folder = Bucket.connect(location(s3, prefix)), tmp_path / "downloads" / "0"
    listed = list_objects(bucket, prefix)
    s3.client().delete_object(Bucket=BUCKET, Key=listed[-1].key)
    with pytest.raises(bucket.client.exceptions.NoSuchKey):
        download(bucket, listed, folder, lambda _: None)
    put(s3, prefix, listed[-1].name, (recordings / listed[-1].name).read_bytes())
    kept = {path for path in folder.rglob("*") if path.is_file()}
    assert kept
    assert download(bucket, list_objects(bucket, prefix), folder, lambda _: None) == len(listed) - len(kept)
    assert not folder.with_name("0.partial").exists()


def test_an_object_that_is_replaced_during_the_download_is_listed_again(
    recordings: Path, s3: Seaweed, prefix: str, tmp_path: Path
) -> None:
    bucket = Bucket.connect(location(s3, prefix))
    listed = list_objects(bucket, prefix)
    put(s3, prefix, "commands.csv", (recordings / "commands.csv").read_bytes().upper())
    with pytest.raises(TryAgain, match=r"commands.csv was replaced during the download; the bucket is listed again"):
        download(bucket, listed, tmp_path / "0", lambda _: None)


def test_a_changed_bucket_is_noticed_unless_a_revision_names_its_state(
    recordings: Path, s3: Seaweed, prefix: str, tmp_path: Path
) -> None:
    def again(**more: Any) -> tuple[int, str | None]:
        output = prepare(task(tmp_path / "w", tmp_path / "w/sources/0", location(s3, prefix), **more))
        return output.train_clips, output.listing_digest

    first = again()
    assert again() == first
    s3.client().delete_object(Bucket=BUCKET, Key=f"{prefix}/original/es/uno.wav")
    assert again(pinned=True) == first
    second = again()
    assert second[0] == first[0] - 1
    assert second[1] != first[1]


def test_a_listing_has_another_digest_with_another_key_size_or_content(s3: Seaweed, prefix: str) -> None:
    bucket, digests = Bucket.connect(location(s3, prefix)), set()
    for name, content in (("a", b"1"), ("a", b"2"), ("a", b"22"), ("b", b"1")):
        put(s3, prefix, name, content)
        digests.add(listing_digest(list_objects(bucket, prefix)))
        s3.client().delete_object(Bucket=BUCKET, Key=f"{prefix}/{name}")
    assert len(digests) == 4


def test_what_s3_says_is_reported_with_the_field_to_correct(
    recordings: Path, s3: Seaweed, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(reason: str = "DownloadFailed", **more: Any) -> str:
        with pytest.raises(TryAgain) as raised:
            prepare(task(tmp_path / "w", tmp_path / "w/sources/0", location(s3, prefix).model_copy(update=more)))
        assert raised.value.reason == reason
        return str(raised.value)

    assert "NoSuchBucket" in (said := failing(bucket="gone"))
    assert "create the bucket or correct dataset.source.s3.bucket" in said
    assert failing(prefix="nothing/here") == (
        f"bucket {BUCKET} at {s3.endpoint} has no recordings below nothing/here/; "
        "upload the recordings or correct dataset.source.s3.prefix"
    )
    assert "cannot be reached" in (said := failing(endpoint=f"http://127.0.0.1:{free_port()}"))
    assert "correct dataset.source.s3.endpoint, or start the service" in said
    act_as(Identity(READER.access_key, "wrong"), monkeypatch)
    assert "in the Secret that dataset.source.s3.secretRef names" in failing()
    act_as(Identity("nobody", "wrong"), monkeypatch)
    assert "InvalidAccessKeyId" in failing()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the Secret" in failing(reason="CredentialsMissing")


def test_a_bucket_without_a_dataset_is_refused_by_the_rules_of_folders(
    s3: Seaweed, prefix: str, tmp_path: Path
) -> None:
    put(s3, prefix, "wav.scp", b"")
    with pytest.raises(BadData, match="looks like the format Kaldi"):
        prepare(task(tmp_path / "w", tmp_path / "w/sources/0", location(s3, prefix)))


RADIO = ("radio", "noticias", "charla")


@pytest.fixture
def radio(tmp_path: Path, s3: Seaweed, prefix: str, monkeypatch: pytest.MonkeyPatch) -> S3Location:
    """Other speech below a prefix of its own. Its keys are those of the writer, and AWS_* are no keys of the service."""
    for number, name in enumerate(RADIO):
        content = tone(tmp_path / "radio" / f"{name}.wav", 900 + 50 * number).read_bytes()
        put(s3, f"{prefix}/other", f"{name}.wav", content)
    put(s3, f"{prefix}/other", "list.csv", b"ignored")
    for name, value in WRITER.environment.items():
        monkeypatch.setenv(f"NEGATIVES_{name}", value)
        monkeypatch.setenv(name, "of another service")
    return location(s3, f"{prefix}/other")


def with_radio(workspace: Path, source: Path, radio: S3Location, **more: Any) -> PrepareInput:
    other = {"other_speech": PurePosixPath(workspace / "sources/1"), "other_speech_bucket": radio}
    return task(workspace, source, **{**other, **more})


def test_other_speech_comes_from_a_bucket_with_keys_of_its_own(
    recordings: Path, radio: S3Location, s3: Seaweed, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = prepare(task(tmp_path / "a", recordings, other_speech=PurePosixPath(tmp_path / "radio")))
    there = prepare(with_radio(tmp_path / "b", recordings, radio))
    assert (there.dataset_digest, there.negatives) == (here.dataset_digest, here.negatives)
    assert there.negatives >= 2, "in training, and held out"
    names = {path.name for path in (tmp_path / "b/sources/1").iterdir()}
    assert names == {f"{name}.wav" for name in RADIO}, "nothing but recordings"
    act_as(READER, monkeypatch)
    both = prepare(with_radio(tmp_path / "c", tmp_path / "c/sources/0", radio, bucket=location(s3, prefix)))
    assert both.dataset_digest == here.dataset_digest
    other = listing_digest(list_objects(Bucket.connect(radio, NEGATIVES), radio.prefix, wanted=is_recording))
    assert (here.listing_digest, there.listing_digest) == (None, other)
    assert both.listing_digest not in (None, other)
    assert not (tmp_path / "c/sources/0/other").exists(), "other speech below the dataset is downloaded once"


def test_a_change_of_other_speech_is_noticed_unless_a_revision_names_its_state(
    recordings: Path, radio: S3Location, s3: Seaweed, tmp_path: Path
) -> None:
    def again(**more: Any) -> str | None:
        return prepare(with_radio(tmp_path / "w", recordings, radio, **more)).listing_digest

    first = again()
    assert again() == first
    kept = (tmp_path / "w/sources/1/radio.wav").stat().st_ino
    other = tone(tmp_path / "other.wav", 1500).read_bytes()
    s3.client().put_object(Bucket=BUCKET, Key=f"{radio.prefix}/charla.wav", Body=other)
    assert again(pinned=True) == first
    assert again() != first
    assert (tmp_path / "w/sources/1/charla.wav").read_bytes() == other
    assert (tmp_path / "w/sources/1/radio.wav").stat().st_ino == kept, "what is the same is not downloaded again"


def test_problems_of_other_speech_name_its_field(
    recordings: Path, radio: S3Location, s3: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(reason: str, **more: Any) -> str:
        with pytest.raises((TryAgain, BadData)) as raised:
            prepare(with_radio(tmp_path / "w", recordings, radio.model_copy(update=more)))
        assert raised.value.reason == reason
        return str(raised.value)

    field = "dataset.negatives.source.s3"
    assert f"upload the recordings of other speech or correct {field}.prefix" in failing("DownloadFailed", prefix="no")
    put(s3, f"{radio.prefix}/texts", "a.txt", b"no recording")
    said = failing("DownloadFailed", prefix=f"{radio.prefix}/texts")
    assert said.startswith(
        f"bucket {BUCKET} at {s3.endpoint} has no recordings of other speech below {radio.prefix}/texts/; "
    )
    put(s3, f"{radio.prefix}/copies", "a.wav", (recordings / "original/es/uno.wav").read_bytes())
    said = failing("InvalidDataset", prefix=f"{radio.prefix}/copies")
    assert "is a recording of the dataset (a.wav is original/es/uno.wav)" in said
    monkeypatch.setenv("NEGATIVES_AWS_SECRET_ACCESS_KEY", "wrong")
    assert f"in the Secret that {field}.secretRef names" in failing("DownloadFailed")
    act_as(READER, monkeypatch)  # never used for another bucket
    monkeypatch.delenv("NEGATIVES_AWS_SECRET_ACCESS_KEY")
    assert f"AWS_SECRET_ACCESS_KEY in the Secret that {field}.secretRef names" in failing("CredentialsMissing")
    monkeypatch.delenv("NEGATIVES_AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert f"in the Secret that {field}.secretRef names" in failing("CredentialsMissing")


def test_a_wrong_key_of_one_bucket_is_noticed_before_another_one_is_downloaded(
    recordings: Path, radio: S3Location, s3: Seaweed, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    act_as(READER, monkeypatch)
    monkeypatch.setenv("NEGATIVES_AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(TryAgain, match=r"dataset\.negatives\.source\.s3\.secretRef"):
        prepare(with_radio(tmp_path / "w", tmp_path / "w/sources/0", radio, bucket=location(s3, prefix)))
    assert not (tmp_path / "w/sources/0").exists()


def test_the_download_of_two_buckets_is_counted_once(
    recordings: Path,
    radio: S3Location,
    s3: Seaweed,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    act_as(READER, monkeypatch)
    prepare(with_radio(tmp_path / "w", tmp_path / "w/sources/0", radio, bucket=location(s3, prefix)))
    size = sum(path.stat().st_size for number in "01" for path in (tmp_path / f"w/sources/{number}").rglob("*.*"))
    records = [parse_progress(line) for line in capsys.readouterr().out.splitlines()]
    counted = [each for each in records if isinstance(each, StepProgress) and each.unit == "bytes"]
    assert {each.total for each in counted} == {size}
    assert [each.done for each in counted if each.done in (0, size)] == [0, size]
