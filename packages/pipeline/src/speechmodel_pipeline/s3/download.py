"""A prefix of a bucket -> a folder with the same files.

    <folder>/                  a file for each object, under its key without the prefix
    <folder>.objects.jsonl     size and ETag of every file that is whole
    <folder>.partial/          files that are not whole yet

Files whose object has the same size and ETag are kept, so an interrupted download continues and a
bucket with a few new objects costs only those. Files without an object are removed. Each object is
compared with its length, its ETag, and the checksum that it was uploaded with, if it has one: an
ETag alone is the MD5 of the content in some services and buckets only.
"""

import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from botocore.exceptions import FlexibleChecksumError, HTTPClientError, IncompleteReadError
from pydantic import BaseModel, ValidationError
from speechmodel_api.reasons import Reason
from speechmodel_api.workspace import PARTIAL, downloads_index
from speechmodel_stagekit.durable import replace_file, sync
from speechmodel_stagekit.errors import BadData, TryAgain

from speechmodel_pipeline.s3.objects import CHUNK, Advance, Bucket

log = logging.getLogger(__name__)

THREADS = 8
"""Objects that are downloaded at once; boto3 keeps ten connections."""
ATTEMPTS = 3
"""Times that an object is read in one run, beyond boto3's own repetitions of a request."""
LONGEST_NAME = 255
"""Bytes of a file name on usual file systems."""


@dataclass(frozen=True)
class ListedObject:
    """An object in the listing of a prefix."""

    key: str
    name: str
    """Key without the prefix: a path of a file."""
    size: int
    etag: str


class _Whole(BaseModel):
    """A file that was downloaded whole."""

    name: str
    size: int
    etag: str


def list_objects(
    bucket: Bucket,
    prefix: str,
    unusable: Reason = Reason.INVALID_DATASET,
    wanted: Callable[[str], bool] = lambda _: True,
) -> tuple[ListedObject, ...]:
    """Return the objects below `<prefix>/`, or in the whole bucket, whose key below it is `wanted`, without markers of folders.

    Raises BadData with the reason `unusable` when a key cannot be the path of a file.
    """
    below = f"{prefix}/" if prefix else ""
    pages = bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=below)
    listed = tuple(
        ListedObject(entry["Key"], entry["Key"].removeprefix(below), entry["Size"], entry["ETag"].strip('"'))
        for page in pages
        for entry in page.get("Contents", ())
        if not entry["Key"].endswith("/") and wanted(entry["Key"].removeprefix(below))
    )
    names = {each.name for each in listed}
    for each in listed:
        _require_file_name(bucket, each, names, unusable)
    return listed


def listing_digest(listed: Sequence[ListedObject]) -> str:
    """Return the sha256 over key, size and ETag of every object."""
    content = sorted([each.key, each.size, each.etag] for each in listed)
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


def download(bucket: Bucket, listed: Sequence[ListedObject], folder: Path, advance: Advance) -> int:
    """Make `folder` hold exactly the listed objects, and return how many were downloaded.

    `advance` counts the bytes of files that are kept as well. Raises the errors of boto3 (see
    storage_errors), and TryAgain (DownloadFailed) for an object that was replaced meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = downloads_index(folder)
    whole = _whole_files(index, folder, listed)
    _remove_others(folder, {each.name for each in listed})
    missing = [each for each in listed if each.name not in whole]
    advance(sum(each.size for each in listed if each.name in whole))
    partial = folder.with_name(f"{folder.name}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    writing = threading.Lock()
    replace_file(index, "".join(f"{each.model_dump_json()}\n" for each in whole.values()))
    with index.open("a", encoding="utf-8") as file:

        def one(each: ListedObject) -> None:
            _download(bucket, each, partial / hashlib.sha256(each.name.encode()).hexdigest(), folder / each.name)
            with writing:
                file.write(f"{_Whole(name=each.name, size=each.size, etag=each.etag).model_dump_json()}\n")
                file.flush()
            advance(each.size)

        with ThreadPoolExecutor(THREADS, thread_name_prefix="download") as pool:
            for _ in pool.map(one, missing):
                pass
    shutil.rmtree(partial)
    return len(missing)


def _require_file_name(bucket: Bucket, listed: ListedObject, names: set[str], unusable: Reason) -> None:
    parts = listed.name.split("/")
    possible = all(0 < len(part.encode()) <= LONGEST_NAME and part not in (".", "..") for part in parts)
    if not possible or "\0" in listed.name:
        raise BadData(
            unusable,
            f"{bucket.uri(listed.key)} cannot be the path of a file; rename or remove the object",
        )
    for parent in PurePosixPath(listed.name).parents:
        if str(parent) in names:
            raise BadData(
                unusable,
                f"{bucket.uri(listed.key)} is below {parent}, which is an object and not a folder; rename one of them",
            )


def _whole_files(index: Path, folder: Path, listed: Sequence[ListedObject]) -> dict[str, _Whole]:
    """Return the files that need no download, by name."""
    recorded = {each.name: each for each in _read(index)}
    return {
        each.name: found
        for each in listed
        if (found := recorded.get(each.name))
        and (found.size, found.etag) == (each.size, each.etag)
        and _size(folder / each.name) == each.size
    }


def _read(index: Path) -> Iterator[_Whole]:
    """Yield the entries of the index. The last line may be incomplete after a killed run."""
    if not index.is_file():
        return
    for line in index.read_text(encoding="utf-8", errors="replace").split("\n"):  # keys may have U+2028
        try:
            yield _Whole.model_validate_json(line)
        except ValidationError:
            continue


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() and not path.is_symlink() else None


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove the files that have no object, and folders without files."""
    for above, _, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(above, name)
            if path.relative_to(folder).as_posix() not in names:
                path.unlink()
        if Path(above) != folder and not any(Path(above).iterdir()):
            Path(above).rmdir()


def _download(bucket: Bucket, listed: ListedObject, partial: Path, path: Path) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _read_object(bucket, listed, partial)
            break
        except (HTTPClientError, IncompleteReadError, FlexibleChecksumError) as error:
            if attempt == ATTEMPTS:
                raise
            log.warning("%s: %s; reading it again", bucket.uri(listed.key), error)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.replace(path)


def _read_object(bucket: Bucket, listed: ListedObject, partial: Path) -> None:
    """Read the object into the file `partial`. boto3 compares its length, and its checksum if it has one."""
    answer = bucket.client.get_object(Bucket=bucket.name, Key=listed.key, ChecksumMode="ENABLED")
    body = answer["Body"]
    try:
        if answer["ETag"].strip('"') != listed.etag or answer["ContentLength"] != listed.size:
            raise TryAgain(
                Reason.DOWNLOAD_FAILED,
                f"{bucket.uri(listed.key)} was replaced during the download; the bucket is listed again",
            )
        with partial.open("wb") as file:
            for chunk in body.iter_chunks(CHUNK):
                file.write(chunk)
    finally:
        body.close()
    sync(partial)
