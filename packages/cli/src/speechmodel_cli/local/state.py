"""The state of one model on this machine: `<state folder>/<name>/`, by default below `.speechmodel` in the current folder.

lock              held while a process works on it
model.json        uid, generation and creation time, which an API server would keep in metadata
status.json       the status that a cluster would show
workspace/        the claim: data, checkpoints, exports, reports; uid in `.claim`
runs/<run>/       one folder for each attempt of a stage, see runs.py
targets.json      the bucket of each published version
published/        versions fetched from S3 and verified, by version
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from speechmodel_api.base import Document
from speechmodel_api.schema import S3Location
from speechmodel_api.serving_spec import Engine
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.status import SpeechModelStatus
from speechmodel_api.times import Time
from speechmodel_stagekit.durable import replace_file

from speechmodel_cli.local.errors import StateDamaged
from speechmodel_cli.local.lock import owned

Read = TypeVar("Read", bound=BaseModel)


class ModelRecord(Document):
    """The metadata that an API server would keep."""

    uid: str
    """Made once. Everything that this model publishes is below it."""
    generation: int
    """Grows with every edit of the spec."""
    spec_sha256: str
    """Hash of the spec of this generation."""
    public_keys: tuple[str, ...] = ()
    """publish.signing.publicKeys of this generation."""
    engine: Engine = Engine.AUTO
    """serving.settings.engine of this generation."""
    created_at: Time


class Targets(Document):
    """The bucket of each published version."""

    versions: dict[str, S3Location]


class ModelState:
    """The folder of one model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.workspace = self.folder / "workspace"
        self.runs = self.folder / "runs"
        self.published = self.folder / "published"
        self.status_file = self.folder / "status.json"
        self._targets_file = self.folder / "targets.json"
        self._record_file = self.folder / "model.json"
        self._claim_file = self.workspace / ".claim"

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.folder.name

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the lock of this model. Raises StateBusy when another process holds it."""
        with owned(self.folder / "lock", f"the model {self.name}"):
            yield

    def record(self, spec: SpeechModelSpec) -> ModelRecord:
        """Return the metadata, made at the first call. A spec that differs from the last one counts as an edit."""
        canonical = json.dumps(spec.model_dump(mode="json", by_alias=True), sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        before, signing = self.known_record(), spec.publish.signing
        record = before or ModelRecord(
            uid=str(uuid.uuid4()), generation=1, spec_sha256=digest, created_at=datetime.now(UTC)
        )
        record = record.model_copy(
            update={
                "generation": record.generation + (record.spec_sha256 != digest),
                "spec_sha256": digest,
                "public_keys": signing.public_keys if signing else (),
                "engine": (spec.serving and spec.serving.settings.engine) or Engine.AUTO,
            }
        )
        if record != before:
            replace_file(self._record_file, record.model_dump_json(by_alias=True, indent=1))
        return record

    def known_record(self) -> ModelRecord | None:
        """Return the metadata; None for a model that never ran here."""
        return _read(self._record_file, ModelRecord)

    @property
    def engine(self) -> Engine:
        """serving.settings.engine of the manifest that ran here last."""
        record = self.known_record()
        return record.engine if record else Engine.AUTO

    def read_status(self) -> SpeechModelStatus:
        """Return the status; an empty one for a model that never ran here."""
        return _read(self.status_file, SpeechModelStatus) or SpeechModelStatus()

    def write_status(self, status: SpeechModelStatus) -> None:
        """Replace the status."""
        replace_file(self.status_file, status.model_dump_json(by_alias=True, exclude_none=True, indent=1))

    def targets(self) -> dict[str, S3Location]:
        """Return the bucket of each published version."""
        known = _read(self._targets_file, Targets)
        return dict(known.versions) if known else {}

    def note_target(self, version: str, target: S3Location) -> None:
        """Keep the bucket of a version."""
        known = self.targets()
        if known.get(version) != target:
            versions = Targets(versions={**known, version: target})
            replace_file(self._targets_file, versions.model_dump_json(by_alias=True, exclude_none=True, indent=1))

    def claim_uid(self) -> str | None:
        """Return the uid of the workspace; None when it does not exist."""
        try:
            return self._claim_file.read_text(encoding="ascii").strip() or None
        except FileNotFoundError:
            return None

    def make_claim(self) -> None:
        """Make the workspace with a new uid. Complete artefacts that are already there are used again."""
        self.workspace.mkdir(parents=True, exist_ok=True)
        replace_file(self._claim_file, str(uuid.uuid4()))


def known_models(folder: Path) -> tuple[ModelState, ...]:
    """Return every model that ran in this state folder, by name."""
    return tuple(ModelState(path.parent) for path in sorted(folder.glob("*/model.json")))


def _read(path: Path, document: type[Read]) -> Read | None:
    try:
        return document.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        advice = "move this file away and run the command again, which uses the files in workspace again"
        raise StateDamaged(f"{path} cannot be read: {problem}; {advice}") from error
