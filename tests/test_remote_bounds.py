"""What one node keeps for another has bounds, and ends when it should: whatever the other takes, or proves."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from autonomy import Context, Node, NodeDown, Unreachable
from autonomy._links.peer import Peer
from autonomy._sansio.cargo import Reply
from autonomy._sansio.frames import Ping
from autonomy._sansio.session import Transmit
from autonomy._sansio.spiffe import PeerIdentity
from autonomy.errors import IdentityError
from tests.workers import Recorder, Sleeper
from tests.zone import FaultyNetwork, on, two_nodes

MEBI = 2**20
LARGE = 12 * MEBI


def peer_of(node: Node, name: str) -> Peer:
    """Return what a node has of another one."""
    assert node._remoting is not None
    peer = node._remoting._peers.get(name)
    assert isinstance(peer, Peer)
    return peer


def identity_of(peer: Peer) -> PeerIdentity:
    """Return who a peer has proven to be."""
    (identity,) = peer.identities()
    return identity


class Big:
    """Replies with much, and late."""

    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep(1)
        await context.reply("x" * LARGE)


async def test_little_waits_for_a_link_that_takes_nothing_and_its_senders_wait(autojump_clock: MockClock) -> None:
    network, recorder = FaultyNetwork(), Recorder()
    # On a busy machine a sender's slice is over sooner, and the writer takes what waits before there is much of it.
    async with two_nodes(network, slice_clock=lambda: 0.0) as (a, b):
        await b.start_worker("recorder", recorder, mailbox_capacity=10_000)
        await a.send_message("recorder@b", "first")
        network.silence("a", "b")
        most = 0
        with trio.move_on_after(5):
            for number in range(2000):
                await a.send_message("recorder@b", f"{number} {'x' * 8000}")
                most = max(most, peer_of(a, "b")._outbox.size)
        network.heal("a", "b")
        await a.send_message("recorder@b", "last")
        await trio.sleep(1)

    assert 2**16 < most < 2**17 + 2**14
    assert len(recorder.received) == len({*recorder.received})
    assert recorder.received[-1] == "last"


async def test_what_may_wait_for_a_link_is_offered_no_room_beyond_its_bound(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, _):
        peer, calls = peer_of(a, "b"), []

        taken = sum(peer.offer(Reply(number, "x" * 8000)) for number in range(1000))
        peer.when_room(lambda: calls.append(peer._outbox.size))
        await trio.sleep(1)

        assert 2**17 <= taken * 8100 < 2**17 + 2**14
        assert len(calls) == 1
        assert calls[0] <= 2**16


async def test_a_node_that_takes_no_answers_is_given_up_before_they_fill_the_memory(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, _):
        peer = peer_of(a, "b")
        network.silence("a", "b")

        for number in range(80):
            peer.tell(Reply(number, "x" * MEBI))
        await trio.sleep(0.1)

        assert "takes no answers" in peer._reason
        assert not peer._outbox


async def test_a_node_that_asks_and_does_not_listen_is_dropped(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, _):
        peer = peer_of(a, "b")
        (connection,) = peer._connections

        peer._do(Transmit(connection, Ping(number)) for number in range(20_000))

        assert connection.is_dropped
        await trio.sleep(1)
        assert peer.is_up


async def test_a_certificate_that_is_believed_no_more_costs_the_link_that_has_proven_it_and_nothing_else(
    autojump_clock: MockClock,
) -> None:
    async with two_nodes() as (a, b):
        await b.start_worker("sleeper", Sleeper())
        peer = peer_of(a, "b")
        identity = identity_of(peer)
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await a.send_and_receive("sleeper@b", "3"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            links = list(peer._connections)
            peer.distrust(identity_of(peer_of(b, "a")), IdentityError("another one", reason="revoked"))
            assert not links[0].is_dropped

            peer.distrust(identity, IdentityError("too old", reason="expired"))
            assert links[0].is_dropped

        assert answers == ["3"]


async def test_a_certificate_that_is_revoked_ends_what_its_node_was_asked_at_once(autojump_clock: MockClock) -> None:
    async with two_nodes() as (a, b):
        await b.start_worker("sleeper", Sleeper())
        peer = peer_of(a, "b")

        async def ask() -> None:
            with pytest.raises(NodeDown, match="revoked"), trio.fail_after(2):
                await a.send_and_receive("sleeper@b", "1000", timeout=500)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            peer.distrust(identity_of(peer), IdentityError("stolen", reason="revoked"))


async def test_links_that_are_given_up_prove_nothing(autojump_clock: MockClock) -> None:
    async with two_nodes() as (a, _):
        peer = peer_of(a, "b")
        identity_of(peer)

        for connection in peer._connections:
            connection.drop()

        assert peer.identities() == []


async def test_an_address_of_which_nothing_came_is_dialled_no_more_and_who_waits_for_it_is_told(
    autojump_clock: MockClock,
) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, on(network, "b"):
        network.part("a", "b")
        told: list[float] = []

        async def send() -> None:
            await trio.sleep(1)
            with pytest.raises((Unreachable, NodeDown)):
                await a.send_message("worker@b", "hello", timeout=100)
            told.append(trio.current_time())

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            with pytest.raises(Unreachable):
                await a.connect("wss://b:1", "b", timeout=3)
        assert told[0] - began == pytest.approx(3, abs=0.1)

        await trio.sleep(10)  # the last dial takes its time
        dials = network.dials
        network.heal("a", "b")
        await trio.sleep(100)
        assert network.dials == dials
        with pytest.raises(Unreachable):
            await a.send_message("worker@b", "hello", timeout=100)


async def test_a_node_that_leaves_brings_home_all_that_it_owes(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "b") as b:
        sizes: list[int] = []

        async def ask() -> None:
            sizes.append(len(await b.send_and_receive("big@a", "all of it")))

        async with trio.open_nursery() as nursery, on(network, "a") as a:
            await b.connect("wss://a:1")
            await a.start_worker("big", Big())
            for _ in range(4):
                nursery.start_soon(ask)
            await trio.sleep(0.1)

    assert sizes == [LARGE] * 4


async def test_half_of_something_large_is_forgotten_with_the_node_that_sent_it(autojump_clock: MockClock) -> None:
    network, recorder = FaultyNetwork(), Recorder()
    async with on(network, "b") as b:
        await b.start_worker("recorder", recorder)
        async with trio.open_nursery() as nursery, on(network, "a") as a:
            await a.connect("wss://b:1")
            await a.send_message("recorder@b", "first")
            nursery.start_soon(a.send_message, "recorder@b", "x" * 5 * MEBI)
            while not peer_of(b, "a")._joiner.size:
                await trio.lowlevel.checkpoint()
            network.part("a", "b")
            nursery.cancel_scope.cancel()
        network.heal("a", "b")
        async with on(network, "a") as a:
            await a.connect("wss://b:1")
            await a.send_message("recorder@b", "y" * MEBI)

    assert [message[:5] for message in recorder.received] == ["first", "yyyyy"]
