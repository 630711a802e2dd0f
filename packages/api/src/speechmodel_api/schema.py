"""Types and rules that several parts of a spec share."""

from typing import Annotated, Final

from pydantic import Field
from pydantic.config import JsonDict

from speechmodel_api.base import ApiModel


def cel(rule: str, message: str, *others: tuple[str, str]) -> JsonDict:
    """Return validation rules that the API server evaluates, for `json_schema_extra`."""
    rules = ((rule, message), *others)
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


AUTO: Final = "Auto"


ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
S3Prefix = Annotated[str, Field(max_length=512, pattern=r"^([A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*)?$")]
"""A key prefix without a slash at either end."""
Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")]
"""A Kubernetes quantity such as 500m or 16Gi."""
LabelValue = Annotated[str, Field(max_length=63)]
LabelKey = Annotated[str, Field(max_length=317)]


class LocalObjectReference(ApiModel):
    """Refers to an object in the namespace of the SpeechModel."""

    name: ObjectName
    """Name of the object, which must be in the namespace of the SpeechModel."""


class S3Location(ApiModel):
    """A bucket of an S3-compatible service, and a key prefix in it."""

    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$")]
    """Name of the bucket. It must exist: the operator does not create buckets."""
    prefix: S3Prefix = ""
    """Key prefix of the published objects, without a slash at either end. Only characters that are
    safe in S3 keys are allowed. Objects are written below
    `<prefix>/<namespace>/<name>/<uid>/`. Defaults to the root of the bucket."""
    endpoint: Annotated[str, Field(max_length=1024, pattern=r"^https?://[^/\s]+$")] | None = None
    """URL of the S3 service, without a path, such as https://s3.example.com:9000. It must be
    reachable from the pods. Defaults to AWS."""
    region: Annotated[str, Field(min_length=1, max_length=64)] = "us-east-1"
    """Region of the bucket. Most services other than AWS accept any value. Defaults to
    us-east-1."""


class S3Target(S3Location):
    """A bucket, and the Secret that grants access to it."""

    secret_ref: LocalObjectReference | None = None
    """Secret that holds AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and optionally
    AWS_SESSION_TOKEN. Pods receive the keys as environment variables; the operator does not read
    the Secret. If not set, pods use the credentials of their environment, such as an instance
    profile."""

    @property
    def location(self) -> S3Location:
        """The bucket without the Secret."""
        return S3Location.model_validate(self.model_dump(exclude={"secret_ref"}))
