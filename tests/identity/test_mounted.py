"""Credentials that somebody else lays out: a Secret of cert-manager, mounted by kubelet, exchanged while it is used."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from autonomy.errors import IdentityError
from autonomy.identity import Credentials, TrustStore, ZoneAuthority
from autonomy.identity.mounted import read_mounted

from .conftest import SecurityLog
from .forge import HOUR, ZONE, Clock, Forger, der, node_names, p256, signers_in
from .meeting import dials, listens, meet


class CertManager:
    """Issues as cert-manager's CA issuer does (pkg/util/pki): from now on, no subject, no id of the leaf's key."""

    def __init__(self, forger: Forger, ca: x509.Certificate) -> None:
        self._forger, self._ca = forger, ca

    def leaf(self, *, ends: timedelta = HOUR, begins: timedelta = timedelta(0), name: str = "b") -> x509.Certificate:
        return self._forger.leaf(
            {x509.SubjectKeyIdentifier: None},
            names=node_names(f"spiffe://{ZONE}/node/{name}"),
            begins=begins,
            ends=ends,
        )

    def secret(self, *, name: str = "b", form: PrivateFormat = PrivateFormat.PKCS8) -> dict[str, bytes]:
        """Return what the Secret of a new certificate holds. The key is a new one each time."""
        self._forger.key = p256()
        return {
            "tls.crt": self.leaf(name=name).public_bytes(Encoding.PEM),
            "tls.key": self._forger.key.private_bytes(Encoding.PEM, form, NoEncryption()),
            "ca.crt": self._ca.public_bytes(Encoding.PEM),
        }


@pytest.fixture
def issuer(forger: Forger, authority: ZoneAuthority) -> CertManager:
    return CertManager(forger, authority.ca[0])


@pytest.fixture
def lifetime(authority: ZoneAuthority, clock: Clock) -> TrustStore:
    return TrustStore(ZONE, ca=authority.ca, crl=(), clock=clock, revocation="lifetime")


def mount(folder: Path, files: dict[str, bytes], mode: int = 0o440) -> None:
    """Write a volume as kubelet does: a new folder, and one rename that lets ``..data`` lead to it."""
    folder.mkdir(mode=0o755, exist_ok=True)
    number = len(list(folder.glob("..2*")))
    moment = folder / f"..2026_11_30_{number}"
    for name, content in files.items():
        path = moment / name
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
        visible = folder / Path(name).parts[0]
        if not visible.is_symlink():
            visible.symlink_to(Path("..data") / visible.name)
    (folder / "..data_tmp").symlink_to(moment.name)
    (folder / "..data_tmp").rename(folder / "..data")


def load(folder: Path, clock: Clock) -> Credentials:
    return Credentials.load(folder, clock=clock, revocation="lifetime")


# ---- revocation by lifetime


def test_a_certificate_of_cert_manager_is_that_of_a_node(issuer: CertManager, lifetime: TrustStore) -> None:
    assert lifetime.verify(der(issuer.leaf())).name == "b"


def test_without_being_told_otherwise_a_ca_without_a_list_is_trusted_by_nobody(
    issuer: CertManager, authority: ZoneAuthority, clock: Clock
) -> None:
    trust = TrustStore(ZONE, ca=authority.ca, crl=(), clock=clock)

    with pytest.raises(IdentityError, match="has no CRL here") as caught:
        trust.verify(der(issuer.leaf()))

    assert (trust.revocation, caught.value.reason) == ("crl", "revocation_unknown")


def test_a_certificate_for_longer_than_an_hour_is_refused_where_nothing_can_revoke_it(
    issuer: CertManager, lifetime: TrustStore
) -> None:
    with pytest.raises(IdentityError, match="is valid for 1:05:01, at most 1:05:00 are allowed") as caught:
        lifetime.verify(der(issuer.leaf(ends=timedelta(seconds=3901))))

    assert caught.value.reason == "profile"


def test_it_ends_with_its_time(issuer: CertManager, lifetime: TrustStore, clock: Clock) -> None:
    leaf = der(issuer.leaf())

    clock.advance(minutes=59)
    assert lifetime.verify(leaf).name == "b"
    clock.advance(minutes=2)

    with pytest.raises(IdentityError) as caught:
        lifetime.verify(leaf)
    assert caught.value.reason == "expired"


@pytest.mark.parametrize(("ahead", "reason"), [(0, ""), (299, ""), (301, "not_yet_valid")])
def test_an_issuer_whose_clock_is_a_little_ahead_is_believed(
    ahead: int, reason: str, issuer: CertManager, lifetime: TrustStore
) -> None:
    leaf = der(issuer.leaf(begins=timedelta(seconds=ahead), ends=timedelta(seconds=ahead) + HOUR))
    found = ""

    try:
        lifetime.verify(leaf)
    except IdentityError as error:
        found = error.reason

    assert found == reason


def test_a_list_that_is_there_is_heeded_however_old(
    issuer: CertManager, forger: Forger, lifetime: TrustStore, clock: Clock
) -> None:
    bad, good = issuer.leaf(), issuer.leaf(name="c")
    lifetime.replace(crl=[forger.crl(5, [bad.serial_number], age=timedelta(days=9))])

    with pytest.raises(IdentityError) as caught:
        lifetime.verify(der(bad))

    assert caught.value.reason == "revoked"
    assert lifetime.verify(der(good)).name == "c"


def test_the_log_does_not_warn_of_a_list_that_is_not_wanted(
    lifetime: TrustStore, authority: ZoneAuthority, security_log: SecurityLog
) -> None:
    authority.roll_over()

    lifetime.replace(ca=authority.ca)

    assert security_log.about("trust changed")
    assert not security_log.about("CA has no CRL,")


def test_another_word_is_refused(authority: ZoneAuthority) -> None:
    with pytest.raises(ValueError, match="revocation must be 'crl' or 'lifetime', got 'never'"):
        TrustStore(ZONE, ca=authority.ca, crl=(), revocation="never")  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("ahead", [0, 200])
async def test_two_nodes_with_such_certificates_meet(
    ahead: int, issuer: CertManager, forger: Forger, clock: Clock, authority: ZoneAuthority
) -> None:
    sides = []
    for name in ("a", "b"):
        trust = TrustStore(ZONE, ca=authority.ca, crl=(), clock=clock, revocation="lifetime")
        forger.key = key = p256()
        leaf = issuer.leaf(name=name, begins=timedelta(seconds=ahead), ends=timedelta(seconds=ahead) + HOUR)
        sides.append(Credentials(key, leaf, trust))

    outcome = await meet(dials(sides[0], "b"), listens(sides[1]))

    assert outcome.connected


async def test_two_nodes_meet_by_the_systems_time_too(tmp_path: Path) -> None:
    """TLS judges by that itself, unless it is told not to."""
    authority, now = ZoneAuthority.create(tmp_path / "real", ZONE), Clock()
    now.now = datetime.now(UTC).replace(microsecond=0)
    forger = Forger(signers_in(tmp_path / "real")[0], now)
    issuer, sides = CertManager(forger, authority.ca[0]), []
    for name in ("a", "b"):
        trust = TrustStore(ZONE, ca=authority.ca, crl=(), revocation="lifetime")
        forger.key = key = p256()
        leaf = issuer.leaf(name=name, begins=timedelta(seconds=200), ends=timedelta(seconds=3800))
        sides.append(Credentials(key, leaf, trust))

    outcome = await meet(dials(sides[0], "b"), listens(sides[1]))

    assert outcome.connected


# ---- the files


@pytest.mark.parametrize("nested", [False, True], ids=["a Secret", "one Secret of several"])
def test_what_kubelet_has_mounted_is_loaded(nested: bool, issuer: CertManager, tmp_path: Path, clock: Clock) -> None:  # noqa: FBT001
    files = issuer.secret()
    volume = tmp_path / "identity"
    mount(volume, {f"b/{name}": content for name, content in files.items()} if nested else files)

    credentials = load(volume / "b" if nested else volume, clock)

    assert credentials.name == "b"
    assert credentials.trust.revocation == "lifetime"


def test_what_kubelet_exchanges_is_used_from_then_on(issuer: CertManager, tmp_path: Path, clock: Clock) -> None:
    mount(tmp_path / "v", {f"b/{name}": content for name, content in issuer.secret().items()})
    credentials = load(tmp_path / "v" / "b", clock)
    first = credentials.certificate
    clock.advance(minutes=40)

    mount(tmp_path / "v", {f"b/{name}": content for name, content in issuer.secret().items()})
    credentials.reload(tmp_path / "v" / "b")

    assert credentials.certificate != first
    assert credentials.not_after - first.not_valid_after_utc == timedelta(minutes=40)


def test_another_nodes_secret_in_its_place_changes_nothing(issuer: CertManager, tmp_path: Path, clock: Clock) -> None:
    mount(tmp_path / "v", issuer.secret())
    credentials = load(tmp_path / "v", clock)
    first = credentials.certificate

    mount(tmp_path / "v", issuer.secret(name="c"))
    with pytest.raises(IdentityError, match="is that of 'c', expected 'b'"):
        credentials.reload(tmp_path / "v")

    assert credentials.certificate == first


def test_without_a_list_the_default_refuses_and_says_what_to_do(
    issuer: CertManager, tmp_path: Path, clock: Clock
) -> None:
    mount(tmp_path / "v", issuer.secret())

    with pytest.raises(IdentityError, match=r"has no ca\.crl, .* say revocation='lifetime'") as caught:
        Credentials.load(tmp_path / "v", clock=clock)

    assert caught.value.reason == "revocation_unknown"


def test_a_list_beside_the_rest_is_believed_as_anywhere(
    issuer: CertManager, authority: ZoneAuthority, tmp_path: Path, clock: Clock
) -> None:
    crl = b"".join(each.public_bytes(Encoding.PEM) for each in authority.crl)
    mount(tmp_path / "v", {**issuer.secret(), "ca.crl": crl})

    assert Credentials.load(tmp_path / "v", clock=clock).name == "b"


@pytest.mark.parametrize("missing", ["tls.crt", "ca.crt"])
def test_a_file_that_is_not_there_is_named(missing: str, issuer: CertManager, tmp_path: Path, clock: Clock) -> None:
    files = issuer.secret()
    del files[missing]
    mount(tmp_path / "v", files)

    with pytest.raises(IdentityError, match=rf"{missing}' cannot be read: No such file"):
        load(tmp_path / "v", clock)


def test_a_key_in_the_old_form_is_refused_with_what_was_expected(
    issuer: CertManager, tmp_path: Path, clock: Clock
) -> None:
    mount(tmp_path / "v", issuer.secret(form=PrivateFormat.TraditionalOpenSSL))

    with pytest.raises(IdentityError, match=r"tls\.key .* expected PEM of PRIVATE KEY, found EC PRIVATE KEY"):
        load(tmp_path / "v", clock)


# ---- who could have read or written them


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600])
def test_a_key_that_root_the_user_and_its_group_can_read_is_used(
    mode: int, issuer: CertManager, tmp_path: Path, clock: Clock
) -> None:
    mount(tmp_path / "v", issuer.secret(), mode)

    assert load(tmp_path / "v", clock).name == "b"


@pytest.mark.parametrize("mode", [0o444, 0o644, 0o460, 0o404, 0o666])
def test_a_key_that_others_could_read_or_write_is_refused(
    mode: int, issuer: CertManager, tmp_path: Path, clock: Clock
) -> None:
    mount(tmp_path / "v", issuer.secret())
    (tmp_path / "v" / "tls.key").chmod(mode)

    with pytest.raises(IdentityError, match=rf"tls\.key' has mode {mode:04o}") as caught:
        load(tmp_path / "v", clock)

    assert caught.value.reason == "files"


@pytest.mark.parametrize(("name", "mode"), [("tls.crt", 0o444), ("ca.crt", 0o644)])
def test_certificates_may_be_read_by_anybody(
    name: str, mode: int, issuer: CertManager, tmp_path: Path, clock: Clock
) -> None:
    mount(tmp_path / "v", issuer.secret())
    (tmp_path / "v" / name).chmod(mode)

    assert load(tmp_path / "v", clock).name == "b"


@pytest.mark.parametrize("name", ["tls.crt", "ca.crt", "..data"])
def test_certificates_that_others_could_write_are_refused(
    name: str, issuer: CertManager, tmp_path: Path, clock: Clock
) -> None:
    mount(tmp_path / "v", issuer.secret())
    (tmp_path / "v" / name).chmod(0o757 if name == "..data" else 0o646)

    with pytest.raises(IdentityError, match="so others may change it"):
        load(tmp_path / "v", clock)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_another_user_are_refused(issuer: CertManager, tmp_path: Path, clock: Clock) -> None:
    mount(tmp_path / "v", issuer.secret())
    os.chown(tmp_path / "v" / "tls.crt", 4321, -1)

    with pytest.raises(IdentityError, match="belongs to user 4321, who can change it"):
        load(tmp_path / "v", clock)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_for_a_group_that_this_process_is_not_in_is_refused(
    issuer: CertManager, tmp_path: Path, clock: Clock
) -> None:
    mount(tmp_path / "v", issuer.secret())
    os.chown(tmp_path / "v" / "tls.key", -1, 4321)

    with pytest.raises(IdentityError, match="has mode 0440 and group 4321"):
        load(tmp_path / "v", clock)


@pytest.mark.parametrize("what", ["link", "pipe", "folder"])
def test_a_key_that_is_no_plain_file_is_refused(what: str, issuer: CertManager, tmp_path: Path, clock: Clock) -> None:
    mount(tmp_path / "v", issuer.secret())
    key = (tmp_path / "v" / "tls.key").resolve()
    key.rename(tmp_path / "elsewhere")
    if what == "link":
        key.symlink_to(tmp_path / "elsewhere")
    elif what == "pipe":
        os.mkfifo(key)
    else:
        key.mkdir()

    with pytest.raises(IdentityError, match=r"tls\.key' (cannot be read: Too many levels|is not a plain file)"):
        load(tmp_path / "v", clock)


def test_what_the_library_has_written_itself_stays_as_strict_as_before(
    authority: ZoneAuthority, issuer: CertManager, tmp_path: Path, clock: Clock
) -> None:
    authority.credentials("a").save(tmp_path / "a")
    for name, content in issuer.secret().items():
        (tmp_path / "a" / name).write_bytes(content)
    (tmp_path / "a" / "node.pem").chmod(0o440)

    with pytest.raises(IdentityError, match=r"node\.pem' has mode 0440, so others on this machine may use it"):
        load(tmp_path / "a", clock)


def test_the_key_is_in_no_text_about_what_was_mounted(issuer: CertManager, tmp_path: Path) -> None:
    mount(tmp_path / "v", issuer.secret())

    mounted = read_mounted(tmp_path / "v")

    assert b"PRIVATE KEY" in mounted.key
    assert "PRIVATE KEY" not in repr(mounted)
