"""download of the checkpoint that training begins with, from a real S3."""

from pathlib import Path, PurePosixPath

import pytest
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.contract import Kept
from speechmodel_api.stages.train import DownloadInput, DownloadOutput
from speechmodel_api.workspace import Workspace
from speechmodel_pipeline.download import download_checkpoint
from speechmodel_stagekit.errors import BadConfiguration, BadData, StageFailure, TryAgain
from support.ports import free_port
from support.programs import run_program
from support.seaweed import READER, Seaweed

from .conftest import BUCKET

pytestmark = pytest.mark.usefixtures("as_the_reader")

SOURCE, OTHER = "0000000a", "0000000b"
FILES = {
    "alphabet.txt": b"a\nb\n",
    "best_dev-70.index": b"index of the best",
    "best_dev-70.data-00000-of-00001": bytes(range(256)) * 4096,
    "train-90.index": b"index of the newest",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of the download."""
    return Workspace(tmp_path).source(SOURCE)


@pytest.fixture
def task(s3: Seaweed, prefix: str, tmp_path: Path, folder: Path) -> DownloadInput:
    return DownloadInput(
        key="0000000c",
        attempt=1,
        workspace=PurePosixPath(tmp_path),
        kept=Kept(folders=(f"sources/{SOURCE}",), seconds=0),
        bucket=S3Location(bucket=BUCKET, prefix=prefix, endpoint=s3.endpoint),
        folder=PurePosixPath(folder),
    )


def put(s3: Seaweed, key: str, content: bytes = b"1") -> None:
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=content)


def test_a_checkpoint_is_downloaded_whole_and_again_only_where_it_changed(
    s3: Seaweed, prefix: str, task: DownloadInput, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def again() -> DownloadOutput:
        caplog.clear()
        with caplog.at_level("INFO"):
            return download_checkpoint(task)

    for name, content in FILES.items():
        put(s3, f"{prefix}/{name}", content)
    first = again()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert (first.objects, first.size_bytes) == (len(FILES), sum(map(len, FILES.values())))
    assert again() == first
    assert f"0 of {len(FILES)} objects downloaded" in caplog.text
    put(s3, f"{prefix}/train-90.index", b"another")
    (folder / "best_dev-70.index").write_bytes(b"cut")
    changed = again()
    assert f"2 of {len(FILES)} objects downloaded" in caplog.text
    assert (folder / "train-90.index").read_bytes() == b"another"
    assert changed.listing_digest != first.listing_digest


@pytest.mark.slow
def test_the_program_makes_room_and_reports_the_bytes(
    s3: Seaweed, prefix: str, task: DownloadInput, folder: Path, tmp_path: Path
) -> None:
    for name, content in FILES.items():
        put(s3, f"{prefix}/{name}", content)
    unused = Workspace(tmp_path).source(OTHER)
    unused.mkdir(parents=True)
    ended = run_program("download", task, tmp_path, READER.environment)
    assert ended.code == 0, ended.message
    assert ended.progress[-1].done == ended.output["sizeBytes"] == sum(map(len, FILES.values()))
    assert (folder.is_dir(), unused.exists()) == (True, False)


@pytest.mark.parametrize("name", ["model.index", "step-00000080/model.index", "train-7.index"])
def test_every_checkpoint_that_training_reads_is_recognised(
    s3: Seaweed, prefix: str, task: DownloadInput, folder: Path, name: str
) -> None:
    put(s3, f"{prefix}/{name}")
    download_checkpoint(task)
    assert (folder / name).is_file()


@pytest.mark.slow
def test_what_is_wrong_is_reported_with_the_field_to_correct_before_anything_is_downloaded(
    s3: Seaweed, prefix: str, task: DownloadInput, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(kind: type[StageFailure], reason: Reason, **change: str) -> str:
        with pytest.raises(kind) as raised:
            download_checkpoint(task.model_copy(update={"bucket": task.bucket.model_copy(update=change)}))
        assert raised.value.reason is reason
        assert not folder.exists()
        return str(raised.value)

    assert failing(TryAgain, Reason.DOWNLOAD_FAILED) == (
        f"bucket {BUCKET} at {s3.endpoint} has no checkpoint below {prefix}/; "
        "upload the checkpoint or correct training.initFrom.s3.prefix"
    )
    put(s3, f"{prefix}/deep/readme.md")
    assert failing(BadConfiguration, Reason.INIT_FROM_UNUSABLE) == (
        f"bucket {BUCKET} at {s3.endpoint} has no checkpoint below {prefix}/ (model.index, step-*/model.index or "
        "best_dev-*.index), but objects such as deep/readme.md; correct training.initFrom.s3.prefix, or upload the "
        "checkpoint and set the annotation speechops.dev/retry to a new value"
    )
    put(s3, f"{prefix}/deep")
    assert "rename one of them" in failing(BadData, Reason.INIT_FROM_UNUSABLE)
    said = failing(TryAgain, Reason.DOWNLOAD_FAILED, bucket="gone")
    assert "create the bucket or correct training.initFrom.s3.bucket" in said
    said = failing(TryAgain, Reason.DOWNLOAD_FAILED, endpoint=f"http://127.0.0.1:{free_port()}")
    assert "cannot be reached" in said
    assert "correct training.initFrom.s3.endpoint, or start the service" in said
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    said = failing(TryAgain, Reason.DOWNLOAD_FAILED)
    assert "in the Secret that training.initFrom.s3.secretRef names" in said
