"""The three things that a CA signs, field by field: its own certificate, a node's, and a list of revoked ones.

Nothing here decides whether to sign, and nothing is kept; `authority.py` does both.

Source: X.509-SVID sections 2 to 4, RFC 5280 sections 4.2 and 5.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from .._sansio.spiffe import node_uri, zone_uri
from .lifetimes import CA_LIFETIME, CRL_LIFETIME, validity
from .profile import LEAF_USAGES, PrivateKey, PublicKey, key_usage
from .serials import Ledger


@dataclass(frozen=True, slots=True)
class Signer:
    """A CA: its key and its certificate."""

    key: PrivateKey
    certificate: x509.Certificate

    @property
    def id(self) -> str:
        """The key's id, in hex."""
        return self._key_id.digest.hex()

    @property
    def _key_id(self) -> x509.SubjectKeyIdentifier:
        return self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value

    @property
    def issuer_id(self) -> x509.AuthorityKeyIdentifier:
        """How what it signs points to it."""
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._key_id)


def new_ca(zone: str, now: datetime) -> Signer:
    """Make a CA that can sign for nodes of one zone and for nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Each CA has a name of its own, though RFC 5280 would let a zone keep one: paths and CRLs are then found by name
    # without a second look. A common name has at most 64 characters, a zone up to 253.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{zone:.40} CA {key_id.digest.hex():.16}")])
    not_before, not_after = validity(now, CA_LIFETIME)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(signs_certificates=True), critical=True)
        .add_extension(key_id, critical=False)
        .add_extension(_uri(zone_uri(zone)), critical=False)
        .add_extension(x509.NameConstraints([x509.UniformResourceIdentifier(zone)], None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Signer(key, certificate)


def new_leaf(
    signer: Signer, zone: str, name: str, key: PublicKey, now: datetime, lifetime: timedelta
) -> x509.Certificate:
    """Sign a node's certificate. `profile.check_node_certificate` is its mirror image."""
    not_before, not_after = validity(now, lifetime)
    # A subject would be a second name, for somebody to believe. Without one the other names must be critical.
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(min(not_after, signer.certificate.not_valid_after_utc))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(LEAF_USAGES, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(signer.issuer_id, critical=False)
        .add_extension(_uri(node_uri(zone, name)), critical=True)
    )
    return builder.sign(signer.key, _hash_for(signer.key))


def new_crl(signer: Signer, number: int, ledger: Ledger, now: datetime) -> x509.CertificateRevocationList:
    """Sign the list of all that this CA has issued, that is revoked, and that has not ended by itself."""
    not_before, not_after = validity(now, CRL_LIFETIME)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(not_before)
        .next_update(not_after)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(signer.issuer_id, critical=False)
    )
    for serial, at in ledger.revoked.items():
        issued = ledger.issued[serial]
        # RFC 5280 section 3.3: an entry stays for one list beyond the certificate's end.
        if issued.ca == signer.id and issued.not_after + CRL_LIFETIME > now:
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(at)
            builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(signer.key, _hash_for(signer.key))


def _uri(uri: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])


def _hash_for(key: PrivateKey) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
