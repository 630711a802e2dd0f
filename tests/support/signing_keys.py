"""Elliptic curve keys for the signatures of published versions."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


@dataclass(frozen=True)
class KeyPair:
    """A private and a public key in PEM."""

    private: str
    public: str


def key_pair(curve: ec.EllipticCurve | None = None) -> KeyPair:
    """Return a new pair, by default of the curve P-256."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return KeyPair(private.decode(), public.decode())
