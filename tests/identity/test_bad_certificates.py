"""What is no proof of being node ``b`` of zone ``z.test``: each refused, with its reason in error and log (K1).

All but a few are signed by the zone's own CA: they stand for an authority that was careless, or was robbed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from autonomy.errors import IdentityError
from autonomy.identity import TrustStore
from autonomy.identity.issuing import Signer
from autonomy.identity.profile import key_usage

from .conftest import SecurityLog
from .forge import (
    HOUR,
    ZONE,
    Clock,
    Extensions,
    Forger,
    common_name,
    der,
    make_ca,
    name_of,
    node_names,
    p256,
    signed_with_sha1,
    uri,
)

Make = Callable[[Forger], bytes | None]
BAD: dict[str, tuple[str, str, Make]] = {}


def bad(name: str, reason: str, text: str) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        assert name not in BAD
        BAD[name] = (reason, text, make)
        return make

    return add


def named(name: str, reason: str, text: str, *names: str | x509.GeneralName) -> None:
    san = x509.SubjectAlternativeName([uri(each) if isinstance(each, str) else each for each in names])
    bad(name, reason, text)(lambda forger: der(forger.leaf(names=san)))


def other_ca(forger: Forger) -> Forger:
    """A CA with the name of the zone's, and another key."""
    return Forger(make_ca(forger.clock, subject=name_of(forger.signer)), forger.clock)


# ---- who signed

NO_ISSUER = "unable to get local issuer certificate"

bad("a CA of the same name", "untrusted", NO_ISSUER)(lambda forger: der(other_ca(forger).leaf()))
bad("a CA of another name", "untrusted", NO_ISSUER)(
    lambda forger: der(Forger(make_ca(forger.clock), forger.clock).leaf())
)


@bad("a CA of the same name that claims the CA's key id", "untrusted", "certificate signature failure")
def _(forger: Forger) -> bytes:
    claim: Extensions = {x509.AuthorityKeyIdentifier: (forger.signer.issuer_id, False)}
    return der(other_ca(forger).leaf(claim))


@bad("signed by itself", "untrusted", "self-signed certificate")
def _(forger: Forger) -> bytes:
    own = make_ca(
        forger.clock,
        subject=common_name("b"),
        extensions={
            x509.BasicConstraints: (x509.BasicConstraints(ca=False, path_length=None), True),
            x509.KeyUsage: (key_usage(signs_certificates=False), True),
            x509.SubjectAlternativeName: (node_names(f"spiffe://{ZONE}/node/b"), False),
            x509.NameConstraints: None,
        },
    )
    return der(own.certificate)


@bad("an intermediate CA signed it", "untrusted", NO_ISSUER)
def _(forger: Forger) -> bytes:
    return der(Forger(make_ca(forger.clock, signer=forger.signer), forger.clock).leaf())


@bad("another node signed it", "untrusted", NO_ISSUER)
def _(forger: Forger) -> bytes:
    return der(Forger(Signer(p256(), forger.leaf()), forger.clock).leaf())


@bad("a flipped bit in the signature", "untrusted", "certificate signature failure")
def _(forger: Forger) -> bytes:
    good = der(forger.leaf())
    return good[:-1] + bytes([good[-1] ^ 1])


bad("no authority key id", "untrusted", "Missing Authority Key Identifier")(
    lambda forger: der(forger.leaf({x509.AuthorityKeyIdentifier: None}))
)
bad("the zone's CA itself", "profile", "is a CA")(lambda forger: der(forger.signer.certificate))

# ---- when

bad("expired", "expired", "certificate has expired")(lambda forger: der(forger.leaf(begins=-24 * HOUR, ends=-HOUR)))
bad("expired a second ago", "expired", "certificate has expired")(
    lambda forger: der(forger.leaf(begins=-HOUR, ends=timedelta(seconds=-1)))
)
bad("not yet valid", "not_yet_valid", "certificate is not yet valid")(lambda forger: der(forger.leaf(begins=HOUR)))
bad("valid for two years", "profile", "730 days")(
    lambda forger: der(forger.leaf(begins=timedelta(0), ends=timedelta(days=730)))
)
bad("valid for a second more than a day", "profile", "1 day, 0:05:01")(
    lambda forger: der(forger.leaf(ends=24 * HOUR + timedelta(seconds=1)))
)

# ---- which identity

Z = f"spiffe://{ZONE}"
ONE = "URIs among its SubjectAlternativeNames, expected exactly one"
SUBTREE = "permitted subtree violation"

named("two URIs", "identity", f"2 {ONE}", f"{Z}/node/b", f"{Z}/node/root")
named("the same URI twice", "identity", f"2 {ONE}", f"{Z}/node/b", f"{Z}/node/b")
named("DNS name only", "identity", f"0 {ONE}", x509.DNSName(f"b.{ZONE}"))
named("wildcard DNS name only", "identity", f"0 {ONE}", x509.DNSName(f"*.{ZONE}"))
named("address only", "identity", f"0 {ONE}", x509.IPAddress(ipaddress.ip_address("10.0.0.1")))
named("e-mail only", "identity", f"0 {ONE}", x509.RFC822Name(f"b@{ZONE}"))
named("directory name only", "identity", f"0 {ONE}", x509.DirectoryName(x509.Name([])))
named("other zone", "zone", SUBTREE, "spiffe://other.test/node/b")
named("zone below this one", "zone", SUBTREE, f"spiffe://sub.{ZONE}/node/b")
named("zone that begins with this one", "zone", SUBTREE, f"spiffe://{ZONE}.evil/node/b")
named("zone in capitals", "zone", "belongs to zone 'Z.TEST'", f"spiffe://{ZONE.upper()}/node/b")
named("zone with a trailing dot", "zone", SUBTREE, f"spiffe://{ZONE}./node/b")
named("scheme https", "identity", "no SPIFFE id", f"https://{ZONE}/node/b")
named("scheme in capitals", "identity", "no SPIFFE id", f"SPIFFE://{ZONE}/node/b")
named("port", "identity", "user, port", f"spiffe://{ZONE}:443/node/b")
named("empty port", "untrusted", "invalid name syntax", f"spiffe://{ZONE}:/node/b")
named("user", "identity", "user, port", f"spiffe://admin@{ZONE}/node/b")
named("query", "identity", "'b?admin=1' cannot", f"{Z}/node/b?admin=1")
named("fragment", "identity", "'b#c' cannot", f"{Z}/node/b#c")
named("no path", "identity", "not that of a node", Z)
named("the path of something else", "identity", "not that of a node", f"{Z}/zone/b")
named("path in capitals", "identity", "not that of a node", f"{Z}/NODE/b")
named("empty name", "identity", "'' cannot", f"{Z}/node/")
named("two slashes", "identity", "'/b' cannot", f"{Z}/node//b")
named("a segment more", "identity", "'b/c' cannot", f"{Z}/node/b/c")
named("trailing slash", "identity", "'b/' cannot", f"{Z}/node/b/")
named("traversal", "identity", "'../b' cannot", f"{Z}/node/../b")
named("traversal to another kind", "identity", "not that of a node", f"{Z}/x/../node/b")
named("two dots", "identity", "'b..c' cannot", f"{Z}/node/b..c")
named("trailing dot", "identity", "'b.' cannot", f"{Z}/node/b.")
named("leading dot", "identity", "'.b' cannot", f"{Z}/node/.b")
named("name in capitals", "identity", "'B' cannot", f"{Z}/node/B")
named("percent escape", "identity", "'%62' cannot", f"{Z}/node/%62")
named("wildcard", "identity", "'*' cannot", f"{Z}/node/*")
named("space", "identity", "'b ' cannot", f"{Z}/node/b ")
named("new line", "identity", r"'b\\n' cannot", f"{Z}/node/b\n")
named("NUL", "identity", r"'b\\x00root' cannot", f"{Z}/node/b\0root")
named("terminal codes", "identity", r"'b\\x1b[2J' cannot", f"{Z}/node/b\x1b[2J")
named("129 characters", "identity", "1 to 128", f"{Z}/node/{'b' * 129}")
named("not that of the node that was dialled", "name", "is that of 'c', expected 'b'", f"{Z}/node/c")

bad("no names at all", "untrusted", "Subject name empty")(
    lambda forger: der(forger.leaf({x509.SubjectAlternativeName: None}))
)
bad("a common name only", "profile", "has no SubjectAlternativeName")(
    lambda forger: der(forger.leaf({x509.SubjectAlternativeName: None}, subject="b"))
)

# ---- which powers


def with_extension(value: x509.ExtensionType, *, critical: bool) -> Make:
    return lambda forger: der(forger.leaf({type(value): (value, critical)}))


def without(kind: type[x509.ExtensionType]) -> Make:
    return lambda forger: der(forger.leaf({kind: None}))


def usage(**changed: bool) -> x509.KeyUsage:
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
    none = dict.fromkeys([*names.split(), "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"], False)
    return x509.KeyUsage(**(none | changed))


SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
OTHER_PURPOSE = "another ExtendedKeyUsage"
OTHER_USAGE = "another KeyUsage"

bad("no BasicConstraints", "profile", "no BasicConstraints")(without(x509.BasicConstraints))
bad("BasicConstraints that is not critical", "profile", "BasicConstraints that is not critical")(
    with_extension(x509.BasicConstraints(ca=False, path_length=None), critical=False)
)


@bad("a CA below the zone's", "profile", "is a CA")
def _(forger: Forger) -> bytes:
    return der(make_ca(forger.clock, signer=forger.signer).certificate)


@bad("a node that is a CA", "profile", "is a CA")
def _(forger: Forger) -> bytes:
    powers: Extensions = {
        x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=0), True),
        x509.KeyUsage: (usage(digital_signature=True, key_cert_sign=True), True),
        x509.SubjectAlternativeName: (node_names(f"{Z}/node/b"), False),
        x509.NameConstraints: None,
    }
    return der(make_ca(forger.clock, signer=forger.signer, extensions=powers).certificate)


bad("no KeyUsage", "profile", "no KeyUsage")(without(x509.KeyUsage))
bad("KeyUsage that is not critical", "profile", "KeyUsage that is not critical")(
    with_extension(usage(digital_signature=True), critical=False)
)
bad("KeyUsage without signing", "profile", OTHER_USAGE)(with_extension(usage(key_agreement=True), critical=True))
bad("KeyUsage for signing certificates", "untrusted", "keyCertSign invalid for non-CA")(
    with_extension(usage(digital_signature=True, key_cert_sign=True), critical=True)
)
bad("KeyUsage for signing CRLs", "profile", OTHER_USAGE)(
    lambda forger: der(forger.leaf({x509.KeyUsage: (usage(digital_signature=True, crl_sign=True), True)}, subject="b"))
)
bad("KeyUsage for more than signing", "profile", OTHER_USAGE)(
    with_extension(usage(digital_signature=True, key_encipherment=True), critical=True)
)
bad("no ExtendedKeyUsage", "profile", "no ExtendedKeyUsage")(without(x509.ExtendedKeyUsage))
bad("server only", "profile", OTHER_PURPOSE)(with_extension(x509.ExtendedKeyUsage([SERVER]), critical=False))
bad("client only", "profile", OTHER_PURPOSE)(with_extension(x509.ExtendedKeyUsage([CLIENT]), critical=False))
bad("any purpose", "profile", OTHER_PURPOSE)(
    with_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), critical=False)
)
bad("signing code too", "profile", OTHER_PURPOSE)(
    with_extension(x509.ExtendedKeyUsage([SERVER, CLIENT, ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
)
bad("an unknown critical extension", "untrusted", "unhandled critical extension")(
    with_extension(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\0"), critical=True)
)

# ---- which keys and signatures

WEAK = "neither P-256 nor Ed25519"

bad("RSA with 2048 bits", "profile", WEAK)(lambda forger: der(forger.leaf(key=rsa.generate_private_key(65537, 2048))))
bad("RSA with 1024 bits", "profile", WEAK)(lambda forger: der(forger.leaf(key=rsa.generate_private_key(65537, 1024))))
bad("P-384", "profile", WEAK)(lambda forger: der(forger.leaf(key=ec.generate_private_key(ec.SECP384R1()))))
bad("secp256k1", "profile", WEAK)(lambda forger: der(forger.leaf(key=ec.generate_private_key(ec.SECP256K1()))))
bad("SHA-384", "profile", "signed with sha384")(lambda forger: der(forger.leaf(algorithm=hashes.SHA384())))
bad("SHA-1", "profile", "signed with sha1")(lambda forger: signed_with_sha1(forger.leaf(), forger.signer))

# ---- which bytes

NO_X509 = "no X.509 certificate"

bad("nothing", "missing", "no certificate was shown")(lambda forger: None)
bad("no bytes", "malformed", NO_X509)(lambda forger: b"")
bad("garbage", "malformed", NO_X509)(lambda forger: b"\x30\x82\x01\x00" + b"\xff" * 300)
bad("cut short", "malformed", NO_X509)(lambda forger: der(forger.leaf())[:-10])
bad("trailing bytes", "malformed", NO_X509)(lambda forger: der(forger.leaf()) + b"\0")
bad("two certificates", "malformed", NO_X509)(lambda forger: der(forger.leaf()) * 2)
bad("PEM", "malformed", NO_X509)(lambda forger: b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
bad("a hundred kilobytes", "malformed", "at most 16384")(lambda forger: bytes(100_000))
bad("a CRL", "malformed", NO_X509)(lambda forger: forger.crl(2).public_bytes(Encoding.DER))


def test_the_table_has_at_least_forty_lines() -> None:
    assert len(BAD) >= 40


@pytest.mark.parametrize("name", BAD)
def test_a_bad_certificate_is_refused_with_its_reason_in_error_and_log(
    name: str, trust: TrustStore, forger: Forger, security_log: SecurityLog
) -> None:
    reason, text, make = BAD[name]
    shown = make(forger)

    with pytest.raises(IdentityError) as caught:
        trust.verify(shown, expected="b")

    assert (caught.value.reason, text in str(caught.value).replace("\\", "\\\\")) == (reason, True), caught.value
    (line,) = security_log.about("identity refused")
    assert f"reason={reason} " in line
    assert line.startswith("WARNING ")


def test_what_the_forger_changes_nothing_about_is_accepted(trust: TrustStore, forger: Forger, clock: Clock) -> None:
    """Else the table above would prove nothing."""
    for key in (p256(), ed25519.Ed25519PrivateKey.generate()):
        leaf = forger.leaf(key=key)

        peer = trust.verify(der(leaf), expected="b")

        assert (peer.name, peer.zone, peer.uri) == ("b", ZONE, f"{Z}/node/b")
        assert (peer.serial, peer.not_after) == (leaf.serial_number, clock.now + 24 * HOUR)


def test_other_kinds_of_names_beside_the_one_uri_prove_nothing_and_are_ignored(
    trust: TrustStore, forger: Forger
) -> None:
    names = x509.SubjectAlternativeName([uri(f"{Z}/node/b"), x509.DNSName("c"), x509.DNSName("*")])

    assert trust.verify(der(forger.leaf(names=names))).name == "b"
    with pytest.raises(IdentityError, match="expected 'c'"):
        trust.verify(der(forger.leaf(names=names)), expected="c")
