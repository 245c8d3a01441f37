"""Holes that a review found in what lies between two nodes, each with what it let through."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from autonomy import Context, Node
from autonomy._exchange.answers import Relay
from autonomy._exchange.partner import Partner
from autonomy._links.peer import Peer
from autonomy._sansio import cargo
from autonomy._sansio.cargo import Item
from autonomy._sansio.envelope import REPLY, Envelope
from autonomy.errors import WorkerFailed

from .test_hostile_items import HostileWire
from .workers import Echo, Failing, Recorder
from .zone import FaultyNetwork, dead_letters_of, nodes, on, two_nodes


def partner_of(node: Node, name: str) -> Partner:
    """Return what a node has of another one."""
    assert node._remoting is not None
    return node._remoting._partners[name]


def peer_of(node: Node, name: str) -> Peer:
    """Return its way there."""
    wire = partner_of(node, name).wire
    assert isinstance(wire, Peer)
    return wire


@pytest.mark.parametrize("size", [70_000, 5 * 2**20])
async def test_exceptions_with_much_text_end_no_link(autojump_clock: MockClock, size: int) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("failing", Failing())
        dials = network.dials

        with pytest.raises(WorkerFailed, match="the worker raised ValueError: xxx") as caught:
            await a.send_and_receive("failing@b", "x" * size)

        assert len(caught.value.remote_message) == 2**16
        assert network.dials == dials


async def test_large_messages_that_have_arrived_are_not_kept_however_steadily_they_are_sent(
    autojump_clock: MockClock,
) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        recorder = Recorder()
        await b.start_worker("recorder", recorder)
        peer, most = peer_of(a, "b"), 0

        for _ in range(100):
            await a.send_message("recorder@b", "x" * 200_000)
            most = max(most, len(peer._outbox._whole))
        await trio.sleep(5)

        assert len(recorder.received) == 100
        assert most < 40  # what may be on its way at a time
        assert not peer._outbox._whole


async def test_a_node_that_always_breaks_the_protocol_is_not_dialled_without_a_pause(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, _):
        await trio.sleep(5)
        peer, dials = peer_of(a, "b"), network.dials

        with trio.move_on_after(10):
            while network.dials < dials + 100:
                if peer.is_up:
                    peer.tell(cargo.Want(7777, 1))  # of a flow that was never opened
                await trio.sleep(0.001)

        assert network.dials < dials + 50


async def test_what_a_node_cannot_bring_over_before_it_ends_is_reported(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "b") as b:
        await b.start_worker("recorder", Recorder())
        async with on(network, "a") as a:
            letters = dead_letters_of(a)
            await a.connect("wss://b:1")
            await a.send_message("recorder@b", "arrives")
            await trio.sleep(1)
            network.part("a", "b")
            for number in range(3):
                await a.send_message("recorder@b", f"{number}")

        assert [letter.message for letter in letters] == ["0", "1", "2"]
        network.heal("a", "b")


class Forwarder:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.forward("echo@c")


async def test_conversations_that_were_handed_on_leave_nothing_behind_anywhere(autojump_clock: MockClock) -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        await b.start_worker("forwarder", Forwarder())
        await c.start_worker("echo", Echo())

        for _ in range(3):
            async with await a.send("forwarder@b", "hello") as replies:
                assert await replies.receive() == "hello"
        await trio.sleep(1)

        for here, there in [(a, "b"), (b, "a"), (b, "c"), (c, "b")]:
            partner = partner_of(here, there)
            assert not partner._outgoing._conversations
            assert not partner._incoming._conversations


class SlowWire(HostileWire):
    """A wire on which what is large takes a second."""

    async def send(self, item: Item) -> None:
        """Take it."""
        await trio.sleep(1)
        await super().send(item)


async def test_replies_that_wait_when_their_conversation_ends_are_not_sent_in_the_next_session(
    autojump_clock: MockClock,
) -> None:
    wire = SlowWire()
    async with trio.open_nursery() as nursery:
        relay = Relay(wire, 1, 1, lambda number, reply: wire.tell(cargo.Reply(number, reply.body)), nursery.start_soon)
        relay.accept(Envelope(REPLY, "worker", "x" * 2000, 1))
        relay.accept(Envelope(REPLY, "worker", "small", 1))

        async def reply() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await relay.put(Envelope(REPLY, "worker", "later", 1))

        nursery.start_soon(reply)
        await trio.sleep(0.5)
        relay.close()

    assert wire.told == [cargo.Reply(1, "x" * 2000)]


async def test_a_large_message_whose_sender_is_cancelled_leaves_no_trace(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        letters = [dead_letters_of(a), dead_letters_of(b)]
        recorder = Recorder()
        await b.start_worker("recorder", recorder)
        await a.send_message("recorder@b", "first")
        await trio.sleep(1)
        dials = network.dials
        network.silence("a", "b")
        for _ in range(3):
            with trio.move_on_after(0.5) as scope:
                await a.send_message("recorder@b", "x" * (16 * 2**20))
            assert scope.cancelled_caught
        network.heal("a", "b")

        await a.send_message("recorder@b", "y" * 2**20)
        await a.send_message("recorder@b", "last")
        await trio.sleep(5)

        assert [len(message) for message in recorder.received] == [5, 2**20, 4]
        assert letters == [[], []]
        assert network.dials == dials


async def test_many_large_messages_over_cuts_arrive_once_and_whole(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        recorder = Recorder()
        await b.start_worker("recorder", recorder)

        async def cuts() -> None:
            for _ in range(5):
                await trio.sleep(0.03)
                network.cut("a", "b")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cuts)
            for number in range(10):
                await a.send_message("recorder@b", f"{number}" * 2**20)
                await trio.sleep(0.02)
        await trio.sleep(5)

        assert [(message[0], len(message)) for message in recorder.received] == [(str(n), 2**20) for n in range(10)]
