"""The signature of a published version: model.sig, in the format of OpenSSF Model Signing 1.0.

It is a Sigstore bundle of a DSSE envelope, whose statement names version.json and every file that a
server fetches, each with its sha256. So the folder that fetch leaves can also be verified with
`model_signing verify key`. Why that package is not used here: docs/decisions/024.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from pydantic import Base64Bytes, ValidationError
from speechmodel_api.base import Document
from speechmodel_api.credentials import SIGNING_KEY
from speechmodel_api.published import VersionManifest
from speechmodel_api.reasons import Reason
from speechmodel_api.workspace import SIGNATURE, VERSION
from speechmodel_stagekit.errors import BadConfiguration, BadData, TryAgain

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
SERIALIZATION = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
"""The hash that a signature is made over, by the curve of the key."""
_KINDS = "an elliptic curve key (P-256, P-384 or P-521) in PEM"

Digests = dict[str, str]
"""sha256 in hexadecimal by file name."""


def signature_uri(version_uri: str) -> str:
    """Return the address of the signature, which is beside version.json."""
    return f"{version_uri.removesuffix(VERSION)}{SIGNATURE}"


def signed_digests(version: bytes, manifest: VersionManifest) -> Digests:
    """Return the digests that the signature of a version covers, given version.json as bytes and as read."""
    files = {file.name: file.sha256 for file in manifest.files}
    return dict(sorted({**files, VERSION: hashlib.sha256(version).hexdigest()}.items()))


class SigningKey:
    """A private key, and the public keys of which one belongs to it."""

    def __init__(self, private_pem: str | None, public_pems: Sequence[str]) -> None:
        """Read the keys.

        Raises TryAgain (CredentialsMissing, SigningKeyUnusable) for the private key, since its Secret
        is corrected without an edit of the spec, and BadConfiguration for the public keys.
        """
        if not private_pem:
            raise TryAgain(
                Reason.CREDENTIALS_MISSING,
                f"publish.signing needs the private key in {SIGNING_KEY}: add it to the Secret, or to the environment of a local run",
            )
        self._key = _private(private_pem)
        trusted = [fingerprint(key) for key in _public(public_pems)]
        self.fingerprint = fingerprint(self._key.public_key())
        if self.fingerprint not in trusted:
            raise TryAgain(
                Reason.SIGNING_KEY_UNUSABLE,
                f"the public key of the private key in {SIGNING_KEY} has the sha256 {self.fingerprint}, which none of "
                f"publish.signing.publicKeys has: add the public key, or correct the Secret",
            )

    def sign(self, name: str, digests: Digests) -> bytes:
        """Return the signature file of the version `name`."""
        payload = json.dumps(_statement(name, digests)).encode()
        signature = self._key.sign(_encoded(payload), ec.ECDSA(HASHES[self._key.curve.name]))
        envelope = {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        }
        material = {"publicKey": {"hint": self.fingerprint}, "tlogEntries": []}
        bundle = {"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
        return json.dumps(bundle).encode()

    def has_signed(self, signature: bytes, digests: Digests) -> bool:
        """Return True if the signature file is of this key and these files."""
        try:
            _verify(signature, digests, [self._key.public_key()])
        except _Refused:
            return False
        return True


def verify(uri: str, signature: bytes, digests: Digests, public_pems: Sequence[str]) -> None:
    """Check that one of the public keys verifies the signature file at `uri`, and that it is of these files.

    Raises BadData (SignatureInvalid), and BadConfiguration (SigningKeyUnusable) for a public key that
    cannot be read.
    """
    try:
        _verify(signature, digests, _public(public_pems))
    except _Refused as error:
        raise BadData(
            Reason.SIGNATURE_INVALID,
            f"{uri} {error}; find out who wrote to the bucket, or correct publish.signing.publicKeys",
        ) from error


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """Return the sha256 of a public key in PEM, as signatures name it."""
    return hashlib.sha256(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


class _Refused(Exception):
    """The reason why a signature is not accepted, as the end of a sentence about its file."""


class _PublicKeyHint(Document):
    hint: str = ""


class _Material(Document):
    public_key: _PublicKeyHint


class _Signature(Document):
    sig: Base64Bytes


class _Envelope(Document):
    payload: Base64Bytes
    payload_type: Literal["application/vnd.in-toto+json"]
    signatures: tuple[_Signature]


class _Bundle(Document):
    media_type: Literal["application/vnd.dev.sigstore.bundle.v0.3+json"]
    verification_material: _Material
    dsse_envelope: _Envelope


class _Resource(Document):
    name: str
    algorithm: Literal["sha256"]
    digest: str


class _Predicate(Document):
    resources: tuple[_Resource, ...]


class _Statement(Document):
    predicate_type: Literal["https://model_signing/signature/v1.0"]
    predicate: _Predicate


def _verify(signature: bytes, digests: Digests, trusted: Sequence[ec.EllipticCurvePublicKey]) -> None:
    try:
        bundle = _Bundle.model_validate_json(signature)
    except ValidationError as error:
        raise _Refused("is not a signature in the format of OpenSSF Model Signing") from error
    payload, sig = bundle.dsse_envelope.payload, bundle.dsse_envelope.signatures[0].sig
    if not any(_made_by(key, sig, payload) for key in trusted):
        named = bundle.verification_material.public_key.hint
        if named in map(fingerprint, trusted):
            raise _Refused("was changed after it was made")
        raise _Refused(
            f"was made with a key whose sha256 is not that of one of publish.signing.publicKeys: {named[:64]!r}"
        )
    try:
        statement = _Statement.model_validate_json(payload)
    except ValidationError as error:
        raise _Refused("is of something other than a model") from error
    found = {resource.name: resource.digest for resource in statement.predicate.resources}
    if found != digests:
        different = sorted(name for name in {*found, *digests} if found.get(name) != digests.get(name))
        raise _Refused(f"is of another version: {' and '.join(different)} differ from what was signed")


def _made_by(key: ec.EllipticCurvePublicKey, sig: bytes, payload: bytes) -> bool:
    try:
        key.verify(sig, _encoded(payload), ec.ECDSA(HASHES[key.curve.name]))
    except InvalidSignature:
        return False
    return True


def _statement(name: str, digests: Digests) -> dict[str, Any]:
    """Return the statement about files, and about all of them together by the sha256 of their digests."""
    together = hashlib.sha256(b"".join(map(bytes.fromhex, digests.values()))).hexdigest()
    resources = [{"name": file, "algorithm": "sha256", "digest": digest} for file, digest in digests.items()]
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": together}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"serialization": SERIALIZATION, "resources": resources},
    }


def _encoded(payload: bytes) -> bytes:
    """Return the bytes that are signed: the pre-authentication encoding of DSSE 1.0."""
    return f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(payload)} ".encode() + payload


def _private(pem: str) -> ec.EllipticCurvePrivateKey:
    unusable = TryAgain(
        Reason.SIGNING_KEY_UNUSABLE, f"{SIGNING_KEY} is not {_KINDS} without a passphrase: correct it in the Secret"
    )
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError) as error:  # TypeError for a key with a passphrase
        raise unusable from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in HASHES:
        raise unusable
    return key


def _public(pems: Sequence[str]) -> list[ec.EllipticCurvePublicKey]:
    found = []
    for index, pem in enumerate(pems):
        unusable = BadConfiguration(
            Reason.SIGNING_KEY_UNUSABLE,
            f"publish.signing.publicKeys[{index}] is not {_KINDS}: write the output of `openssl pkey -pubout`",
        )
        try:
            key = load_pem_public_key(pem.encode())
        except ValueError as error:
            raise unusable from error
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in HASHES:
            raise unusable
        found.append(key)
    return found
