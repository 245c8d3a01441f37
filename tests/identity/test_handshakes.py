"""Real TLS over streams in memory: a connection counts once both sides have verified each other (K1)."""

from __future__ import annotations

import gc
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing
from cryptography import x509

from autonomy.errors import IdentityError
from autonomy.identity import (
    Credentials,
    PeerIdentity,
    ZoneAuthority,
    accept_tls,
    client_context,
    dial_tls,
    new_key,
    server_context,
)

from .conftest import SecurityLog
from .forge import HOUR, ZONE, Clock, Forger, der, make_ca, name_of, node_names
from .meeting import dials, listens, meet


@pytest.fixture
def a(authority: ZoneAuthority) -> Credentials:
    return authority.credentials("a")


@pytest.fixture
def b(authority: ZoneAuthority) -> Credentials:
    return authority.credentials("b")


class Intruder:
    """Speaks TLS with whatever certificate it has, and looks at nobody else's."""

    def __init__(self, forger: Forger, leaf: x509.Certificate | None) -> None:
        self._forger, self._leaf = forger, leaf

    def context(self, *, server: bool = False) -> ssl.SSLContext:
        return self._forger.context(self._leaf, server=server)

    async def dials(self, stream: trio.abc.Stream) -> tuple[trio.abc.Stream, PeerIdentity | None]:
        return await self._begin(trio.SSLStream(stream, self.context()))

    async def listens(self, stream: trio.abc.Stream) -> tuple[trio.abc.Stream, PeerIdentity | None]:
        return await self._begin(trio.SSLStream(stream, self.context(server=True), server_side=True))

    async def _begin(self, tls: trio.SSLStream[trio.abc.Stream]) -> tuple[trio.abc.Stream, PeerIdentity | None]:
        await tls.do_handshake()
        return tls, None


# ---- two nodes


async def test_two_nodes_of_a_zone_know_each_other(a: Credentials, b: Credentials) -> None:
    outcome = await meet(dials(a, "b"), listens(b))

    assert outcome.connected
    peers = {side: peer.uri for side, peer in outcome.peers.items() if peer}
    assert peers == {"dialler": "spiffe://z.test/node/b", "listener": "spiffe://z.test/node/a"}


async def test_names_and_keys_of_every_kind_work(forger: Forger, authority: ZoneAuthority, b: Credentials) -> None:
    longest = authority.credentials("n" * 128)

    assert (await meet(dials(b, "n" * 128), listens(longest))).connected
    assert (await meet(dials(longest, "b"), listens(b))).connected


async def test_another_node_than_the_one_dialled_is_refused(
    a: Credentials, b: Credentials, security_log: SecurityLog
) -> None:
    outcome = await meet(dials(a, "c"), listens(b))

    assert not outcome.connected
    assert outcome.refusals == {"dialler": "name"}
    assert "is that of 'b', expected 'c'" in str(outcome.errors["dialler"])
    with pytest.raises(IdentityError) as caught:
        a.trust.verify(der(b.certificate), expected="c")
    assert isinstance(outcome.errors["dialler"], IdentityError)
    assert outcome.errors["dialler"].fingerprint == caught.value.fingerprint
    (line,) = security_log.about("identity refused")  # of verify: a handshake leaves the log to who asked for it
    assert f"certificate={caught.value.fingerprint}" in line


async def test_whoever_of_the_zone_is_there_can_be_dialled(a: Credentials, b: Credentials, forger: Forger) -> None:
    outcome = await meet(dials(a, None), listens(b))

    assert outcome.connected
    assert {side: peer.name for side, peer in outcome.peers.items() if peer} == {"dialler": "b", "listener": "a"}
    stranger = Intruder(forger, forger.leaf(names=node_names("spiffe://other.test/node/b")))
    assert (await meet(dials(a, None), stranger.listens)).refusals == {"dialler": "zone"}


async def test_a_node_of_another_zone_is_refused_by_both(a: Credentials, tmp_path: Path, clock: Clock) -> None:
    stranger = ZoneAuthority.create(tmp_path / "other", "other.test", clock=clock).credentials("b")

    assert (await meet(dials(a, "b"), listens(stranger))).refusals["dialler"] == "untrusted"
    outcome = await meet(dials(stranger, "a"), listens(a))
    assert not outcome.connected
    assert outcome.refusals["dialler"] == "untrusted"


async def test_a_revoked_node_is_refused_in_both_directions(
    a: Credentials, b: Credentials, authority: ZoneAuthority
) -> None:
    authority.revoke("b")
    a.replace(crl=authority.crl)

    for outcome, side in [
        (await meet(dials(a, "b"), listens(b)), "dialler"),
        (await meet(dials(b, "a"), listens(a)), "listener"),
    ]:
        assert not outcome.connected
        assert outcome.refusals == {side: "revoked"}


async def test_nobody_is_connected_once_the_crl_is_too_old(
    a: Credentials, b: Credentials, authority: ZoneAuthority, clock: Clock
) -> None:
    clock.advance(hours=23)
    for credentials in (a, b):
        key = new_key()
        credentials.replace(key=key, certificate=authority.issue(credentials.name, key.public_key()))
    clock.advance(hours=2)

    outcome = await meet(dials(a, "b"), listens(b))

    assert not outcome.connected
    assert outcome.refusals == {"dialler": "revocation_unknown", "listener": "revocation_unknown"}


# ---- intruders

LEAVES: dict[str, tuple[Callable[[Forger], x509.Certificate | None], str]] = {
    "another CA of the same name": (
        lambda forger: Forger(
            make_ca(forger.clock, subject=name_of(forger.signer)), forger.clock, key=forger.key
        ).leaf(),
        "untrusted",
    ),
    "expired": (lambda forger: forger.leaf(begins=-24 * HOUR, ends=-HOUR), "expired"),
    "not yet valid": (lambda forger: forger.leaf(begins=HOUR), "not_yet_valid"),
    "two URIs": (
        lambda forger: forger.leaf(names=node_names(f"spiffe://{ZONE}/node/b", f"spiffe://{ZONE}/node/a")),
        "identity",
    ),
    "other zone": (lambda forger: forger.leaf(names=node_names("spiffe://other.test/node/b")), "zone"),
    "traversal": (lambda forger: forger.leaf(names=node_names(f"spiffe://{ZONE}/node/../b")), "identity"),
    "capitals": (lambda forger: forger.leaf(names=node_names(f"spiffe://{ZONE}/node/B")), "identity"),
    "two years": (lambda forger: forger.leaf(ends=17520 * HOUR), "profile"),
    "no usages": (lambda forger: forger.leaf({x509.KeyUsage: None}), "profile"),
    "no purposes": (lambda forger: forger.leaf({x509.ExtendedKeyUsage: None}), "profile"),
}


@pytest.mark.parametrize("name", [*LEAVES, "no certificate"])
async def test_an_intruder_that_dials_is_refused(name: str, a: Credentials, forger: Forger) -> None:
    make, reason = LEAVES.get(name, (lambda forger: None, "missing"))

    outcome = await meet(Intruder(forger, make(forger)).dials, listens(a))

    assert not outcome.connected
    assert outcome.refusals == {"listener": reason}


@pytest.mark.parametrize("name", LEAVES)
async def test_an_intruder_that_is_dialled_is_refused(name: str, a: Credentials, forger: Forger) -> None:
    make, reason = LEAVES[name]

    outcome = await meet(dials(a, "b"), Intruder(forger, make(forger)).listens)

    assert not outcome.connected
    assert outcome.refusals == {"dialler": reason}


async def test_the_dialling_side_thinks_it_was_accepted_until_it_reads(a: Credentials, forger: Forger) -> None:
    """Why a handshake is not a connection: in TLS 1.3 the dialler is done before its certificate was looked at."""
    outcome = await meet(Intruder(forger, forger.leaf(ends=-HOUR, begins=-2 * HOUR)).dials, listens(a))

    assert "dialler" in outcome.peers
    assert "dialler" not in outcome.welcomes
    assert "listener" not in outcome.peers


async def test_older_tls_is_refused(a: Credentials, forger: Forger) -> None:
    class Old(Intruder):
        def context(self, *, server: bool = False) -> ssl.SSLContext:
            context = super().context(server=server)
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            return context

    outcome = await meet(Old(forger, forger.leaf()).dials, listens(a))

    assert outcome.refusals == {"listener": "malformed"}
    assert "no TLS 1.3 handshake took place" in str(outcome.errors["listener"])


@pytest.mark.parametrize(
    "first", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", bytes(4000), b"\xff" * 70_000]
)
async def test_what_is_no_tls_is_refused(first: bytes, a: Credentials) -> None:
    async def begin(stream: trio.abc.Stream) -> tuple[trio.abc.Stream, PeerIdentity | None]:
        await stream.send_all(first)
        return stream, None

    outcome = await meet(begin, listens(a))

    assert outcome.refusals == {"listener": "malformed"}


@pytest.mark.parametrize("side", ["dialler", "listener"])
async def test_silence_ends_after_five_seconds(
    side: str, a: Credentials, autojump_clock: trio.testing.MockClock
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()

    with pytest.raises(trio.TooSlowError):
        await (dial_tls(ours, a, "b") if side == "dialler" else accept_tls(ours, a))

    assert trio.current_time() == 5
    with pytest.raises(trio.BrokenResourceError):
        await theirs.send_all(b"too late")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"])
async def test_a_stream_that_breaks_is_no_refusal(sent: bytes, a: Credentials) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(sent)
    await theirs.aclose()

    with pytest.raises(trio.BrokenResourceError):
        await accept_tls(ours, a)


async def test_the_alert_of_another_end_is_told_as_such(a: Credentials, forger: Forger) -> None:
    context = Intruder(forger, forger.leaf()).context()
    context.verify_mode = ssl.CERT_REQUIRED  # and it knows no CA

    async def begin(stream: trio.abc.Stream) -> tuple[trio.abc.Stream, PeerIdentity | None]:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await stream.send_all(outgoing.read())
                incoming.write(await stream.receive_some(65536))
            except ssl.SSLCertVerificationError:
                await stream.send_all(outgoing.read())
                return stream, None

    outcome = await meet(begin, listens(a))

    assert "the other end refused this node, or gave up: TLSV1_ALERT_UNKNOWN_CA" in str(outcome.errors["listener"])


async def test_a_name_that_no_node_can_have_is_not_dialled(a: Credentials) -> None:
    ours, _ = trio.testing.memory_stream_pair()

    with pytest.raises(ValueError, match="'B' cannot be put into a certificate"):
        await dial_tls(ours, a, "B")


# ---- rotation


async def test_certificates_are_rotated_while_connections_are_made(
    a: Credentials, b: Credentials, authority: ZoneAuthority, clock: Clock
) -> None:
    serials = set()
    for _ in range(5):
        clock.advance(hours=16)
        for credentials in (a, b):
            key = new_key()
            credentials.replace(crl=authority.sign_crl())
            credentials.replace(key=key, certificate=authority.issue(credentials.name, key.public_key()))
        outcome = await meet(dials(a, "b"), listens(b))
        assert outcome.connected
        serials |= {peer.serial for peer in outcome.peers.values() if peer}

    assert len(serials) == 10


# ---- contexts


@pytest.mark.parametrize("make", [server_context, client_context])
def test_a_context_is_strict(make: Callable[[Credentials], ssl.SSLContext], a: Credentials) -> None:
    context = make(a)

    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.options & ssl.OP_NO_TICKET
    assert [each["serialNumber"] for each in context.get_ca_certs()] == [
        f"{ca.serial_number:X}".rjust(len(f"{ca.serial_number:X}") + len(f"{ca.serial_number:X}") % 2, "0")
        for ca in a.trust.ca
    ]
    assert make(a) is not context
    if make is server_context:
        assert context.num_tickets == 0


def test_contexts_leave_neither_files_nor_descriptors(a: Credentials, tmp_path: Path) -> None:
    server_context(a)
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208

    for _ in range(20):
        server_context(a), client_context(a)
    gc.collect()

    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_on_the_systems_clock_tls_itself_refuses_what_has_expired(tmp_path: Path) -> None:
    """With a clock of one's own the trust store alone judges time, for OpenSSL asks the system."""
    authority = ZoneAuthority.create(tmp_path / "now", ZONE)
    a, b = authority.credentials("a"), authority.credentials("b")

    assert (await meet(dials(a, "b"), listens(b))).connected
    assert not client_context(a).verify_flags & 0x200000
