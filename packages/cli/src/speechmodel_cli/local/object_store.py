"""Where publish puts and fetch finds: a bucket of the manifest, or the embedded server's."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from speechmodel_api.credentials import REQUIRED_KEYS
from speechmodel_api.spec import S3Target

from speechmodel_cli.local.errors import CredentialsMissing


@dataclass(frozen=True)
class Access:
    """How a stage program reaches the bucket now."""

    endpoint: str | None
    """URL; None: AWS."""
    environment: Mapping[str, str]
    """Credentials, as AWS's SDKs read them."""


class ObjectStore(Protocol):
    """A bucket and the way to it."""

    replaces: ClassVar[tuple[str, ...]]
    """Fields of publish.s3 that this store does not look at."""

    def target(self, wanted: S3Target) -> S3Target:
        """The bucket as plans and keys name it: the same at every call."""

    def require(self, wanted: S3Target) -> None:
        """Raise before any work is done if publishing could not succeed."""

    async def open(self) -> Access:
        """Make it reachable. Raises a LocalError."""

    async def close(self) -> None:
        """End what open() started."""


class ManifestStore:
    """The manifest's own bucket; the environment stands for its Secret."""

    replaces: ClassVar[tuple[str, ...]] = ()

    def __init__(self, s3: S3Target) -> None:
        self._s3 = s3

    def target(self, wanted: S3Target) -> S3Target:
        """As it is."""
        return wanted

    def require(self, wanted: S3Target) -> None:
        """CredentialsMissing when the manifest names a Secret and the environment lacks one of its keys."""
        if wanted.secret_ref is None:
            return
        missing = [name for name in REQUIRED_KEYS if not os.environ.get(name)]
        if missing:
            stands = f"publish.s3.secretRef {wanted.secret_ref.name} stands for variables of the environment here"
            raise CredentialsMissing(
                f"{stands}, and {' and '.join(missing)} must be set; or publish with --s3 embedded"
            )

    async def open(self) -> Access:
        """The manifest's endpoint, and every AWS_* variable of the environment."""
        environment = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        return Access(self._s3.endpoint, environment)

    async def close(self) -> None:
        """Nothing was started."""
