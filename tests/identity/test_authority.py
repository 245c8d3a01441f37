"""What a zone's authority issues, revokes and remembers."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autonomy.errors import IdentityError
from autonomy.identity import TrustStore, ZoneAuthority
from autonomy.identity.profile import PublicKey

from .conftest import SecurityLog
from .forge import HOUR, ZONE, Clock, common_name, der, node_names, p256


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def revoked_in(crls: tuple[x509.CertificateRevocationList, ...]) -> list[set[int]]:
    return [{entry.serial_number for entry in crl} for crl in crls]


def numbers(crls: tuple[x509.CertificateRevocationList, ...]) -> list[int]:
    return [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in crls]


# ---- a zone


def test_a_new_zone_has_a_ca_that_can_sign_for_its_own_nodes_alone(authority: ZoneAuthority, clock: Clock) -> None:
    (ca,) = authority.ca
    extensions = {each.oid._name: (each.value, each.critical) for each in ca.extensions}

    assert extensions["basicConstraints"] == (x509.BasicConstraints(ca=True, path_length=0), True)
    assert extensions["nameConstraints"] == (
        x509.NameConstraints([x509.UniformResourceIdentifier(ZONE)], None),
        True,
    )
    assert extensions["subjectAltName"] == (node_names(f"spiffe://{ZONE}"), False)
    usage, critical = extensions["keyUsage"]
    assert isinstance(usage, x509.KeyUsage)
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature, critical) == (True, True, False, True)
    assert ca.not_valid_before_utc == clock.now - timedelta(minutes=5)


def test_a_new_zone_has_an_empty_crl_number_1_for_a_day(authority: ZoneAuthority, clock: Clock) -> None:
    (crl,) = authority.crl

    assert numbers((crl,)) == [1]
    assert len(crl) == 0
    assert (crl.last_update_utc, crl.next_update_utc) == (clock.now - timedelta(minutes=5), clock.now + 24 * HOUR)


def test_nobody_else_can_read_what_is_in_a_zones_folder(authority: ZoneAuthority, tmp_path: Path) -> None:
    folder = tmp_path / "zone"
    authority.issue("a", p256().public_key())

    assert mode(folder) == 0o700
    assert {path.name: mode(path) for path in folder.iterdir()} == dict.fromkeys(
        ["ca.key", "ca.crt", "ca.crl", "serials.log", "lock"], 0o600
    )


def test_a_second_zone_in_the_same_folder_is_refused(authority: ZoneAuthority, tmp_path: Path) -> None:
    before = authority.ca

    with pytest.raises(IdentityError, match="holds a zone already"):
        ZoneAuthority.create(tmp_path / "zone", "other.test")

    assert authority.ca == before


@pytest.mark.parametrize("zone", ["", "Z", "z..test", "z/test", "z" * 254])
def test_a_zone_needs_a_name_that_can_be_certified(zone: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 to 253 of the characters"):
        ZoneAuthority.create(tmp_path / "zone", zone)

    assert not (tmp_path / "zone").exists()


def test_an_authority_is_the_same_when_it_is_opened_again(
    authority: ZoneAuthority, tmp_path: Path, clock: Clock
) -> None:
    leaf = authority.issue("a", p256().public_key())

    again = ZoneAuthority(tmp_path / "zone", clock=clock)

    assert (again.zone, again.ca, again.crl) == (authority.zone, authority.ca, authority.crl)
    assert again.revoke("a") == 1
    assert revoked_in(authority.crl) == [{leaf.serial_number}]


def test_the_key_can_be_encrypted(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "zone"
    authority = ZoneAuthority.create(folder, ZONE, passphrase=b"correct horse", clock=clock)
    authority.roll_over()

    assert b"ENCRYPTED PRIVATE KEY" in (folder / "ca.key").read_bytes()
    assert len(ZoneAuthority(folder, passphrase=b"correct horse", clock=clock).ca) == 2
    for wrong in (None, b"battery staple"):
        with pytest.raises(IdentityError, match=r"ca\.key' holds no private key") as caught:
            ZoneAuthority(folder, passphrase=wrong)
        assert "battery" not in str(caught.value)


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "serials.log"])
def test_a_zone_that_others_can_read_or_that_is_incomplete_is_refused(
    name: str, authority: ZoneAuthority, tmp_path: Path
) -> None:
    path = tmp_path / "zone" / name
    path.chmod(0o640)
    with pytest.raises(IdentityError, match=rf"{name}' has mode 0640.*'chmod 600 ") as caught:
        ZoneAuthority(tmp_path / "zone")
    assert caught.value.reason == "files"

    path.unlink()
    with pytest.raises(IdentityError, match=rf"{name}' cannot be read: No such file"):
        ZoneAuthority(tmp_path / "zone")


def test_keys_and_certificates_that_do_not_go_together_are_refused(
    authority: ZoneAuthority, tmp_path: Path, clock: Clock
) -> None:
    ZoneAuthority.create(tmp_path / "other", ZONE, clock=clock)
    (tmp_path / "zone" / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())

    with pytest.raises(IdentityError, match="has no key for a certificate"):
        authority.issue("a", p256().public_key())


# ---- certificates


@pytest.mark.parametrize("key", [p256(), ed25519.Ed25519PrivateKey.generate()], ids=["p256", "ed25519"])
def test_a_certificate_has_one_name_one_key_and_nothing_else(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, authority: ZoneAuthority, clock: Clock
) -> None:
    leaf = authority.issue("runner-1", key.public_key())
    extensions = {each.oid._name: (each.value, each.critical) for each in leaf.extensions}

    assert leaf.public_key() == key.public_key()
    assert len(leaf.subject.rdns) == 0
    assert extensions["subjectAltName"] == (node_names(f"spiffe://{ZONE}/node/runner-1"), True)
    assert extensions["basicConstraints"] == (x509.BasicConstraints(ca=False, path_length=None), True)
    assert extensions["extendedKeyUsage"] == (
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        False,
    )
    usage, critical = extensions["keyUsage"]
    assert isinstance(usage, x509.KeyUsage)
    assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign, critical) == (True, False, False, True)
    assert leaf.not_valid_before_utc == clock.now - timedelta(minutes=5)
    assert leaf.not_valid_after_utc == clock.now + 24 * HOUR


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,126}[a-z0-9])?", fullmatch=True).filter(lambda name: ".." not in name))
def test_for_all_names_what_is_issued_is_believed(authority: ZoneAuthority, trust: TrustStore, name: str) -> None:
    assert trust.verify(der(authority.issue(name, KEY.public_key())), expected=name).name == name


KEY = p256()


@pytest.mark.parametrize("zone", ["z", "shop-1", "a_b.c", "10.0.0.1", "1", "xn--bcher-kva.example", "z." * 126 + "z"])
def test_zones_of_every_shape_work(zone: str, tmp_path: Path, clock: Clock) -> None:
    credentials = ZoneAuthority.create(tmp_path / "odd", zone, clock=clock).credentials("n" * 128)

    assert credentials.trust.verify(der(credentials.certificate)).zone == zone


@pytest.mark.parametrize("name", ["", "A", "../a", "a.", "a b", "a" * 129])
def test_a_name_that_no_node_can_have_is_not_certified(name: str, authority: ZoneAuthority) -> None:
    with pytest.raises(ValueError, match="1 to 128 of the characters"):
        authority.issue(name, KEY.public_key())


@pytest.mark.parametrize("hours", [-1, 0, 24.01])
def test_a_certificate_for_more_than_a_day_is_not_issued(hours: float, authority: ZoneAuthority) -> None:
    with pytest.raises(ValueError, match="at most 1 day"):
        authority.issue("a", KEY.public_key(), lifetime=timedelta(hours=hours))


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())], ids=["rsa", "p384"]
)
def test_a_key_of_another_kind_is_not_certified(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, authority: ZoneAuthority
) -> None:
    public: PublicKey = key.public_key()  # type: ignore[assignment]  # that is the point
    with pytest.raises(IdentityError, match="P-256 or Ed25519") as caught:
        authority.issue("a", public)

    assert caught.value.reason == "profile"


def test_of_a_request_the_key_is_taken_and_all_else_ignored(authority: ZoneAuthority) -> None:
    key = p256()
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(common_name("root"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(node_names(f"spiffe://{ZONE}/node/root"), critical=True)
        .sign(key, hashes.SHA256())
    )

    leaf = authority.issue("a", request)

    plain = authority.issue("a", key.public_key())
    assert leaf.public_key() == key.public_key()
    assert len(leaf.subject.rdns) == 0
    assert list(leaf.extensions) == list(plain.extensions)


def test_a_request_that_its_key_has_not_signed_is_refused(authority: ZoneAuthority) -> None:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(p256(), hashes.SHA256())
    forged = request.public_bytes(Encoding.DER)
    forged = forged[:-1] + bytes([forged[-1] ^ 1])

    with pytest.raises(IdentityError, match="not signed by the key in it"):
        authority.issue("a", x509.load_der_x509_csr(forged))


def test_no_certificate_outlives_its_ca(authority: ZoneAuthority, clock: Clock) -> None:
    end = authority.ca[0].not_valid_after_utc
    clock.now = end - HOUR

    assert authority.issue("a", KEY.public_key()).not_valid_after_utc == end


def test_what_was_issued_and_revoked_is_in_the_log(authority: ZoneAuthority, security_log: SecurityLog) -> None:
    leaf = authority.issue("a", KEY.public_key())
    authority.revoke("a")

    serial = f"serial={leaf.serial_number:x}"
    assert [serial in line for line in security_log.about("certificate issued")] == [True]
    assert [serial in line for line in security_log.about("certificate revoked")] == [True]


# ---- revocation


def test_revoking_a_node_lists_all_its_valid_certificates_in_a_crl_with_the_next_number(
    authority: ZoneAuthority, trust: TrustStore, clock: Clock
) -> None:
    old = authority.issue("a", KEY.public_key(), lifetime=HOUR)
    clock.advance(hours=2)
    first, second = (authority.issue("a", KEY.public_key()) for _ in range(2))
    other = authority.issue("b", KEY.public_key())

    assert authority.revoke("a") == 2

    assert revoked_in(authority.crl) == [{first.serial_number, second.serial_number}]
    assert numbers(authority.crl) == [2]
    trust.replace(crl=authority.crl)
    assert trust.verify(der(other)).name == "b"
    for leaf in (first, second):
        with pytest.raises(IdentityError, match="certificate revoked"):
            trust.verify(der(leaf))
    assert old.serial_number not in revoked_in(authority.crl)[0]


def test_revoking_again_mends_what_a_crash_cut_short(authority: ZoneAuthority, tmp_path: Path) -> None:
    """The log had the revocation, the CRL did not."""
    leaf = authority.issue("a", KEY.public_key())
    before = (tmp_path / "zone" / "ca.crl").read_bytes()
    assert authority.revoke("a") == 1
    (tmp_path / "zone" / "ca.crl").write_bytes(before)

    assert authority.revoke("a") == 0

    assert numbers(authority.crl) == [3]
    assert revoked_in(authority.crl) == [{leaf.serial_number}]


def test_one_certificate_can_be_revoked_by_its_serial_number(authority: ZoneAuthority) -> None:
    first, second = (authority.issue("a", KEY.public_key()) for _ in range(2))

    assert (authority.revoke_serial(first.serial_number), authority.revoke_serial(first.serial_number)) == (1, 0)

    assert revoked_in(authority.crl) == [{first.serial_number}]
    assert authority.revoke("a") == 1
    assert revoked_in(authority.crl) == [{first.serial_number, second.serial_number}]


def test_who_was_never_certified_cannot_be_revoked(authority: ZoneAuthority) -> None:
    with pytest.raises(IdentityError, match="has issued no certificate for 'nobody'"):
        authority.revoke("nobody")
    with pytest.raises(IdentityError, match="no certificate with serial number ff"):
        authority.revoke_serial(255)


def test_a_revoked_certificate_leaves_the_crl_a_day_after_its_end(authority: ZoneAuthority, clock: Clock) -> None:
    authority.issue("a", KEY.public_key())
    authority.revoke("a")

    clock.advance(hours=47)
    assert len(authority.sign_crl()[0]) == 1
    clock.advance(hours=2)
    assert len(authority.sign_crl()[0]) == 0


def test_crl_numbers_grow_even_if_the_last_crl_was_lost(authority: ZoneAuthority, tmp_path: Path) -> None:
    authority.issue("a", KEY.public_key())
    authority.revoke("a")
    (tmp_path / "zone" / "ca.crl").unlink()

    crls = authority.sign_crl()

    assert numbers(crls) == [3]
    assert len(crls[0]) == 1


def test_a_line_cut_short_by_a_crash_is_skipped_and_the_next_one_is_whole(
    authority: ZoneAuthority, tmp_path: Path
) -> None:
    authority.issue("a", KEY.public_key())
    log = tmp_path / "zone" / "serials.log"
    log.write_bytes(log.read_bytes() + b'{"event":"revoked","at":"2031')

    authority.issue("b", KEY.public_key())

    assert (authority.revoke("a"), authority.revoke("b")) == (1, 1)


def test_a_line_that_means_nothing_is_refused_with_its_number(authority: ZoneAuthority, tmp_path: Path) -> None:
    log = tmp_path / "zone" / "serials.log"
    log.write_bytes(log.read_bytes() + b'{"event":"pardoned","serial":"1"}\n')

    with pytest.raises(IdentityError, match=r"serials\.log' line 2: Invalid value 'pardoned'"):
        authority.sign_crl()


def test_what_has_ended_long_ago_is_archived_and_all_else_stays(
    authority: ZoneAuthority, tmp_path: Path, clock: Clock
) -> None:
    folder, log = tmp_path / "zone", tmp_path / "zone" / "serials.log"
    authority.issue("revoked", KEY.public_key())
    authority.revoke("revoked")
    line = log.read_bytes().splitlines()[1]
    serials = [f"{serial:x}".encode() for serial in range(2000)]
    copies = b"".join(line.replace(json.loads(line)["serial"].encode(), serial) + b"\n" for serial in serials)
    log.write_bytes(log.read_bytes() + copies)
    clock.advance(hours=73)
    authority.issue("live", KEY.public_key())

    crls = authority.sign_crl()

    assert len(log.read_bytes().splitlines()) == 4
    archive = folder / "serials.old.log"
    assert (len(archive.read_bytes().splitlines()), mode(archive)) == (2002, 0o600)
    assert numbers(crls) == [3]
    assert authority.revoke("live") == 1
    with pytest.raises(IdentityError, match="has issued no certificate for 'revoked'"):
        authority.revoke("revoked")


@pytest.mark.slow
def test_two_processes_may_work_on_one_zone(authority: ZoneAuthority, tmp_path: Path) -> None:
    """Would catch: two CRLs of one number, or a log in which lines of both are mixed."""
    program = (
        "import sys; from autonomy.identity import ZoneAuthority, new_key\n"
        "zone = ZoneAuthority(sys.argv[1]); print('ready', flush=True); input()\n"
        "for i in range(60): zone.issue(sys.argv[2], new_key().public_key()); zone.revoke(sys.argv[2])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "zone")]
    processes = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]

    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # both go at once, or there would be nothing to keep apart
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0, 0]

    assert numbers(authority.crl) == [121]
    lines = (tmp_path / "zone" / "serials.log").read_bytes().splitlines()
    assert len(lines) == 1 + 2 * 60 * 3


def test_what_is_shown_of_an_authority_is_no_secret(authority: ZoneAuthority) -> None:
    assert repr(authority).startswith("<ZoneAuthority of z.test in ")
