"""Errors of S3, with advice for each.

All of them are TryAgain (exit code 75): they may recover, or be corrected without an edit of the
spec, such as in the Secret.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from speechmodel_api.reasons import Reason
from speechmodel_api.spec import S3Location
from speechmodel_stagekit.errors import TryAgain

_SECRET = "in the Secret that publish.s3.secretRef names"  # noqa: S105 - a sentence, no secret
_ADVICE = {
    "NoSuchBucket": "create the bucket or correct publish.s3.bucket",
    "AccessDenied": f"allow this access key to list, read, write and delete there, or use another one {_SECRET}",
    "403": f"allow this access key to list, read, write and delete there, or use another one {_SECRET}",
    "InvalidAccessKeyId": f"correct AWS_ACCESS_KEY_ID {_SECRET}",
    "SignatureDoesNotMatch": f"correct AWS_SECRET_ACCESS_KEY {_SECRET}",
    "InvalidToken": f"correct AWS_SESSION_TOKEN {_SECRET}",
    "ExpiredToken": f"renew AWS_SESSION_TOKEN {_SECRET}",
    "RequestTimeTooSkewed": "correct the clock of the node or of the S3 service",
    "AuthorizationHeaderMalformed": "correct publish.s3.region",
    "PermanentRedirect": "correct publish.s3.region or publish.s3.endpoint",
}
"""By S3's error code."""
_OTHERWISE = "if the error persists, check the S3 service"


@contextmanager
def storage_errors(reason: Reason, location: S3Location) -> Iterator[None]:
    """Turn the errors of boto3 into TryAgain with `reason`, and with the code and the message of
    S3.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        advice = f"give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY {_SECRET}"
        raise TryAgain(reason, f"{_where(location)}: {_plain(error)}; {advice}") from error
    except (ClientError, BotoCoreError, Boto3Error) as error:
        raise TryAgain(reason, _explain(_root(error), location)) from error


def error_code(error: ClientError) -> str:
    """Return S3's code, such as NoSuchKey, or the HTTP status of a response without a body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _explain(error: BaseException, location: S3Location) -> str:
    where = _where(location)
    if isinstance(error, ClientError):
        code = error_code(error)
        message = str(error.response.get("Error", {}).get("Message", "")).strip().rstrip(".")
        return f"{where}: {code}: {message or 'no message'}; {_ADVICE.get(code, _OTHERWISE)}"
    if isinstance(error, (BotoConnectionError, HTTPClientError)):
        return f"{where} cannot be reached: {_plain(error)}; correct publish.s3.endpoint, or start the service"
    return f"{where}: {_plain(error)}; {_OTHERWISE}"


def _root(error: BaseException) -> BaseException:
    """Return the error of S3 inside of the error of the transfer manager."""
    inner = error.__cause__ or error.__context__
    return inner if isinstance(error, Boto3Error) and isinstance(inner, Exception) else error


def _where(location: S3Location) -> str:
    return f"bucket {location.bucket} at {location.endpoint or 'AWS ' + location.region}"


def _plain(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
