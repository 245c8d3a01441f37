"""A node's key and certificate: kept from others, and replaced while it runs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from autonomy.errors import IdentityError
from autonomy.identity import Credentials, TrustStore, ZoneAuthority, new_key
from autonomy.identity.private_files import write_private

from .conftest import SecurityLog
from .forge import ZONE, Clock, Forger, der


@pytest.fixture
def credentials(authority: ZoneAuthority) -> Credentials:
    return authority.credentials("a")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---- what they are


def test_credentials_know_whose_they_are(credentials: Credentials, clock: Clock) -> None:
    assert (credentials.name, credentials.zone, credentials.uri) == ("a", ZONE, "spiffe://z.test/node/a")
    assert credentials.not_after == credentials.certificate.not_valid_after_utc
    assert credentials.trust.clock is clock


def test_a_key_is_made_here_and_is_new_each_time() -> None:
    keys = [new_key() for _ in range(3)]

    assert all(isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1) for key in keys)
    assert len({key.public_key().public_numbers().x for key in keys}) == 3  # type: ignore[union-attr]


def test_the_key_is_in_no_text_about_credentials(credentials: Credentials, authority: ZoneAuthority) -> None:
    key = credentials._key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    secret = key.private_numbers().private_value

    with pytest.raises(IdentityError) as caught:
        Credentials(key, authority.issue("a", new_key().public_key()), credentials.trust)

    for text in (repr(credentials), str(credentials), f"{caught.value!r} {caught.value}"):
        assert str(secret) not in text
        assert f"{secret:x}" not in text
    assert repr(credentials) == "<Credentials of spiffe://z.test/node/a, until 2031-04-06 06:07:08+00:00>"


def test_a_certificate_for_another_key_is_refused(authority: ZoneAuthority, trust: TrustStore) -> None:
    with pytest.raises(IdentityError, match="is for another key"):
        Credentials(new_key(), authority.issue("a", new_key().public_key()), trust)


def test_a_certificate_that_others_would_refuse_is_refused_here_first(
    authority: ZoneAuthority, trust: TrustStore, clock: Clock
) -> None:
    key = new_key()
    certificate = authority.issue("a", key.public_key())
    trust.replace(crl=authority.sign_crl())
    clock.advance(hours=25)
    trust.replace(crl=authority.sign_crl())

    with pytest.raises(IdentityError, match=r"this node's own certificate: .* has expired") as caught:
        Credentials(key, certificate, trust)

    assert caught.value.reason == "expired"


def test_a_key_of_another_kind_is_refused(forger: Forger, trust: TrustStore) -> None:
    key = rsa.generate_private_key(65537, 2048)

    with pytest.raises(IdentityError, match="P-256 or Ed25519, got RSAPrivateKey"):
        Credentials(key, forger.leaf(key=key), trust)  # type: ignore[arg-type]  # that is the point


# ---- on the disk


@pytest.mark.parametrize("key", [new_key(), ed25519.Ed25519PrivateKey.generate()], ids=["p256", "ed25519"])
def test_what_was_saved_is_loaded(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, authority: ZoneAuthority, tmp_path: Path, clock: Clock
) -> None:
    authority.roll_over()
    authority.switch_over()
    trust = TrustStore(ZONE, ca=authority.ca, crl=authority.crl, clock=clock)
    credentials = Credentials(key, authority.issue("a", key.public_key()), trust)

    credentials.save(tmp_path / "a")
    loaded = Credentials.load(tmp_path / "a", clock=clock)

    assert loaded.certificate == credentials.certificate
    assert (loaded.trust.ca, loaded.trust.crl) == (trust.ca, trust.crl)
    assert loaded._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) == key.private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_can_read_what_was_saved_whatever_the_umask(
    umask: int, credentials: Credentials, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        credentials.save(tmp_path / "a")
        credentials.save(tmp_path / "a")
    finally:
        os.umask(before)

    assert mode(tmp_path / "a") == 0o700
    assert {path.name: mode(path) for path in (tmp_path / "a").iterdir()} == dict.fromkeys(
        ["node.pem", "ca.crt", "ca.crl"], 0o600
    )


@pytest.mark.parametrize("name", ["node.pem", "ca.crt", "ca.crl"])
@pytest.mark.parametrize("loose", [0o640, 0o604, 0o620, 0o660, 0o601])
def test_a_file_that_others_can_use_is_refused_and_the_error_says_what_to_do(
    name: str, loose: int, credentials: Credentials, tmp_path: Path, clock: Clock
) -> None:
    credentials.save(tmp_path / "a")
    path = tmp_path / "a" / name
    path.chmod(loose)

    with pytest.raises(IdentityError) as caught:
        Credentials.load(tmp_path / "a", clock=clock)

    assert f"has mode {loose:04o}" in str(caught.value)
    assert f"'chmod 600 {path}'; else make new credentials" in str(caught.value)
    assert caught.value.reason == "files"
    path.chmod(0o600)
    assert Credentials.load(tmp_path / "a", clock=clock).name == "a"


def test_a_folder_that_others_can_enter_is_refused(credentials: Credentials, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir(mode=0o755)

    with pytest.raises(IdentityError, match=r"has mode 0755.*'chmod 700 "):
        credentials.save(folder)
    assert list(folder.iterdir()) == []
    with pytest.raises(IdentityError, match="has mode 0755"):
        Credentials.load(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_refused(credentials: Credentials, tmp_path: Path, clock: Clock) -> None:
    credentials.save(tmp_path / "a")
    os.chown(tmp_path / "a" / "node.pem", 12345, -1)

    with pytest.raises(IdentityError, match="belongs to user 12345, and this process is user 0"):
        Credentials.load(tmp_path / "a", clock=clock)


def test_a_link_or_a_pipe_in_the_place_of_the_key_is_refused(
    credentials: Credentials, tmp_path: Path, clock: Clock
) -> None:
    credentials.save(tmp_path / "a")
    path = tmp_path / "a" / "node.pem"
    path.rename(tmp_path / "elsewhere.pem")

    path.symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(IdentityError, match="cannot be read: Too many levels of symbolic links"):
        Credentials.load(tmp_path / "a", clock=clock)

    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(IdentityError, match="is not a plain file"):
        Credentials.load(tmp_path / "a", clock=clock)


def test_saving_follows_no_link_that_somebody_has_put_there(credentials: Credentials, tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    folder = tmp_path / "a"
    folder.mkdir(mode=0o700)
    (folder / "node.pem").symlink_to(tmp_path / "victim")

    credentials.save(folder)

    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (folder / "node.pem").is_symlink()


def test_a_file_that_could_not_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"before")

    with pytest.raises(TypeError):
        write_private(path, "not bytes")  # type: ignore[arg-type]  # fails after the draft was opened

    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["secret"]


def test_what_is_missing_or_broken_is_named(credentials: Credentials, tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "a"
    with pytest.raises(IdentityError, match="a' cannot be used: No such file"):
        Credentials.load(folder)
    (tmp_path / "plain").touch()
    with pytest.raises(IdentityError, match="is not a folder"):
        Credentials.load(tmp_path / "plain")

    credentials.save(folder)
    for name, text in [
        ("node.pem", r"node\.pem' holds no private key .* expected PEM of PRIVATE KEY, found none"),
        ("ca.crt", r"ca\.crt' holds no certificate"),
        ("ca.crl", r"ca\.crl' holds no CRL"),
    ]:
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(b"\xffgarbage")
        with pytest.raises(IdentityError, match=text):
            Credentials.load(folder, clock=clock)
        (folder / name).write_bytes(before.replace(b"MI", b"\n!", 1))
        with pytest.raises(IdentityError, match="that can be read"):
            Credentials.load(folder, clock=clock)
        (folder / name).write_bytes(before)
    (folder / "ca.crt").write_bytes(b" " * (16 * 1024 * 1024 + 1))
    with pytest.raises(IdentityError, match="at most 16777216 are read"):
        Credentials.load(folder, clock=clock)


def test_an_error_about_a_key_holds_nothing_of_it(credentials: Credentials, tmp_path: Path, clock: Clock) -> None:
    credentials.save(tmp_path / "a")
    path = tmp_path / "a" / "node.pem"
    secret = path.read_text().splitlines()[1]
    path.write_text(path.read_text().replace(secret, secret[:-4] + "!!!!"))

    with pytest.raises(IdentityError) as caught:
        Credentials.load(tmp_path / "a", clock=clock)

    assert secret[8:16] not in f"{caught.value!r} {caught.value.__cause__!r}"


# ---- replaced while the node runs


def test_a_new_certificate_replaces_the_old_one_and_who_watches_is_told(
    credentials: Credentials, authority: ZoneAuthority, clock: Clock
) -> None:
    told: list[str] = []
    stop = credentials.on_change(lambda: told.append(f"{credentials.not_after:%d %H}"))
    clock.advance(hours=16)
    key = new_key()

    credentials.replace(key=key, certificate=authority.issue("a", key.public_key()))
    credentials.replace(certificate=authority.issue("a", key.public_key()))
    stop()
    credentials.replace(certificate=authority.issue("a", key.public_key()))

    assert told == ["06 22", "06 22"]
    assert credentials.certificate.public_key() == key.public_key()


def test_what_was_put_into_the_folder_since_is_taken_over_and_told_once(
    credentials: Credentials, authority: ZoneAuthority, tmp_path: Path
) -> None:
    told: list[str] = []
    credentials.on_change(lambda: told.append("own"))
    credentials.trust.on_change(lambda: told.append("trust"))
    authority.sign_crl()
    renewed = authority.credentials("a")
    renewed.save(tmp_path / "a")
    authority.credentials("b").save(tmp_path / "b")

    credentials.reload(tmp_path / "a")
    credentials.reload(tmp_path / "a")
    with pytest.raises(IdentityError, match="is that of 'b', expected 'a'"):
        credentials.reload(tmp_path / "b")

    assert told == ["trust", "own"]
    assert credentials.certificate == renewed.certificate
    assert credentials._key.public_key() == renewed._key.public_key()
    assert credentials.trust.crl == authority.crl


def test_a_replacement_that_will_not_do_changes_nothing(
    credentials: Credentials, authority: ZoneAuthority, forger: Forger
) -> None:
    before = (credentials.certificate, credentials._key, credentials.trust.crl)
    told: list[str] = []
    credentials.on_change(lambda: told.append("own"))
    credentials.trust.on_change(lambda: told.append("trust"))
    key = new_key()

    with pytest.raises(IdentityError, match="a new key needs its certificate"):
        credentials.replace(key=key)
    with pytest.raises(IdentityError, match="is for another key"):
        credentials.replace(certificate=authority.issue("a", key.public_key()), crl=authority.sign_crl())
    with pytest.raises(IdentityError, match="is that of 'b', expected 'a'"):
        credentials.replace(key=key, certificate=authority.issue("b", key.public_key()), crl=authority.sign_crl())
    with pytest.raises(IdentityError, match="CRL 0 came after"):
        credentials.replace(key=key, certificate=authority.issue("a", key.public_key()), crl=[forger.crl(0)])

    assert (credentials.certificate, credentials._key, credentials.trust.crl) == before
    assert told == []


def test_a_certificate_and_the_ca_it_needs_can_come_together(
    credentials: Credentials, authority: ZoneAuthority
) -> None:
    told: list[str] = []
    credentials.on_change(lambda: told.append("own"))
    credentials.trust.on_change(lambda: told.append("trust"))
    authority.roll_over()
    authority.switch_over()
    key = new_key()
    certificate = authority.issue("a", key.public_key())

    with pytest.raises(IdentityError, match="this node's own certificate"):
        credentials.replace(key=key, certificate=certificate)
    credentials.replace(key=key, certificate=certificate, ca=authority.ca, crl=authority.crl)

    assert told == ["trust", "own"]
    assert credentials.trust.verify(der(credentials.certificate)).name == "a"


def test_trust_is_withdrawn_even_if_that_disowns_this_node(
    credentials: Credentials, authority: ZoneAuthority, security_log: SecurityLog
) -> None:
    """Would catch: a node that goes on believing a stolen CA because its own certificate is from there."""
    authority.roll_over()
    authority.switch_over()
    authority.retire()

    credentials.replace(ca=authority.ca, crl=authority.crl)

    assert credentials.trust.ca == authority.ca
    (line,) = security_log.about("own certificate is no longer trusted")
    assert line.startswith("ERROR ")
