"""Errors of S3, with advice for each.

All of them are TryAgain (exit code 75): they may recover, or be corrected without an edit of the
spec, such as in the Secret.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from speechmodel_api.credentials import CA_BUNDLE
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Location
from speechmodel_stagekit.errors import TryAgain

PUBLISH = "publish.s3"
MISSING = frozenset({"NoSuchKey", "NoSuchBucket"})
"""Codes with which S3 answers a request for the content of an absent object. A 404 without a code is one of a proxy."""
_SECRET = "in the Secret that {field}.secretRef names"  # noqa: S105 - a sentence, no secret
_RIGHTS = f"allow this access key to {{rights}} there, or use another one {_SECRET}"
_ADVICE = {
    "NoSuchBucket": "create the bucket or correct {field}.bucket",
    "AccessDenied": _RIGHTS,
    "403": _RIGHTS,
    "InvalidAccessKeyId": f"correct AWS_ACCESS_KEY_ID {_SECRET}",
    "SignatureDoesNotMatch": f"correct AWS_SECRET_ACCESS_KEY {_SECRET}",
    "InvalidToken": f"correct AWS_SESSION_TOKEN {_SECRET}",
    "ExpiredToken": f"renew AWS_SESSION_TOKEN {_SECRET}",
    "RequestTimeTooSkewed": "correct the clock of the node or of the S3 service",
    "AuthorizationHeaderMalformed": "correct {field}.region",
    "PermanentRedirect": "correct {field}.region or {field}.endpoint",
}
"""By S3's error code. `{field}` is the field of the spec that names the bucket."""
_OTHERWISE = "if the error persists, check the S3 service"


@contextmanager
def storage_errors(
    reason: Reason, location: S3Location, field: str = PUBLISH, missing: Reason | None = None
) -> Iterator[None]:
    """Turn the errors of boto3 into TryAgain with `reason`, and with the code and the message of
    S3. `field` of the spec names the bucket. Without keys, the reason is CredentialsMissing. An object or a bucket that does not
    exist has the reason `missing` if it is given.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        advice = _advice(f"give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY {_SECRET}", field)
        raise TryAgain(Reason.CREDENTIALS_MISSING, f"{where(location)}: {_plain(error)}; {advice}") from error
    except (ClientError, BotoCoreError, Boto3Error) as error:
        root = _root(error)
        absent = isinstance(root, ClientError) and error_code(root) in MISSING
        raise TryAgain(missing if missing and absent else reason, _explain(root, location, field)) from error


def error_code(error: ClientError) -> str:
    """Return S3's code, such as NoSuchKey, or the HTTP status of a response without a body."""
    return str(error.response.get("Error", {}).get("Code", ""))


def where(location: S3Location) -> str:
    """Return the name of a bucket and its service, for a message."""
    return f"bucket {location.bucket} at {location.endpoint or 'AWS ' + location.region}"


def _explain(error: BaseException, location: S3Location, field: str) -> str:
    place = where(location)
    if isinstance(error, ClientError):
        code = error_code(error)
        message = str(error.response.get("Error", {}).get("Message", "")).strip().rstrip(".")
        return f"{place}: {code}: {message or 'no message'}; {_advice(_ADVICE.get(code, _OTHERWISE), field)}"
    if isinstance(error, SSLError):
        return f"{place}: {_plain(error)}; {_trust(str(error), field)}"
    if isinstance(error, (BotoConnectionError, HTTPClientError)):
        return f"{place} cannot be reached: {_plain(error)}; correct {field}.endpoint, or start the service"
    return f"{place}: {_plain(error)}; {_OTHERWISE}"


def _trust(message: str, field: str) -> str:
    """Return what to do about a connection that TLS refused."""
    if "[SSL:" in message and "CERTIFICATE_VERIFY_FAILED" not in message:
        return f"correct {field}.endpoint (http:// for a service without TLS), or the TLS settings of the service"
    if "doesn't match" in message or "Hostname mismatch" in message or "IP address mismatch" in message:
        return f"correct {field}.endpoint to a name that the certificate has"
    if "expired" in message or "not yet valid" in message:
        return "renew the certificate of the S3 service, or correct the clock of the node"
    if bundle := os.environ.get(CA_BUNDLE):
        return (
            f"the CA of the service must be in {bundle}, which {CA_BUNDLE} names; in a cluster, caBundle of the operator's chart "
            "sets it"
        )
    return (
        "if the certificate is one of a private CA, set caBundle of the operator's chart to a ConfigMap with that CA; in a local "
        f"run, set {CA_BUNDLE} to a file with it"
    )


def _advice(advice: str, field: str) -> str:
    rights = "list, read, write and delete" if field == PUBLISH else "list and read"
    return advice.format(field=field, rights=rights)


def _root(error: BaseException) -> BaseException:
    """Return the error of S3 inside of the error of the transfer manager."""
    inner = error.__cause__ or error.__context__
    return inner if isinstance(error, Boto3Error) and isinstance(inner, Exception) else error


def _plain(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
