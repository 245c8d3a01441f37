"""A small certificate authority for tests of links, and contexts that trust it.

The real one is stricter. Here it is enough that a certificate names a node, and that each kind of bad one can be made.
"""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from autonomy._links.websocket import Tls
from autonomy.errors import IdentityError

ZONE = "zone.test"
PREFIX = f"spiffe://{ZONE}/node/"


@dataclass(frozen=True)
class Credentials:
    """A certificate and its key, in PEM, and whom their holder trusts."""

    certificate: bytes
    key: bytes
    trusted: bytes

    def context(self, *, server: bool, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
        """Return a context that shows the certificate and asks for one."""
        context = stranger(self.trusted, server=server, version=version)
        context.verify_mode = ssl.CERT_REQUIRED
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(self.key + self.certificate)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def tls(self) -> Tls:
        """Return what a transport takes. The contexts are made once: tests open thousands of links."""
        client, server = self.context(server=False), self.context(server=True)
        return Tls(lambda: client, lambda: server, node_of)


def stranger(
    trusted: bytes, *, server: bool = False, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
) -> ssl.SSLContext:
    """Return a context without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = version
    context.check_hostname = False
    context.options |= ssl.OP_NO_TICKET
    if server:
        context.num_tickets = 0
    context.load_verify_locations(cadata=trusted.decode())
    return context


def node_of(certificate: bytes) -> str:
    """Return the node that a certificate is for."""
    extensions = x509.load_der_x509_certificate(certificate).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1 or not uris[0].startswith(PREFIX):
        raise IdentityError(f"it names {uris}")
    return uris[0].removeprefix(PREFIX)


class Authority:
    """Issues certificates, good and bad."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests of links")])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(self._name).issuer_name(self._name)
        builder = builder.public_key(self._key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, node: str, *, hours: float = 1.0, uris: list[str] | None = None) -> Credentials:
        """Return credentials for a node that are valid from an hour ago until in so many hours."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        names = [x509.UniformResourceIdentifier(uri) for uri in (uris if uris is not None else [PREFIX + node])]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = x509.CertificateBuilder().issuer_name(self._name).public_key(key.public_key())
        builder = builder.subject_name(x509.Name([])).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=hours))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        return Credentials(certificate, private, self.certificate)
