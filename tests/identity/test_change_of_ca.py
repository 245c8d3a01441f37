"""A zone's CA is changed in three steps, and at none of them is a node refused that should not be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509

from autonomy.errors import IdentityError
from autonomy.identity import Credentials, TrustStore, ZoneAuthority, new_key

from .forge import ZONE, Clock, der, p256
from .meeting import dials, listens, meet

KEY = p256()


def trust_in(authority: ZoneAuthority, clock: Clock) -> TrustStore:
    return TrustStore(ZONE, ca=authority.ca, crl=authority.crl, clock=clock)


def test_the_new_ca_is_trusted_before_it_issues(authority: ZoneAuthority, clock: Clock) -> None:
    (old_ca,) = authority.ca
    first = authority.issue("first", KEY.public_key())

    authority.roll_over()
    second = authority.issue("second", KEY.public_key())
    authority.switch_over()
    authority.switch_over()
    third = authority.issue("third", KEY.public_key())

    assert authority.ca[0] == old_ca
    assert authority.ca[1].subject != old_ca.subject
    assert [leaf.issuer for leaf in (first, second, third)] == [ca.subject for ca in (old_ca, old_ca, authority.ca[1])]
    trust = trust_in(authority, clock)
    assert [trust.verify(der(leaf)).name for leaf in (first, second, third)] == ["first", "second", "third"]


def test_each_ca_lists_what_it_has_issued(authority: ZoneAuthority, clock: Clock) -> None:
    old_leaf = authority.issue("a", KEY.public_key())
    authority.roll_over()
    authority.switch_over()
    new_leaf = authority.issue("a", KEY.public_key())

    assert authority.revoke("a") == 2

    listed = [{entry.serial_number for entry in crl} for crl in authority.crl]
    assert listed == [{old_leaf.serial_number}, {new_leaf.serial_number}]
    trust = trust_in(authority, clock)
    for leaf in (old_leaf, new_leaf):
        with pytest.raises(IdentityError, match="certificate revoked"):
            trust.verify(der(leaf))


def test_after_retire_the_old_ca_and_its_key_are_gone(authority: ZoneAuthority, tmp_path: Path, clock: Clock) -> None:
    leaf = authority.issue("a", KEY.public_key())
    authority.roll_over()
    authority.switch_over()
    authority.retire()

    assert len(authority.ca) == len(authority.crl) == 1
    assert (tmp_path / "zone" / "ca.key").read_bytes().count(b"BEGIN") == 1
    with pytest.raises(IdentityError) as caught:
        trust_in(authority, clock).verify(der(leaf))
    assert caught.value.reason == "untrusted"


def test_steps_out_of_order_are_refused_and_change_nothing(authority: ZoneAuthority) -> None:
    for early in (authority.switch_over, authority.retire):
        with pytest.raises(IdentityError, match="has one CA alone: 'roll_over' makes the next one"):
            early()
    authority.roll_over()
    before = authority.ca
    with pytest.raises(IdentityError, match="changing its CA already"):
        authority.roll_over()
    with pytest.raises(IdentityError, match="still issues: 'switch_over'"):
        authority.retire()

    assert authority.ca == before


def test_a_ca_can_be_changed_again_and_again(authority: ZoneAuthority, clock: Clock) -> None:
    seen: set[x509.Certificate] = set(authority.ca)
    for _ in range(3):
        authority.roll_over()
        authority.switch_over()
        authority.retire()
        (ca,) = authority.ca
        leaf = authority.issue("a", KEY.public_key())
        assert leaf.issuer == ca.subject
        assert trust_in(authority, clock).verify(der(leaf)).name == "a"
        seen.add(ca)

    assert len(seen) == 4


def test_a_roll_over_that_a_crash_cut_short_can_be_made_again(authority: ZoneAuthority, tmp_path: Path) -> None:
    """The new key was written, its certificate was not."""
    keys, certificates = tmp_path / "zone" / "ca.key", tmp_path / "zone" / "ca.crt"
    before = certificates.read_bytes()
    authority.roll_over()
    certificates.write_bytes(before)

    assert len(authority.ca) == 1
    authority.issue("a", new_key().public_key())
    authority.roll_over()

    assert len(authority.ca) == 2
    assert keys.read_bytes().count(b"BEGIN") == 2


async def test_at_each_step_all_nodes_are_connected_whichever_of_them_has_taken_it(authority: ZoneAuthority) -> None:
    a, b = authority.credentials("a"), authority.credentials("b")

    async def both_ways() -> list[bool]:
        return [(await meet(dials(x, y.name), listens(y))).connected for x, y in ((a, b), (b, a))]

    async def on_each(step: Callable[[Credentials], None]) -> None:
        for credentials in (a, b):
            step(credentials)
            assert await both_ways() == [True, True]

    def trust(credentials: Credentials) -> None:
        credentials.replace(ca=authority.ca, crl=authority.crl)

    def renew(credentials: Credentials) -> None:
        key = new_key()
        credentials.replace(key=key, certificate=authority.issue(credentials.name, key.public_key()))

    old = authority.credentials("c")
    authority.roll_over()
    renew(a)  # its time had come just then
    assert await both_ways() == [True, True]
    await on_each(trust)
    authority.switch_over()
    await on_each(renew)
    authority.retire()
    await on_each(trust)

    outcome = await meet(dials(a, "c"), listens(old))
    assert not outcome.connected
    assert outcome.refusals["dialler"] == "untrusted"
