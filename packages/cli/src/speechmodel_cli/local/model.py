"""A manifest on this machine, where some of its fields have another meaning and some have no effect."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel
from speechmodel_api.credentials import NEGATIVES, REQUIRED_KEYS
from speechmodel_api.spec import Serving, SpeechModelSpec
from speechmodel_api.training_engine import COQUI_PYTHON, TrainingEngine
from speechmodel_api.training_spec import Storage
from speechmodel_plan.task import checkpoint_bucket

from speechmodel_cli.local.errors import CheckpointMissing, ClaimMissing, DatasetMissing, EngineMissing
from speechmodel_cli.local.object_store import ObjectStore, negatives_prefix, require_keys

WITHOUT_EFFECT = (
    ("training", "storage"),
    ("training", "podTemplate"),
    ("training", "env"),
    ("training", "stageResources"),
    ("serving", "replicas"),
    ("serving", "podTemplate"),
    ("serving", "service"),
    ("serving", "autoscaling"),
    ("serving", "canary"),
    ("serving", "topologySpread"),
    ("serving", "env"),
    ("serving", "apiKeysSecretRef"),
    ("serving", "ingress"),
    ("serving", "route"),
    ("publish", "deletionPolicy"),
)
"""Fields of the spec that only have an effect on a cluster."""


def read_claims(spec: SpeechModelSpec) -> tuple[str, ...]:
    """Return the names of the claims that are folders here: those of the dataset, of other speech and of training.initFrom."""
    dataset, initial = spec.dataset, spec.training.init_from
    claims = (each.persistent_volume_claim for each in (dataset.source, dataset.negatives.source, initial) if each)
    return tuple(dict.fromkeys(claim.claim_name for claim in claims if claim))


@dataclass(frozen=True)
class LocalModel:
    """A SpeechModel and the folders of the claims that it reads."""

    name: str
    namespace: str
    spec: SpeechModelSpec
    folder: Path
    """Folder of the manifest. By default, a claim is a folder in it."""
    claims: Mapping[str, Path] = field(default_factory=dict)
    """Folder by claim name, for claims that are elsewhere."""

    @property
    def dataset(self) -> Path:
        """Folder that prepare reads. That of the manifest for a bucket, which prepare downloads to the workspace."""
        source = self.spec.dataset.source.persistent_volume_claim
        return (self._claim(source.claim_name) / source.path).absolute() if source else self.folder.absolute()

    @property
    def negatives(self) -> Path | None:
        """Folder of dataset.negatives.source, if it is on a claim."""
        negatives = self.spec.dataset.negatives.source
        source = negatives.persistent_volume_claim if negatives else None
        return (self._claim(source.claim_name) / source.path).absolute() if source else None

    @property
    def init_from(self) -> Path | None:
        """Path of the checkpoint of training.initFrom, if it is on a claim."""
        initial = self.spec.training.init_from
        source = initial.persistent_volume_claim if initial else None
        return (self._claim(source.claim_name) / source.path).absolute() if source else None

    def require_dataset(self) -> None:
        """Raise DatasetMissing when the folder does not exist, and CredentialsMissing when the environment lacks the keys
        of the bucket.
        """
        source = self.spec.dataset.source
        if source.s3 is not None:
            require_keys(source.s3, "dataset.source.s3", "set them")
        if source.persistent_volume_claim is not None:
            claim = source.persistent_volume_claim.claim_name
            _require_folder(self.dataset, claim, f"of the dataset claim {claim}")

    def require_negatives(self) -> None:
        """Raise DatasetMissing and CredentialsMissing as require_dataset does, for dataset.negatives.source."""
        source = self.spec.dataset.negatives.source
        if source and source.s3:
            prefix = negatives_prefix()
            advice = "set them" if prefix else f"set them, or {' and '.join(NEGATIVES + key for key in REQUIRED_KEYS)}"
            require_keys(source.s3, "dataset.negatives.source.s3", advice, prefix)
        if source and (claim := source.persistent_volume_claim) and (folder := self.negatives):
            which = f"on the claim {claim.claim_name} (dataset.negatives.source)"
            _require_folder(folder, claim.claim_name, which)

    def require_checkpoint_keys(self) -> None:
        """Raise CredentialsMissing when the environment lacks the keys of the checkpoint's bucket."""
        if (s3 := checkpoint_bucket(self.spec)) is not None:
            require_keys(s3, "training.initFrom.s3", "set them")

    def require_checkpoint(self) -> None:
        """Raise ClaimMissing when the claim of training.initFrom does not exist, and CheckpointMissing when its path does not."""
        initial = self.spec.training.init_from
        if not (initial and (claim := initial.persistent_volume_claim) and (path := self.init_from)):
            return
        folder = self._claim(claim.claim_name).absolute()
        if not folder.is_dir():
            raise ClaimMissing(
                f"training.initFrom: the folder {folder} of the claim {claim.claim_name} does not exist; create it, or give another "
                f"folder with --claim {claim.claim_name}=FOLDER"
            )
        if not (path.exists() or path.with_name(f"{path.name}.index").exists()):
            raise CheckpointMissing(f"training.initFrom: {path} does not exist; correct its path")

    def require_engine(self) -> None:
        """Raise EngineMissing when the environment does not name the Python of the engine CoquiSTT."""
        if self.spec.training.engine is TrainingEngine.COQUI_STT and not shutil.which(os.environ.get(COQUI_PYTHON, "")):
            raise EngineMissing(
                f"training.engine is CoquiSTT, but the environment variable {COQUI_PYTHON} does not name a program; set it to the python "
                "of an environment of Python 3.7 with images/requirements/coqui.txt (docs/coqui.md), or set training.engine to Native"
            )

    def local_spec(self, store: ObjectStore, *, serve: bool) -> SpeechModelSpec:
        """Return the spec for this machine, with its own storage and bucket, and one server or none."""
        training = self.spec.training.model_copy(update={"storage": Storage()})
        publish = self.spec.publish.model_copy(update={"s3": store.target(self.spec.publish.s3)})
        pinned = self.spec.serving.pinned_version if self.spec.serving else None
        serving = Serving(pinned_version=pinned) if serve else None
        return self.spec.model_copy(update={"training": training, "publish": publish, "serving": serving})

    def without_effect(self, store: ObjectStore, *, serve: bool) -> tuple[str, ...]:
        """Return the fields that the manifest sets and that have no effect here."""
        of_server = () if serve else (("serving", "pinnedVersion"),)
        candidates = (*WITHOUT_EFFECT, *of_server, *(("publish", "s3", name) for name in store.replaces))
        return tuple(".".join(path) for path in candidates if _is_set(self.spec, path))

    def _claim(self, name: str) -> Path:
        return self.claims.get(name, self.folder / name)


def _require_folder(folder: Path, claim: str, which: str) -> None:
    if not folder.is_dir():
        advice = f"create it, or give another folder with --claim {claim}=FOLDER"
        raise DatasetMissing(f"the folder {folder} {which} does not exist; {advice}")


def _is_set(spec: SpeechModelSpec, path: tuple[str, ...]) -> bool:
    node: object = spec
    for name in path:
        if not isinstance(node, BaseModel):
            return False
        by_alias = {info.alias or key: key for key, info in type(node).model_fields.items()}
        if by_alias[name] not in node.model_fields_set:
            return False
        node = getattr(node, by_alias[name])
    return True
