"""Publishing to an S3 service of the user's, and the embedded one by itself."""

import asyncio
import shutil
from pathlib import Path

import boto3
import pytest
from speechmodel_cli.local.embedded_s3 import EmbeddedStore
from speechmodel_cli.local.errors import StateBusy
from speechmodel_cli.local.object_store import Access
from support.tones import tone
from support.workplace import Workplace
from types_boto3_s3 import S3Client


async def test_the_manifests_bucket_is_used_with_the_environments_credentials(
    finished: Workplace, tmp_path: Path
) -> None:
    service = EmbeddedStore(tmp_path / "service", "their-bucket")
    access = await service.open()
    try:
        s3 = {"bucket": "their-bucket", "prefix": "speech", "endpoint": access.endpoint, "secretRef": {"name": "key"}}
        finished.write(publish={"s3": s3})
        done = await asyncio.to_thread(finished.run, "--s3", "manifest", **access.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [line for line in done.stdout.splitlines() if line.endswith("started")] == ["publish: started"]
        assert finished.status["model"]["uri"].startswith("s3://their-bucket/speech/default/voz/")
        clip = str(next(finished.folder.glob("voices/clips/*.wav")))
        heard = await asyncio.to_thread(finished.call, "transcribe", clip, **access.environment)
        assert heard.returncode == 0, heard.stderr
    finally:
        await service.close()
    assert not finished.processes()


async def test_the_same_recordings_in_a_bucket_are_downloaded_and_train_nothing(
    finished: Workplace, tmp_path: Path
) -> None:
    service = EmbeddedStore(tmp_path / "service", "their-bucket")
    access = await service.open()
    try:
        voices = finished.folder / "voices"
        await asyncio.to_thread(upload, access, voices, "es")
        shutil.rmtree(voices)
        s3 = {"bucket": "their-bucket", "prefix": "es", "endpoint": access.endpoint, "secretRef": {"name": "key"}}
        finished.write(dataset={"source": {"s3": s3}, "format": "DeepSpeechCSV", "negatives": {"builtIn": False}})
        lacking = await asyncio.to_thread(finished.run, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
        assert "the Secret key (dataset.source.s3.secretRef) is read from the environment here" in lacking.stderr
        done = await asyncio.to_thread(finished.run, **access.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [line for line in done.stdout.splitlines() if line.endswith("started")] == ["prepare: started"]
        assert "bucket listing" in finished.condition("DatasetReady")["message"]
    finally:
        await service.close()


async def test_training_reads_the_checkpoint_that_was_downloaded_from_a_bucket(
    finished: Workplace, tmp_path: Path
) -> None:
    service = EmbeddedStore(tmp_path / "service", "their-bucket")
    access = await service.open()
    try:
        (lineage,) = (finished.state / "workspace" / "checkpoints").glob("*/")
        await asyncio.to_thread(upload, access, lineage, "old")
        s3 = {"bucket": "their-bucket", "prefix": "old", "endpoint": access.endpoint, "secretRef": {"name": "key"}}
        finished.train(initFrom={"s3": s3}, hyperparameters={"hiddenUnits": 48})
        lacking = await asyncio.to_thread(finished.run, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
        assert "the Secret key (training.initFrom.s3.secretRef) is read from the environment here" in lacking.stderr
        done = await asyncio.to_thread(finished.run, "--s3", "embedded", **access.environment)
        started = [line for line in done.stdout.splitlines() if line.endswith("started")]
        assert started == ["download: started", "train: started"], done.stdout + done.stderr
        message = finished.condition("Trained")["message"]
        assert f"{finished.state / 'workspace' / 'sources'}/" in message
        assert "layer_1/bias has the shape [32] instead of [48]" in message
    finally:
        await service.close()


async def test_other_speech_is_read_from_a_bucket_with_keys_of_its_own_or_from_a_claim(
    finished: Workplace, tmp_path: Path
) -> None:
    service = EmbeddedStore(tmp_path / "service", "their-bucket")
    access = await service.open()
    try:
        for number in range(3):
            tone(tmp_path / "radio" / f"{number}.wav", 900 + 50 * number)
        await asyncio.to_thread(upload, access, tmp_path / "radio", "radio")
        await asyncio.to_thread(upload, access, finished.folder / "voices/clips", "clips")
        keys = {f"NEGATIVES_{name}": value for name, value in access.environment.items()}
        keys |= dict.fromkeys(access.environment, "of another service")
        dataset = {"source": {"persistentVolumeClaim": {"claimName": "voices"}}, "format": "DeepSpeechCSV"}

        def take_from(**source: object) -> None:
            finished.write(dataset={**dataset, "negatives": {"builtIn": False, "source": source}})

        s3 = {"bucket": "their-bucket", "endpoint": access.endpoint, "secretRef": {"name": "key"}}
        take_from(s3=s3 | {"prefix": "radio"})
        checked = await asyncio.to_thread(finished.call, "validate", "voz.yaml", "--dataset", **keys)
        assert "12 train, 3 dev, 3 test, 4 negatives" in checked.stdout, checked.stdout + checked.stderr
        take_from(s3=s3 | {"prefix": "clips"})
        refused = await asyncio.to_thread(finished.run, **keys)
        assert "dataset.negatives.source: 18 of the files in clips/ of bucket their-bucket" in refused.stderr, (
            refused.stdout
        )
    finally:
        await service.close()
    take_from(persistentVolumeClaim={"claimName": "voices", "path": "clips"})
    refused = await asyncio.to_thread(finished.run)
    place = finished.folder / "voices/clips"
    assert f"dataset.negatives.source: 18 of the files in {place} are recordings" in refused.stderr, refused.stdout


def upload(access: Access, folder: Path, prefix: str) -> None:
    """Upload the files of a folder to their-bucket."""
    client = client_of(access)
    for path in folder.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "their-bucket", f"{prefix}/{path.relative_to(folder).as_posix()}")


def downloaded(access: Access) -> dict[str, bytes]:
    """Return the objects in their-bucket by key."""
    client = client_of(access)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="their-bucket")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
    return {key: client.get_object(Bucket="their-bucket", Key=key)["Body"].read() for key in keys}


def client_of(access: Access) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=access.endpoint,
        region_name="us-east-1",
        aws_access_key_id=access.environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=access.environment["AWS_SECRET_ACCESS_KEY"],
    )


async def test_the_embedded_server_serves_one_run_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speechmodel_cli.local.embedded_s3.BUSY_SECONDS", 0.1)
    first, second = EmbeddedStore(tmp_path, "models"), EmbeddedStore(tmp_path, "models")
    await first.open()
    try:
        with pytest.raises(StateBusy, match="is using the embedded S3 server"):
            await second.open()
    finally:
        await first.close()
    access = await second.open()
    assert access.endpoint is not None
    await second.close()
    assert await asyncio.to_thread(lambda: list(tmp_path.glob("*.sock"))) == []
