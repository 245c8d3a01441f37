"""What a `TrustStore` believes, and when it stops: CAs, CRLs, and time (K1)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autonomy.errors import IdentityError
from autonomy.identity import PeerIdentity, TrustStore, ZoneAuthority
from autonomy.identity.profile import key_usage

from .conftest import SecurityLog
from .forge import HOUR, ZONE, Clock, Extensions, Forger, common_name, der, make_ca, name_of, node_names, p256


def refused(trust: TrustStore, certificate: x509.Certificate) -> IdentityError:
    with pytest.raises(IdentityError) as caught:
        trust.verify(der(certificate))
    return caught.value


# ---- time


def test_a_certificate_is_believed_from_five_minutes_before_its_issue_until_its_end(
    authority: ZoneAuthority, trust: TrustStore, clock: Clock
) -> None:
    leaf = authority.issue("b", p256().public_key())
    issued = clock.now

    for moment, name in [(-300, "b"), (0, "b"), (24 * 3600, "b")]:
        clock.now = issued + timedelta(seconds=moment)
        assert trust.verify(der(leaf)).name == name
    clock.now = issued - timedelta(seconds=301)
    assert refused(trust, leaf).reason == "not_yet_valid"
    clock.now = issued + timedelta(hours=24, seconds=1)
    assert refused(trust, leaf).reason == "expired"


def test_an_expired_ca_vouches_for_nobody(authority: ZoneAuthority, clock: Clock) -> None:
    trust = TrustStore(ZONE, ca=authority.ca, crl=authority.crl, clock=clock, crl_grace=1e9)
    clock.now = authority.ca[0].not_valid_after_utc + timedelta(seconds=1)
    leaf = authority.issue("b", p256().public_key())

    error = refused(trust, leaf)

    assert error.reason == "expired"


# ---- CRLs


def test_without_a_crl_nobody_is_trusted(authority: ZoneAuthority, clock: Clock) -> None:
    trust = TrustStore(ZONE, ca=authority.ca, crl=[], clock=clock)

    error = refused(trust, authority.issue("b", p256().public_key()))

    assert error.reason == "revocation_unknown"
    assert "has no CRL here" in str(error)


def test_a_crl_is_believed_for_a_day_and_then_nobody_is_trusted(
    authority: ZoneAuthority, trust: TrustStore, clock: Clock
) -> None:
    clock.advance(hours=24)
    leaf = authority.issue("b", p256().public_key())
    assert trust.verify(der(leaf)).name == "b"

    clock.advance(seconds=1)

    error = refused(trust, leaf)
    assert error.reason == "revocation_unknown"
    assert "CRL 1 ended at 2031-04-06 06:07:08" in str(error)


def test_a_crl_that_says_it_lasts_a_year_is_believed_for_a_day(trust: TrustStore, forger: Forger, clock: Clock) -> None:
    trust.replace(crl=[forger.crl(2, lifetime=365 * 24 * HOUR)])

    clock.advance(hours=24, minutes=1)

    assert refused(trust, forger.leaf()).reason == "revocation_unknown"


def test_a_crl_from_the_future_is_not_believed(authority: ZoneAuthority, forger: Forger, clock: Clock) -> None:
    trust = TrustStore(ZONE, ca=authority.ca, crl=[forger.crl(2, age=-HOUR)], clock=clock)

    error = refused(trust, forger.leaf())

    assert error.reason == "revocation_unknown"
    assert "yet to come" in str(error)


def test_within_its_grace_an_old_crl_is_believed_and_each_minute_says_so_as_an_error(
    authority: ZoneAuthority, forger: Forger, clock: Clock, security_log: SecurityLog
) -> None:
    stolen = forger.leaf(begins=23 * HOUR, ends=47 * HOUR)
    crl = forger.crl(2, revoked=[stolen.serial_number])
    trust = TrustStore(ZONE, ca=authority.ca, crl=[crl], clock=clock, crl_grace=7200)
    clock.advance(hours=25)

    for _ in range(4):
        assert trust.verify(der(forger.leaf())).name == "b"
        clock.advance(seconds=30)

    assert refused(trust, stolen).reason == "revoked"
    warnings = security_log.about("CRL is too old; believed for the grace period only")
    assert len(warnings) == 2
    assert warnings[0].startswith("ERROR ")
    clock.advance(hours=1)
    assert refused(trust, forger.leaf()).reason == "revocation_unknown"


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf")])
def test_a_grace_without_end_is_refused(grace: float, authority: ZoneAuthority) -> None:
    with pytest.raises(ValueError, match="crl_grace must be a number of seconds"):
        TrustStore(ZONE, ca=authority.ca, crl=authority.crl, crl_grace=grace)


def test_a_crl_of_another_ca_of_the_same_name_is_refused_and_changes_nothing(
    trust: TrustStore, forger: Forger, clock: Clock, security_log: SecurityLog
) -> None:
    other = Forger(make_ca(clock, subject=name_of(forger.signer)), clock)
    before = trust.crl

    with pytest.raises(IdentityError, match="signed by none of the 1 CAs of zone") as caught:
        trust.replace(crl=[other.crl(9)])

    assert caught.value.reason == "untrusted"
    assert trust.crl == before
    assert security_log.about("trust not changed")


@pytest.mark.parametrize("number", [1, 4, 5])
def test_a_crl_whose_number_does_not_grow_is_refused(number: int, trust: TrustStore, forger: Forger) -> None:
    trust.replace(crl=[forger.crl(5, revoked=[1])])

    with pytest.raises(IdentityError, match=f"CRL {number} came after CRL 5"):
        trust.replace(crl=[forger.crl(number)])

    assert trust.crl == (trust.crl[0],)


def test_the_crl_in_force_may_come_again(trust: TrustStore) -> None:
    calls: list[str] = []
    trust.on_change(lambda: calls.append("changed"))

    trust.replace(crl=trust.crl)

    assert calls == []


def test_a_crl_without_a_number_is_refused(trust: TrustStore, forger: Forger) -> None:
    with pytest.raises(IdentityError, match="has no number"):
        trust.replace(crl=[forger.crl(None)])


def test_of_several_crls_of_one_ca_the_newest_counts(authority: ZoneAuthority, forger: Forger, clock: Clock) -> None:
    leaf = forger.leaf()
    crls = [forger.crl(2), forger.crl(4, revoked=[leaf.serial_number]), forger.crl(3)]

    for order in (crls, crls[::-1]):
        trust = TrustStore(ZONE, ca=authority.ca, crl=order, clock=clock)
        assert refused(trust, leaf).reason == "revoked"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 12), st.sets(st.integers(1, 4), max_size=3)), max_size=12))
def test_for_all_orders_in_which_crls_arrive_the_one_with_the_highest_number_is_in_force(
    authority: ZoneAuthority, forger: Forger, clock: Clock, arrivals: list[tuple[int, set[int]]]
) -> None:
    """Would catch: a CRL that comes late, or is replayed, and brings back who was revoked."""
    trust = TrustStore(ZONE, ca=authority.ca, crl=[forger.crl(0)], clock=clock)
    highest, revoked = 0, set[int]()

    for number, serials in arrivals:
        try:
            trust.replace(crl=[forger.crl(number, serials)])
        except IdentityError:
            assert number <= highest
        else:
            assert number > highest
            highest, revoked = number, serials

    assert {entry.serial_number for entry in trust.crl[0]} == revoked


# ---- CAs


@pytest.mark.parametrize(
    ("extensions", "text"),
    [
        ({x509.BasicConstraints: (x509.BasicConstraints(ca=False, path_length=None), True)}, "pathlen 0"),
        ({x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=None), True)}, "pathlen 0"),
        ({x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=1), True)}, "pathlen 0"),
        ({x509.BasicConstraints: (x509.BasicConstraints(ca=True, path_length=0), False)}, "not critical"),
        ({x509.KeyUsage: (key_usage(signs_certificates=False), True)}, "another KeyUsage"),
        ({x509.NameConstraints: None}, "no NameConstraints"),
        (
            {x509.NameConstraints: (x509.NameConstraints([x509.UniformResourceIdentifier("test")], None), True)},
            "may sign for others",
        ),
        (
            {x509.NameConstraints: (x509.NameConstraints([x509.UniformResourceIdentifier(ZONE)], None), False)},
            "not critical",
        ),
        ({x509.SubjectAlternativeName: None}, "no SubjectAlternativeName"),
        ({x509.SubjectAlternativeName: (node_names(f"https://{ZONE}"), False)}, "expected exactly one spiffe://ZONE"),
        ({x509.SubjectAlternativeName: (node_names(f"spiffe://{ZONE}/node/b"), False)}, "cannot be put into"),
        ({x509.SubjectAlternativeName: (node_names(f"spiffe://{ZONE}", "spiffe://b"), False)}, "exactly one"),
    ],
)
def test_a_ca_that_could_sign_for_others_is_not_trusted(extensions: Extensions, text: str, clock: Clock) -> None:
    signer = make_ca(clock, extensions=extensions)

    with pytest.raises(IdentityError, match=text):
        TrustStore(ZONE, ca=[signer.certificate], crl=[], clock=clock)


def test_a_ca_with_a_weak_key_is_not_trusted(clock: Clock) -> None:
    signer = make_ca(clock, key=rsa.generate_private_key(65537, 1024))

    with pytest.raises(IdentityError, match="neither P-256 nor Ed25519"):
        TrustStore(ZONE, ca=[signer.certificate], crl=[], clock=clock)


def test_a_ca_of_another_zone_is_not_trusted(clock: Clock) -> None:
    with pytest.raises(IdentityError, match=r"is for zone 'other\.test', expected 'z\.test'"):
        TrustStore(ZONE, ca=[make_ca(clock, "other.test").certificate], crl=[], clock=clock)


def test_a_ca_that_another_ca_signed_is_not_trusted(forger: Forger, clock: Clock) -> None:
    below = make_ca(clock, signer=forger.signer)

    with pytest.raises(IdentityError, match="not signed by itself"):
        TrustStore(ZONE, ca=[forger.signer.certificate, below.certificate], crl=[], clock=clock)


def test_a_zone_without_a_ca_is_refused(trust: TrustStore) -> None:
    with pytest.raises(IdentityError, match="has no CA certificate"):
        trust.replace(ca=[])

    assert len(trust.ca) == 1


def test_a_ca_of_the_same_name_beside_the_first_vouches_for_its_own(
    trust: TrustStore, forger: Forger, clock: Clock
) -> None:
    """RFC 5280 lets a zone keep its CA's name when the key changes, and other authorities than ours do so."""
    other = Forger(make_ca(clock, subject=name_of(forger.signer)), clock)
    first, second = forger.leaf(), other.leaf()

    trust.replace(ca=[*trust.ca, other.signer.certificate], crl=[other.crl(1, [second.serial_number])])

    assert trust.verify(der(first)).name == "b"
    assert trust.verify(der(other.leaf())).name == "b"
    assert refused(trust, second).reason == "revoked"


def test_a_new_ca_without_a_crl_is_warned_of(trust: TrustStore, clock: Clock, security_log: SecurityLog) -> None:
    trust.replace(ca=[*trust.ca, make_ca(clock, subject=common_name("new CA")).certificate])

    (line,) = security_log.about("CA has no CRL, so its certificates are refused")
    assert "new CA" in line


# ---- live peers


def test_who_was_revoked_is_found_among_all_live_peers_whenever_a_crl_arrives(
    authority: ZoneAuthority, trust: TrustStore
) -> None:
    live = [trust.verify(der(authority.issue(name, p256().public_key()))) for name in ("a", "b", "c")]
    found: list[tuple[PeerIdentity, IdentityError]] = []
    stop = trust.on_change(lambda: found.extend(trust.no_longer_trusted(live)))

    authority.revoke("b")
    trust.replace(crl=authority.crl)
    stop()
    stop()
    trust.replace(crl=authority.sign_crl())

    ((peer, error),) = found
    assert peer == live[1]
    assert error.reason == "revoked"
    assert f"{peer.serial:x}" in str(error)


def test_who_has_expired_is_found_by_asking_again(authority: ZoneAuthority, trust: TrustStore, clock: Clock) -> None:
    short, long = (
        trust.verify(der(authority.issue(name, p256().public_key(), lifetime=lifetime)))
        for name, lifetime in (("a", HOUR), ("b", 2 * HOUR))
    )

    clock.advance(minutes=90)

    assert [(peer, error.reason) for peer, error in trust.no_longer_trusted([short, long])] == [(short, "expired")]


def test_every_watcher_is_told_even_if_one_raises(authority: ZoneAuthority, trust: TrustStore) -> None:
    told: list[str] = []

    def fails() -> None:
        told.append("first")
        raise LookupError("first")

    trust.on_change(fails)
    trust.on_change(lambda: told.append("second"))

    with pytest.raises(LookupError):
        trust.replace(crl=authority.sign_crl())

    assert told == ["first", "second"]


def test_what_is_shown_of_a_trust_store_is_short(trust: TrustStore) -> None:
    assert repr(trust) == "<TrustStore of zone z.test: 1 CA, 1 CRL>"
