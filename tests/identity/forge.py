"""Certificates and CRLs as nobody should issue them, and time as nobody would believe it."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from autonomy.identity.issuing import Signer
from autonomy.identity.pem import read_certificates, read_keys
from autonomy.identity.profile import LEAF_USAGES, key_usage

ZONE = "z.test"
HOUR = timedelta(hours=1)

Key = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey
Extensions = Mapping[type[x509.ExtensionType], tuple[x509.ExtensionType, bool] | None]


class Clock:
    """Says what it is told to say. Far from the system's time, so that whoever asks that one is found out."""

    def __init__(self) -> None:
        self.now = datetime(2031, 4, 5, 6, 7, 8, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **duration: float) -> None:
        self.now += timedelta(**duration)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def uri(text: str) -> x509.UniformResourceIdentifier:
    # The check is cryptography's, and the forger's to skip.
    return x509.UniformResourceIdentifier._init_without_validation(text)


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def node_names(*uris: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([uri(text) for text in uris])


def signers_in(folder: Path) -> list[Signer]:
    """The CAs of a zone, keys and all: what a thief of the folder has."""
    certificates = read_certificates((folder / "ca.crt").read_bytes(), "")
    keys = read_keys((folder / "ca.key").read_bytes(), "")
    return [Signer(key, certificate) for key, certificate in zip(keys, certificates, strict=True)]


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass
class Forger:
    """Signs anything. What is not said is as the authority would have it."""

    signer: Signer
    clock: Clock
    key: Key = field(default_factory=p256)

    def leaf(
        self,
        extensions: Extensions | None = None,
        *,
        names: x509.SubjectAlternativeName | None = None,
        key: Key | None = None,
        subject: str = "",
        begins: timedelta = timedelta(minutes=-5),
        ends: timedelta = 24 * HOUR,
        algorithm: hashes.SHA256 | hashes.SHA384 | None = None,
    ) -> x509.Certificate:
        """A certificate of node ``b``, except for what is said. An extension that is None is left out."""
        public = (key or self.key).public_key()
        chosen: dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool] | None] = {
            x509.BasicConstraints: (x509.BasicConstraints(ca=False, path_length=None), True),
            x509.KeyUsage: (key_usage(signs_certificates=False), True),
            x509.ExtendedKeyUsage: (LEAF_USAGES, False),
            x509.SubjectKeyIdentifier: (x509.SubjectKeyIdentifier.from_public_key(public), False),
            x509.AuthorityKeyIdentifier: (self.signer.issuer_id, False),
            x509.SubjectAlternativeName: (names or node_names(f"spiffe://{ZONE}/node/b"), True),
            **(extensions or {}),
        }
        builder = (
            x509.CertificateBuilder()
            .subject_name(common_name(subject) if subject else x509.Name([]))
            .issuer_name(self.signer.certificate.subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.clock.now + begins)
            .not_valid_after(self.clock.now + ends)
        )
        for extension, critical in filter(None, chosen.values()):
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.signer.key, algorithm or hashes.SHA256())

    def crl(
        self,
        number: int | None,
        revoked: Iterable[int] = (),
        *,
        age: timedelta = timedelta(0),
        lifetime: timedelta = 24 * HOUR,
    ) -> x509.CertificateRevocationList:
        issued = self.clock.now - age
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.signer.certificate.subject)
            .last_update(issued - timedelta(minutes=5))
            .next_update(issued + lifetime)
            .add_extension(self.signer.issuer_id, critical=False)
        )
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        for serial in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(issued)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.signer.key, hashes.SHA256())

    def context(self, leaf: x509.Certificate | None, *, server: bool = False) -> ssl.SSLContext:
        """A context that shows this certificate, or none, and looks at nobody else's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if leaf is not None:
            with tempfile.NamedTemporaryFile(suffix=".pem") as file:
                file.write(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
                file.write(leaf.public_bytes(Encoding.PEM))
                file.flush()
                context.load_cert_chain(file.name)
        return context


def make_ca(
    clock: Clock,
    zone: str = ZONE,
    *,
    subject: x509.Name | None = None,
    signer: Signer | None = None,
    extensions: Extensions | None = None,
    key: Key | None = None,
) -> Signer:
    """A CA as a zone has it, except for what is said; signed by `signer` instead of by itself if there is one."""
    key = p256() if key is None else key
    subject = common_name("some CA") if subject is None else subject
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    chosen: dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool] | None] = {
        x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=0), True),
        x509.KeyUsage: (key_usage(signs_certificates=True), True),
        x509.SubjectKeyIdentifier: (key_id, False),
        x509.SubjectAlternativeName: (node_names(f"spiffe://{zone}"), False),
        x509.NameConstraints: (x509.NameConstraints([x509.UniformResourceIdentifier(zone)], None), True),
        **({x509.AuthorityKeyIdentifier: (signer.issuer_id, False)} if signer else {}),
        **(extensions or {}),
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now - HOUR)
        .not_valid_after(clock.now + 1000 * HOUR)
    )
    for extension, critical in filter(None, chosen.values()):
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(signer.key if signer else key, hashes.SHA256())
    return Signer(key, certificate)  # type: ignore[arg-type]  # forgers have RSA keys too


def name_of(signer: Signer) -> x509.Name:
    return signer.certificate.subject


# ---- what cryptography will not make: parts exchanged in the bytes

_SHA256 = bytes.fromhex("06082a8648ce3d040302")
_SHA1 = bytes.fromhex("06072a8648ce3d0401")


def signed_with_sha1(certificate: x509.Certificate, signer: Signer) -> bytes:
    assert isinstance(signer.key, ec.EllipticCurvePrivateKey)
    parts = _children(certificate.tbs_certificate_bytes)
    # An algorithm that is named inside and outside of what is signed.
    algorithm = _tlv(0x30, [_SHA1])
    tbs = _tlv(0x30, [algorithm if part == _tlv(0x30, [_SHA256]) else part for part in parts])
    signature = signer.key.sign(tbs, ec.ECDSA(hashes.SHA1()))
    return _tlv(0x30, [tbs, algorithm, _tlv(0x03, [b"\0", signature])])


def _tlv(tag: int, parts: Sequence[bytes]) -> bytes:
    body = b"".join(parts)
    length = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes([tag]) + length + body


def _children(tlv: bytes) -> list[bytes]:
    children, at = [], _body(tlv, 0)[0]
    while at < len(tlv):
        end = _body(tlv, at)[1]
        children.append(tlv[at:end])
        at = end
    return children


def _body(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of what stands at `at` begins and ends."""
    length, begin = data[at + 1], at + 2
    if length >= 128:
        size = length - 128
        length, begin = int.from_bytes(data[begin : begin + size], "big"), begin + size
    return begin, begin + length
