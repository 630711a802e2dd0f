"""Stores that publish and fetch use: the manifest's bucket, or a bucket of the embedded server. The buckets of the
recordings, of other speech and of the checkpoint to begin with are always the manifest's.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from speechmodel_api.credentials import CA_BUNDLE, NEGATIVES, REQUIRED_KEYS, S3_KEYS, SIGNING_KEY
from speechmodel_api.schema import S3Target
from speechmodel_api.spec import Publish

from speechmodel_cli.local.errors import CredentialsMissing


@dataclass(frozen=True)
class Access:
    """The endpoint and credentials with which a stage program reaches the bucket."""

    endpoint: str | None
    """URL of the service; None for AWS."""
    environment: Mapping[str, str]
    """Credentials as AWS SDKs read them."""


class ObjectStore(Protocol):
    """A bucket and the access to it."""

    replaces: ClassVar[tuple[str, ...]]
    """Fields of publish.s3 that this store ignores."""

    def target(self, wanted: S3Target) -> S3Target:
        """Return the bucket as plans and keys name it, which is the same in every call of the command."""

    def require(self, wanted: S3Target) -> None:
        """Raise a LocalError before any work is done, when publishing could not succeed."""

    async def open(self) -> Access:
        """Make the bucket reachable. Raises a LocalError."""

    async def close(self) -> None:
        """End the server that open() started."""


class ManifestStore:
    """The manifest's own bucket, with the credentials of the environment in place of its Secret."""

    replaces: ClassVar[tuple[str, ...]] = ()

    def __init__(self, s3: S3Target) -> None:
        self._s3 = s3

    def target(self, wanted: S3Target) -> S3Target:
        """Return it unchanged."""
        return wanted

    def require(self, wanted: S3Target) -> None:
        """Raise CredentialsMissing when the manifest names a Secret and the environment lacks one of its keys."""
        require_keys(wanted, "publish.s3", "set them, or publish with --s3 embedded")

    async def open(self) -> Access:
        """Return the manifest's endpoint, and every AWS_* variable of the environment."""
        return access_of(self._s3)

    async def close(self) -> None:
        """Do nothing, because nothing was started."""


def require_keys(s3: S3Target, path: str, advice: str, prefix: str = "") -> None:
    """Raise CredentialsMissing when the field `path` names a Secret and the environment lacks one of its keys after
    `prefix`.
    """
    missing = [f"{prefix}{name}" for name in REQUIRED_KEYS if not os.environ.get(f"{prefix}{name}")]
    if s3.secret_ref is not None and missing:
        raise CredentialsMissing(
            f"the Secret {s3.secret_ref.name} ({path}.secretRef) is read from the environment here, which lacks "
            f"{' and '.join(missing)}: {advice}"
        )


def require_signing_key(publish: Publish) -> None:
    """Raise CredentialsMissing when versions are signed and the environment lacks the private key."""
    if publish.signing is not None and not os.environ.get(SIGNING_KEY):
        raise CredentialsMissing(
            f"the Secret {publish.signing.private_key_secret_ref.name} (publish.signing.privateKeySecretRef) is read from "
            f"the environment here, which lacks {SIGNING_KEY}: set it to the private key in PEM, or remove publish.signing"
        )


def access_of(s3: S3Target) -> Access:
    """Return a bucket's endpoint, and every AWS_* variable of the environment. Programs run in folders of their own, so a relative
    path of CAs is made absolute.
    """
    found = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    if bundle := found.get(CA_BUNDLE):
        found[CA_BUNDLE] = str(Path(bundle).absolute())
    return Access(s3.endpoint, found)


def reading_access(bucket: S3Target | None, negatives: S3Target | None) -> Access | None:
    """Return the access to the buckets that a stage reads, or None when it reads none. The keys of `negatives` have names
    of their own there.
    """
    s3 = bucket or negatives
    if s3 is None:
        return None
    access, prefix = access_of(s3), negatives_prefix()
    if negatives is None:
        return access
    keys = {f"{NEGATIVES}{name}": value for name in S3_KEYS if (value := os.environ.get(f"{prefix}{name}"))}
    return Access(access.endpoint, {**access.environment, **keys})


def negatives_prefix() -> str:
    """Return the prefix of the variables that hold the keys of dataset.negatives.source.s3: NEGATIVES_ if one of them is
    set, otherwise an empty string, so that AWS_* serve every bucket.
    """
    return NEGATIVES if any(os.environ.get(f"{NEGATIVES}{name}") for name in S3_KEYS) else ""
