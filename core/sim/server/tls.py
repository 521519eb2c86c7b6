"""A certificate for the venue's host names, made at start and trusted by nobody who was not given it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

FUTURES_STREAMS = "fstream.binance.com"
VENUE_HOSTS = ("fapi.binance.com", FUTURES_STREAMS, "api.binance.com", "stream.binance.com")
_FROM, _DAYS = datetime(2020, 1, 1, tzinfo=UTC), 365 * 30


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of a self-signed certificate: ``cert`` is what a client must be told to trust."""

    cert: Path
    key: Path

    def stands_for(self, hosts: tuple[str, ...] = VENUE_HOSTS) -> bool:
        """Whether both files are there, and are of these hosts."""
        if not (self.cert.is_file() and self.key.is_file()):
            return False
        try:
            told = x509.load_pem_x509_certificate(self.cert.read_bytes()).extensions
            names = told.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName)
        except (ValueError, x509.ExtensionNotFound):  # a crash has left a part of it
            return False
        return set(hosts) <= set(names)

    def server_context(self) -> ssl.SSLContext:
        """For the server's socket."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client: trusts this certificate and no other."""
        return ssl.create_default_context(cafile=str(self.cert))


def make_certificate(folder: Path, hosts: tuple[str, ...] = VENUE_HOSTS) -> Certificate:
    """Make a key and a certificate for ``hosts`` and loopback in ``folder``; the key is readable by its owner only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local exchange")])
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in (*hosts, "localhost")]
    names += [x509.IPAddress(IPv4Address("127.0.0.1")), x509.IPAddress(IPv6Address("::1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)  # any clock, real or virtual, shall find it valid
        .not_valid_after(_FROM + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificate(folder / "exchange-cert.pem", folder / "exchange-key.pem")
    made.cert.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.touch(mode=0o600)
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made
