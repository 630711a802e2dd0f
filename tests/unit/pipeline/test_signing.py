"""The signature of a version is refused unless a trusted key made it for exactly these files."""

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from speechmodel_api.reasons import Reason
from speechmodel_pipeline.signing import SigningKey, signature_uri, verify
from speechmodel_stagekit.errors import BadConfiguration, BadData, TryAgain
from support.places import FIXTURES
from support.signing_keys import KeyPair, key_pair

URI = "s3://models/espejo/0badcafe/model.sig"
DIGESTS = {
    name: hashlib.sha256(name.encode()).hexdigest() for name in ("output_graph.pbmm", "selftest.wav", "version.json")
}
PAIR, OTHER = key_pair(), key_pair()
MADE_ELSEWHERE = FIXTURES.parent / "model_signing"
"""model.sig that model_signing 1.1.1 made of three files that contain their own names."""


def sign(pair: KeyPair = PAIR) -> bytes:
    return SigningKey(pair.private, [pair.public]).sign("0badcafe", DIGESTS)


def payload(signature: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"]))
    return found


def refusal(signature: bytes, digests: dict[str, str] = DIGESTS, *public: str) -> str:
    with pytest.raises(BadData) as refused:
        verify(URI, signature, digests, public or [PAIR.public])
    assert refused.value.reason is Reason.SIGNATURE_INVALID
    message = str(refused.value)
    assert message.startswith(f"{URI} ")
    assert "publish.signing.publicKeys" in message
    return message


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_signature_of_a_trusted_key_is_accepted(curve: ec.EllipticCurve) -> None:
    pair = key_pair(curve)
    verify(URI, sign(pair), DIGESTS, [OTHER.public, pair.public])


@pytest.mark.parametrize("name", DIGESTS)
def test_another_file_is_refused_by_name(name: str) -> None:
    assert name in refusal(sign(), DIGESTS | {name: "0" * 64})
    assert name in refusal(sign(), {other: digest for other, digest in DIGESTS.items() if other != name})
    assert "more.bin" in refusal(sign(), DIGESTS | {"more.bin": "0" * 64})


def test_another_key_is_refused() -> None:
    assert "a key whose sha256 is not that of one of" in refusal(sign(), DIGESTS, OTHER.public)


def test_a_flipped_bit_of_the_statement_or_of_the_signature_is_refused() -> None:
    bundle = json.loads(sign())
    envelope = bundle["dsseEnvelope"]
    for holder, field in ((envelope, "payload"), (envelope["signatures"][0], "sig")):
        whole = holder[field]
        content = base64.b64decode(whole)
        for index in range(len(content)):
            flipped = content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]
            holder[field] = base64.b64encode(flipped).decode()
            assert "was changed after it was made" in refusal(json.dumps(bundle).encode())
        holder[field] = whole


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\x00", sign()[:-2], sign().replace(b"v0.3", b"v9.9")])
def test_a_file_that_is_not_a_signature_is_refused(content: bytes) -> None:
    assert "not a signature in the format of OpenSSF Model Signing" in refusal(content)


def test_a_signed_statement_about_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speechmodel_pipeline.signing.PREDICATE_TYPE", "https://slsa.dev/provenance/v1")
    assert "something other than a model" in refusal(sign())


def test_the_format_is_that_of_model_signing() -> None:
    theirs, public = (MADE_ELSEWHERE / "model.sig").read_bytes(), (MADE_ELSEWHERE / "public.pem").read_text()
    verify(URI, theirs, DIGESTS, [public])
    assert "version.json" in refusal(theirs, DIGESTS | {"version.json": "0" * 64}, public)
    ours = SigningKey(PAIR.private, [PAIR.public]).sign("model", DIGESTS)
    expected, found = payload(theirs), payload(ours)
    for statement in (expected, found):
        assert "model.sig" in statement["predicate"]["serialization"].pop("ignore_paths")
    assert found == expected
    bundles = json.loads(theirs), json.loads(ours)
    for bundle in bundles:
        bundle["verificationMaterial"]["publicKey"].pop("hint")
        bundle["dsseEnvelope"].pop("payload")
        bundle["dsseEnvelope"]["signatures"][0].pop("sig")
    assert bundles[0] == bundles[1]


def test_a_signature_that_this_key_made_is_known() -> None:
    key = SigningKey(PAIR.private, [PAIR.public])
    assert key.has_signed(sign(), DIGESTS)
    assert not key.has_signed(sign(OTHER), DIGESTS)
    assert not key.has_signed(sign(), DIGESTS | {"version.json": "0" * 64})
    assert not key.has_signed(b"", DIGESTS)


def encrypted() -> str:
    key = load_pem_private_key(PAIR.private.encode(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()


RSA = rsa.generate_private_key(65537, 2048)
RSA_PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    "private",
    ["nonsense", PAIR.public, encrypted(), key_pair(ec.SECP256K1()).private],
    ids=("no PEM", "public", "passphrase", "other curve"),
)
def test_a_private_key_that_cannot_sign_is_named_with_what_to_do(private: str) -> None:
    with pytest.raises(
        TryAgain, match=r"SIGNING_KEY is not an elliptic curve key .*correct it in the Secret"
    ) as refused:
        SigningKey(private, [PAIR.public])
    assert refused.value.reason is Reason.SIGNING_KEY_UNUSABLE
    assert "PRIVATE KEY" not in str(refused.value)


def test_a_private_key_without_its_public_key_signs_nothing() -> None:
    with pytest.raises(TryAgain, match=r"none of publish\.signing\.publicKeys has") as refused:
        SigningKey(PAIR.private, [OTHER.public])
    assert refused.value.reason is Reason.SIGNING_KEY_UNUSABLE


@pytest.mark.parametrize("private", [None, ""])
def test_without_a_private_key_the_error_names_the_variable(private: str | None) -> None:
    with pytest.raises(TryAgain, match="SIGNING_KEY") as refused:
        SigningKey(private, [PAIR.public])
    assert refused.value.reason is Reason.CREDENTIALS_MISSING


@pytest.mark.parametrize("public", ["nonsense", PAIR.private, RSA_PUBLIC, key_pair(ec.SECP256K1()).public])
def test_a_public_key_that_cannot_verify_is_named_by_its_field(public: str) -> None:
    with pytest.raises(
        BadConfiguration, match=r"publish\.signing\.publicKeys\[1\] is not an elliptic curve key"
    ) as refused:
        verify(URI, sign(), DIGESTS, [PAIR.public, public])
    assert refused.value.reason is Reason.SIGNING_KEY_UNUSABLE


def test_the_signature_is_beside_version_json() -> None:
    assert signature_uri("s3://models/a/0badcafe/version.json") == "s3://models/a/0badcafe/model.sig"
