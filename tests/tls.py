"""A line that ends TLS before a plain server, and the certificate that it shows: nobody's but its own."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"
ASKS = struct.pack("!ii", 8, 80877103)
"""What a client of Postgres says before TLS: https://www.postgresql.org/docs/current/protocol-message-formats.html"""


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that no authority has signed, and its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    shown, kept = folder / "certificate.pem", folder / "key.pem"
    shown.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kept.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return shown, kept


@dataclass
class Line:
    """What comes to `port` with TLS goes on to `target` without."""

    target: int
    port: int = 0
    number: int = 0
    """Connections that have been made."""
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    def cut(self) -> None:
        """Reset every connection; new ones work."""
        for one in self.open:
            one.transport.abort()


@asynccontextmanager
async def line(url: str, shown: Path, key: Path) -> AsyncIterator[Line]:
    """Before the server of this URL."""
    parts, context = urlsplit(url), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(shown, key)
    is_postgres = parts.scheme.startswith("postgres")
    made = Line(parts.port or 0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if is_postgres:
            if await reader.readexactly(8) != ASKS:
                writer.transport.abort()
                return
            writer.write(b"S")
            await writer.start_tls(context)
        made.number += 1
        there = await asyncio.open_connection(HOST, made.target)
        both = {writer, there[1]}
        made.open |= both
        try:
            await asyncio.gather(_pump(reader, there[1]), _pump(there[0], writer))
        finally:
            made.open -= both

    server = await asyncio.start_server(serve, HOST, 0, ssl=None if is_postgres else context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.cut()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
