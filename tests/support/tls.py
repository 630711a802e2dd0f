"""TLS in front of a server: a CA of its own, and a proxy with a certificate of that CA."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOST = "localhost"


@dataclass(frozen=True)
class Tls:
    """A server that speaks TLS."""

    endpoint: str
    ca: Path
    """File with the certificate of its CA."""


@contextmanager
def tls(endpoint: str, folder: Path, valid: timedelta = timedelta(days=1)) -> Iterator[Tls]:
    """Let a server be reached over TLS at another port, with a certificate that ends after `valid`."""
    ca, certificate, key = (folder / name for name in ("ca.pem", "server.pem", "server.key"))
    _write(ca, certificate, key, valid)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    behind = urlsplit(endpoint)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(behind.hostname, behind.port)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    begun = asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, HOST, 0, ssl=context), loop)
    port = begun.result().sockets[0].getsockname()[1]
    try:
        yield Tls(f"https://{HOST}:{port}", ca)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


def _write(ca: Path, certificate: Path, key: Path, valid: timedelta) -> None:
    """Write the certificate of a new CA, and one that it signed, with its key."""
    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("a private CA", HOST))
    begin = datetime.now(UTC) - timedelta(days=30)

    def builder(name: x509.Name, public: ec.EllipticCurvePublicKey, until: datetime) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder(issuer, name, public, x509.random_serial_number(), begin, until)
        return made.add_extension(x509.BasicConstraints(name == issuer, None), critical=True)

    names = x509.SubjectAlternativeName([x509.DNSName(HOST)])
    end = datetime.now(UTC) + timedelta(days=1)
    signed = builder(subject, own.public_key(), datetime.now(UTC) + valid).add_extension(names, critical=False)
    ca.write_bytes(builder(issuer, root.public_key(), end).sign(root, SHA256()).public_bytes(Encoding.PEM))
    certificate.write_bytes(signed.sign(root, SHA256()).public_bytes(Encoding.PEM))
    key.write_bytes(own.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
