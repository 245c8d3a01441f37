"""What a certificate of a zone looks like, and nothing else does: the rules beyond "a trusted CA has signed it".

A chain proves that the CA signed, not that it meant a node: these rules decide what counts as a node, and `issuing.py`
keeps to them. They are stricter than their sources, since one authority issues everything that is ever shown here.
Nothing here looks at signatures or at the time; that is `roots.py`.

Source: SPIFFE X.509-SVID sections 2 to 4, RFC 5280 section 4.2.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from .._sansio.spiffe import check_zone_name, parse_node_uri, zone_uri
from ..errors import IdentityError
from .lifetimes import LEAF_LIFETIME, SKEW

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
"""A node's private key: P-256 or Ed25519."""

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
"""A node's public key: P-256 or Ed25519."""

LEAF_USAGES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
"""Every node dials and is dialled."""

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for parts of a certificate that it cannot read. It reads them late, at each access."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """Return what a key may be used for: signing certificates and lists of revoked ones, or TLS handshakes."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def is_accepted_key(key: object) -> bool:
    """Return whether this is a P-256 or Ed25519 key, private or public."""
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return isinstance(key.curve, ec.SECP256R1)
    return isinstance(key, ed25519.Ed25519PrivateKey | ed25519.Ed25519PublicKey)


def check_node_certificate(certificate: x509.Certificate, zone: str, longest: timedelta = LEAF_LIFETIME) -> str:
    """Return the name of the node that a certificate is for, which may be valid for `longest`, counted from its issue.

    Raises:
        IdentityError: It is not as the zone's authority would have issued it.
    """
    try:
        return _checked_node_name(certificate, zone, longest)
    except UNREADABLE as error:
        raise IdentityError(f"the certificate cannot be read: {error!s:.200}", reason="malformed") from error


def _checked_node_name(certificate: x509.Certificate, zone: str, longest: timedelta) -> str:
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints.value.ca:
        raise _unlike("is a CA (BasicConstraints CA=true), and a CA is not a node")
    _must_be_critical(constraints)
    _check_signature_algorithm(certificate)
    if not is_accepted_key(certificate.public_key()):
        raise _unlike("has a key that is neither P-256 nor Ed25519")
    _check_usages(certificate)
    span = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if span > longest + SKEW:
        raise _unlike(f"is valid for {span}, at most {longest + SKEW} are allowed")
    return parse_node_uri(_only_uri(certificate), zone)


def _check_signature_algorithm(certificate: x509.Certificate) -> None:
    algorithm = certificate.signature_hash_algorithm
    if algorithm is not None and not isinstance(algorithm, hashes.SHA256):
        raise _unlike(f"is signed with {algorithm.name}, expected sha256 or Ed25519")


def _check_usages(certificate: x509.Certificate) -> None:
    usage = _extension(certificate, x509.KeyUsage)
    if usage.value != key_usage(signs_certificates=False):
        raise _unlike("has another KeyUsage than digitalSignature alone")
    _must_be_critical(usage)
    purposes = set(_extension(certificate, x509.ExtendedKeyUsage).value)
    if purposes != set(LEAF_USAGES):
        raise _unlike("has another ExtendedKeyUsage than both serverAuth and clientAuth")


def _only_uri(certificate: x509.Certificate) -> str:
    # X.509-SVID section 2: a certificate with more than one URI must be refused; other kinds of names prove nothing
    # here and are ignored.
    names = _extension(certificate, x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise IdentityError(
            f"the certificate has {len(uris)} URIs among its SubjectAlternativeNames, expected exactly one",
            reason="identity",
        )
    return uris[0]


def zone_of_authority(certificate: x509.Certificate) -> str:
    """Return the zone that a CA certificate is for, after checking that it can be for no other.

    Raises:
        IdentityError: It is no CA of a zone, or could sign for other zones or for further CAs.
    """
    try:
        return _zone_of_authority(certificate)
    except UNREADABLE as error:
        raise IdentityError(f"a CA certificate cannot be read: {error!s:.200}", reason="malformed") from error


def _zone_of_authority(certificate: x509.Certificate) -> str:
    constraints = _extension(certificate, x509.BasicConstraints, "CA certificate")
    if not constraints.value.ca or constraints.value.path_length != 0:
        raise _unlike(
            "must have BasicConstraints CA=true and pathlen 0: it signs nodes, no further CAs", "CA certificate"
        )
    _must_be_critical(constraints, "CA certificate")
    if not is_accepted_key(certificate.public_key()):
        raise _unlike("has a key that is neither P-256 nor Ed25519", "CA certificate")
    usage = _extension(certificate, x509.KeyUsage, "CA certificate")
    if usage.value != key_usage(signs_certificates=True):
        raise _unlike("has another KeyUsage than keyCertSign and cRLSign", "CA certificate")
    uris = _extension(certificate, x509.SubjectAlternativeName, "CA certificate").value.get_values_for_type(
        x509.UniformResourceIdentifier
    )
    if len(uris) != 1 or not uris[0].startswith("spiffe://"):
        raise _unlike(f"has the URIs {uris!r:.300}, expected exactly one spiffe://ZONE", "CA certificate")
    zone = check_zone_name(uris[0].removeprefix(zone_uri("")))
    permitted = _extension(certificate, x509.NameConstraints, "CA certificate")
    if permitted.value != x509.NameConstraints([x509.UniformResourceIdentifier(zone)], None):
        raise _unlike(
            f"may sign for others: its NameConstraints must permit URIs of {zone!r} and nothing else", "CA certificate"
        )
    _must_be_critical(permitted, "CA certificate")
    return zone


def _extension(
    certificate: x509.Certificate, kind: type[_Extension], what: str = "certificate"
) -> x509.Extension[_Extension]:
    try:
        return certificate.extensions.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        raise _unlike(f"has no {kind.__name__}", what) from None


def _must_be_critical(extension: x509.Extension[x509.ExtensionType], what: str = "certificate") -> None:
    if not extension.critical:
        raise _unlike(f"has a {type(extension.value).__name__} that is not critical, and it must be", what)


def _unlike(problem: str, what: str = "certificate") -> IdentityError:
    return IdentityError(f"the {what} {problem}", reason="profile")
