"""The folder of a fetched version, which a server reads. version.json is written last, so a folder with it is complete."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.published import VersionManifest
from speechmodel_api.workspace import VERSION
from speechmodel_stagekit.durable import replace_file
from speechmodel_stagekit.verified import VerifiedFile, record_verified

from speechmodel_pipeline.model_cache import ModelCache


def version_from_cache(cache: ModelCache, sha256: str, folder: Path) -> VersionManifest | None:
    """Make the folder of a version from a cache that has every file of it; None if it lacks one.

    `sha256` is the digest of version.json. Needs neither S3 nor boto3, which takes half a second to import.
    """
    description = cache.find(sha256)
    if description is None:
        return None
    try:
        raw = description.read_bytes()
        manifest = VersionManifest.model_validate_json(raw)
    except (OSError, ValidationError):
        return None  # S3 then says what is wrong
    if hashlib.sha256(raw).hexdigest() != sha256:
        return None
    verified = {}
    for file in manifest.files:
        found = cache.find(file.sha256)
        if found is None:
            return None
        verified[file.name] = VerifiedFile.of(found.stat(), file.sha256)
        link(folder / file.name, found)
    complete(folder, raw, verified)
    return manifest


def link(path: Path, target: Path) -> None:
    """Make `path` a link to a file of a cache, in one step."""
    new = path.with_name(f".{path.name}.link")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(path)


def complete(folder: Path, raw: bytes, verified: Mapping[str, VerifiedFile]) -> None:
    """Record that the files were verified, and write version.json, whose content is `raw`."""
    record_verified(folder, verified)
    replace_file(folder / VERSION, raw)
