"""Certificates, CRLs and keys as text: several in one file, in order.

Source: RFC 7468. The parsing of each is cryptography's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ..errors import IdentityError
from .profile import UNREADABLE, PrivateKey, is_accepted_key

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\r?\n.+?-----END \1-----", re.DOTALL)


def write_certificates(certificates: Iterable[x509.Certificate]) -> bytes:
    """Return certificates as PEM."""
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def read_certificates(pem: bytes, what: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates in PEM; raise IdentityError, which names `what`, if there is none or a broken one."""
    try:
        return tuple(map(x509.load_pem_x509_certificate, _blocks(pem, b"CERTIFICATE")))
    except UNREADABLE as error:
        raise _unreadable(what, "certificate", error) from error


def write_crls(crls: Iterable[x509.CertificateRevocationList]) -> bytes:
    """Return CRLs as PEM."""
    return b"".join(crl.public_bytes(Encoding.PEM) for crl in crls)


def read_crls(pem: bytes, what: str) -> tuple[x509.CertificateRevocationList, ...]:
    """Return the CRLs in PEM; raise IdentityError, which names `what`, if there is none or a broken one."""
    try:
        return tuple(map(x509.load_pem_x509_crl, _blocks(pem, b"X509 CRL")))
    except UNREADABLE as error:
        raise _unreadable(what, "CRL", error) from error


def write_keys(keys: Iterable[PrivateKey], passphrase: bytes | None = None) -> bytes:
    """Return private keys as PEM (PKCS 8), encrypted if there is a passphrase."""
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return b"".join(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption) for key in keys)


def read_keys(pem: bytes, what: str, passphrase: bytes | None = None) -> tuple[PrivateKey, ...]:
    """Return the private keys in PEM; raise IdentityError, which names `what`, if there is none or a useless one.

    The error's text holds nothing of the keys.
    """
    label = b"ENCRYPTED PRIVATE KEY" if passphrase else b"PRIVATE KEY"
    keys: list[PrivateKey] = []
    try:
        for block in _blocks(pem, label):
            key = load_pem_private_key(block, passphrase)
            if not is_accepted_key(key):
                raise ValueError("the key is neither P-256 nor Ed25519")
            keys.append(key)  # type: ignore[arg-type]  # is_accepted_key has looked
    except UNREADABLE as error:
        raise _unreadable(what, "private key", error) from None
    return tuple(keys)


def _blocks(pem: bytes, label: bytes) -> list[bytes]:
    blocks = [match[0] for match in _BLOCK.finditer(pem) if match[1] == label]
    if not blocks:
        found = sorted({match[1].decode() for match in _BLOCK.finditer(pem)})
        raise ValueError(f"expected PEM of {label.decode()}, found {', '.join(found)[:200] or 'none'}")
    return blocks


def _unreadable(what: str, kind: str, error: Exception) -> IdentityError:
    return IdentityError(f"{what} holds no {kind} that can be read: {error!s:.300}", reason="files")
