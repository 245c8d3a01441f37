"""Messages to workers of another node: in order, once, and no faster than they are taken."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, MailboxFull, Node
from tests.workers import Echo, Recorder, Sleeper
from tests.zone import FaultyNetwork, nodes, two_nodes

Two = tuple[Node, Node]


@pytest.fixture
async def two(autojump_clock: MockClock) -> AsyncIterator[Two]:
    """Nodes ``a`` and ``b``, linked, in virtual time."""
    async with two_nodes() as both:
        yield both


class Gate:
    """Handles nothing until it is opened; notes what it is told."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.received: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        await self.open.wait()
        self.received.append(message)


class SendsMany:
    """Sends as many messages as it is told to, through all handles that it has, to a recorder on ``b``."""

    async def handle_message(self, context: Context, message: str) -> None:
        for number in range(int(message)):
            if number % 2:
                await context.send_message("recorder@b", f"{context.name} {number}")
            else:
                await context.node.send_message("recorder", f"{context.name} {number}", node="b")
        await context.reply("done")


# --- order


async def test_messages_of_each_sender_are_handled_in_the_order_in_which_they_were_sent(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    recorder = Recorder()
    await b.start_worker("recorder", recorder, mailbox_capacity=7)
    for name in ("w1", "w2"):
        await a.start_worker(name, SendsMany())

    async def program() -> None:
        for number in range(200):
            await a.send_message("recorder@b", f"program {number}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(program)
        for name in ("w1", "w2"):
            nursery.start_soon(a.send_and_receive, name, "200")
    await trio.sleep(1)

    for sender in ("w1", "w2", "program"):
        of_sender = [message for message in recorder.received if message.startswith(sender + " ")]
        assert of_sender == [f"{sender} {number}" for number in range(200)]


async def test_messages_and_requests_of_one_sender_keep_their_order(autojump_clock: MockClock, two: Two) -> None:
    class Remembers(Recorder):
        async def handle_message(self, context: Context, message: str) -> None:
            await super().handle_message(context, message)
            await context.reply(message)

    a, b = two
    worker = Remembers()
    await b.start_worker("worker", worker, mailbox_capacity=2)

    for number in range(0, 90, 3):
        await a.send_message("worker@b", str(number))
        assert await a.send_and_receive("worker@b", str(number + 1)) == str(number + 1)
        async with await a.send("worker@b", str(number + 2)):
            pass
    await trio.sleep(1)

    assert worker.received == [str(number) for number in range(90)]


async def test_a_large_message_is_handled_before_what_its_sender_sends_after_it(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    recorder = Recorder()
    await b.start_worker("recorder", recorder)

    for _ in range(3):
        await a.send_message("recorder@b", "small")
        await a.send_message("recorder@b", "x" * 2**20)
    await a.send_message("recorder@b", "last")
    await trio.sleep(1)

    assert [len(message) for message in recorder.received] == [5, 2**20] * 3 + [4]


async def test_messages_of_one_sender_keep_their_order_over_cuts(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        recorder = Recorder()
        await b.start_worker("recorder", recorder, mailbox_capacity=5)

        async def cuts() -> None:
            for _ in range(20):
                await trio.sleep(0.05)
                network.cut("a", "b")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cuts)
            for number in range(300):
                await a.send_message("recorder@b", str(number))
                if number % 20 == 0:
                    await trio.sleep(0.05)
        await trio.sleep(5)

        assert recorder.received == [str(number) for number in range(300)]
        assert a.statistics().dead_letters == b.statistics().dead_letters == 0


# --- back-pressure


async def test_a_full_far_mailbox_makes_its_senders_wait(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    gate = Gate()
    await b.start_worker("gate", gate, mailbox_capacity=10)
    sent = 0

    async def send() -> None:
        nonlocal sent
        for number in range(100):
            await a.send_message("gate@b", str(number))
            sent += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.sleep(5)
        assert sent == 11  # ten wait there, one is being handled
        assert b.statistics().queued == 10
        gate.open.set()
    await trio.sleep(1)
    assert gate.received == [str(number) for number in range(100)]


async def test_what_is_queued_never_exceeds_the_mailbox_whoever_sends(autojump_clock: MockClock) -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        most = 0

        class Watched(Recorder):
            async def handle_message(self, context: Context, message: str) -> None:
                nonlocal most
                await super().handle_message(context, message)
                most = max(most, b.statistics().queued)
                await trio.sleep(0.01)

        recorder = Watched()
        await b.start_worker("recorder", recorder, mailbox_capacity=4)

        async def send(node: Node) -> None:
            for number in range(50):
                await node.send_message("recorder@b", f"{node.name} {number}")

        async with trio.open_nursery() as nursery:
            for node in (a, b, c):
                nursery.start_soon(send, node)
        await trio.sleep(3)

        assert most <= 4
        for node in (a, b, c):
            mine = [message for message in recorder.received if message.startswith(node.name)]
            assert mine == [f"{node.name} {number}" for number in range(50)]


async def test_a_full_far_worker_holds_up_no_other_worker_of_its_node(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    gate = Gate()
    await b.start_worker("gate", gate, mailbox_capacity=2)
    await b.start_worker("echo", Echo())

    async def send(number: int) -> None:
        await a.send_message("gate@b", str(number))

    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(send, number)
        await trio.sleep(1)
        started = trio.current_time()
        for _ in range(100):
            assert await a.send_and_receive("echo@b", "hello") == "hello"
        assert trio.current_time() - started < 0.5
        gate.open.set()
    await trio.sleep(1)
    assert sorted(gate.received, key=int) == [str(number) for number in range(50)]


async def test_a_sender_who_is_cancelled_while_it_waits_has_sent_nothing(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    gate = Gate()
    await b.start_worker("gate", gate, mailbox_capacity=1)
    for number in range(2):
        await a.send_message("gate@b", str(number))
        await wait_all_tasks_blocked()
    with trio.move_on_after(1) as scope:
        await a.send_message("gate@b", "cancelled")
    with pytest.raises(MailboxFull):
        await a.send_message("gate@b", "too late", timeout=1)
    assert scope.cancelled_caught

    gate.open.set()
    await a.send_message("gate@b", "2")
    await trio.sleep(1)

    assert gate.received == ["0", "1", "2"]


async def test_two_nodes_whose_workers_flood_each_other_keep_talking(autojump_clock: MockClock, two: Two) -> None:
    class Floods:
        def __init__(self, other: str) -> None:
            self.other = other
            self.handled = 0

        async def handle_message(self, context: Context, message: str) -> None:
            self.handled += 1
            if int(message):
                await context.send_message(self.other, str(int(message) - 1))

    a, b = two
    floods = [Floods("flood@b"), Floods("flood@a")]
    for node, worker in zip(two, floods, strict=True):
        await node.start_worker("flood", worker, mailbox_capacity=20)
    for _ in range(10):
        await a.send_message("flood@b", "50")
        await b.send_message("flood@a", "50")
    await trio.sleep(10)

    assert sum(worker.handled for worker in floods) == 20 * 51


# --- large messages


@pytest.mark.parametrize("size", [2**16 - 20, 2**16, 2**20, 16 * 2**20])
async def test_large_messages_and_replies_arrive_whole(autojump_clock: MockClock, two: Two, size: int) -> None:
    a, b = two
    await b.start_worker("echo", Echo())
    message = "abcdefgh" * (size // 8)

    assert await a.send_and_receive("echo@b", message) == message


async def test_a_message_just_too_large_is_refused_at_the_sender_whatever_its_own_limit(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    recorder = Recorder()
    await b.start_worker("recorder", recorder)
    too_large = "x" * (16 * 2**20 + 1)

    with pytest.raises(ValueError, match="16,777,216"):
        await a.send_message("recorder@b", too_large)
    with pytest.raises(ValueError, match="16,777,216"):
        await a.send_and_receive("recorder@b", "ä" * (8 * 2**20 + 1))

    await trio.sleep(1)
    assert recorder.received == []


async def test_a_large_message_above_the_zones_limit_is_refused_though_its_node_would_take_it(
    autojump_clock: MockClock,
) -> None:
    async with two_nodes(max_message_bytes=64 * 2**20) as (a, b):
        await b.start_worker("echo", Echo())
        await a.start_worker("echo", Echo())
        large = "x" * (16 * 2**20 + 1)

        assert len(await a.send_and_receive("echo", large)) == len(large)
        with pytest.raises(ValueError, match="16,777,216"):
            await a.send_and_receive("echo@b", large)
        assert await a.send_and_receive("echo@b", "still there") == "still there"


async def test_small_messages_go_between_the_parts_of_large_ones(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    recorder = Recorder()
    await b.start_worker("recorder", recorder)
    await b.start_worker("echo", Echo())
    finished: list[str] = []

    async def large() -> None:
        await a.send_message("recorder@b", "x" * (8 * 2**20))
        finished.append("large")

    async def small() -> None:
        for _ in range(10):
            assert await a.send_and_receive("echo@b", "hello") == "hello"
        finished.append("small")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(large)
        await trio.lowlevel.checkpoint()
        nursery.start_soon(small)

    await trio.sleep(1)
    assert finished == ["small", "large"]
    assert [len(message) for message in recorder.received] == [8 * 2**20]


async def test_a_large_reply_does_not_hold_up_small_ones(autojump_clock: MockClock, two: Two) -> None:
    class Large:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.reply("x" * (8 * 2**20))

    a, b = two
    await b.start_worker("large", Large())
    await b.start_worker("echo", Echo())
    finished: list[str] = []

    async def large() -> None:
        assert len(await a.send_and_receive("large@b", "go")) == 8 * 2**20
        finished.append("large")

    async def small() -> None:
        for _ in range(5):
            assert await a.send_and_receive("echo@b", "hello") == "hello"
        finished.append("small")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(large)
        await trio.lowlevel.checkpoint()
        nursery.start_soon(small)
    assert finished == ["small", "large"]


# --- what happens elsewhere


async def test_a_slow_far_worker_does_not_slow_the_node_of_its_sender(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("sleeper", Sleeper(), mailbox_capacity=1)
    await a.start_worker("echo", Echo())
    for _ in range(2):
        await a.send_message("sleeper@b", "50")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(a.send_message, "sleeper@b", "0")
        await wait_all_tasks_blocked()
        started = trio.current_time()
        assert await a.send_and_receive("echo", "hello") == "hello"
        assert await b.send_and_receive("echo@a", "hello") == "hello"
        assert trio.current_time() - started < 0.1
        nursery.cancel_scope.cancel()
