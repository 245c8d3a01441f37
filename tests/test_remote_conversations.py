"""Conversations, mailboxes, forwarding and timers across nodes: all that is not one message to one worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, Node, WorkerNotFound, WorkerStopped
from tests.workers import Echo, Sleeper
from tests.zone import FaultyNetwork, dead_letters_of, nodes, on, two_nodes

Two = tuple[Node, Node]


@pytest.fixture
async def two(autojump_clock: MockClock) -> AsyncIterator[Two]:
    """Nodes ``a`` and ``b``, linked, in virtual time."""
    async with two_nodes() as both:
        yield both


class Notes:
    """Notes messages and who sent them."""

    def __init__(self) -> None:
        self.received: list[tuple[str, str]] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.received.append((context.sender, message))


# --- conversations and mailboxes


class Counts:
    """Replies with all numbers below the one that it is sent; a word makes it fail."""

    async def handle_message(self, context: Context, message: str) -> None:
        for number in range(int(message)):
            await context.reply(str(number))


async def test_a_conversation_with_a_far_worker_has_all_replies_in_order(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    await b.start_worker("counts", Counts())

    async with await a.send("counts@b", "3000") as mailbox:
        replies = [await mailbox.receive() for _ in range(3000)]

        assert replies == [str(number) for number in range(3000)]


async def test_a_far_worker_that_replies_faster_than_they_are_read_waits(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    replied = 0

    class Eager:
        async def handle_message(self, context: Context, message: str) -> None:
            nonlocal replied
            for number in range(2500):
                await context.reply(str(number))
                replied = number + 1

    await b.start_worker("eager", Eager())
    async with await a.send("eager@b", "go") as mailbox:
        await trio.sleep(1)
        assert replied == 1000
        assert [await mailbox.receive() for _ in range(2500)] == [str(number) for number in range(2500)]


async def test_an_error_of_a_far_worker_raises_from_receive_and_the_mailbox_stays_open(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    await b.start_worker("counts", Counts())

    async with await a.send("counts@b", "no number") as mailbox:
        with pytest.raises(Exception, match=r"timeout.*ValueError") as caught:
            await mailbox.receive()
        assert getattr(caught.value, "remote_type", "") == "ValueError"
        assert getattr(caught.value, "node", "") == "b"
        await mailbox.send("counts@b", "2")
        assert [await mailbox.receive() for _ in range(2)] == ["0", "1"]


async def test_a_conversation_with_nobody_is_refused_at_once(autojump_clock: MockClock, two: Two) -> None:
    a, _ = two

    with pytest.raises(WorkerNotFound):
        await a.send("nobody@b", "hello")

    assert a.statistics().mailboxes == 0


async def test_a_mailbox_that_is_closed_takes_no_more_replies_from_afar(autojump_clock: MockClock, two: Two) -> None:
    class Slow:
        async def handle_message(self, context: Context, message: str) -> None:
            for number in range(20):
                await context.reply(str(number))
                await trio.sleep(1)

    a, b = two
    letters = dead_letters_of(a)
    await b.start_worker("slow", Slow())
    async with await a.send("slow@b", "go") as mailbox:
        assert await mailbox.receive() == "0"
    await trio.sleep(25)

    assert b.statistics().dropped_replies + a.statistics().dropped_replies == 19
    assert letters == []


async def test_one_mailbox_may_converse_with_workers_of_several_nodes(autojump_clock: MockClock) -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        for node in (a, b, c):
            await node.start_worker("echo", Echo())
        async with await a.create_mailbox() as mailbox:
            for name in ("a", "b", "c"):
                await mailbox.send(f"echo@{name}", name)

            assert sorted([await mailbox.receive() for _ in range(3)]) == ["a", "b", "c"]


async def test_workers_of_other_nodes_send_to_a_mailbox_by_its_address(autojump_clock: MockClock, two: Two) -> None:
    class Reports:
        async def handle_message(self, context: Context, message: str) -> None:
            for number in range(50):
                await context.send_message(message, str(number))

    a, b = two
    await b.start_worker("reports", Reports())
    async with await a.create_mailbox("desk") as mailbox:
        assert mailbox.address == "desk@a"
        await a.send_message("reports@b", mailbox.address)
        assert [await mailbox.receive() for _ in range(50)] == [str(number) for number in range(50)]

    await wait_all_tasks_blocked()
    with pytest.raises(WorkerNotFound):
        await b.send_message("desk@a", "closed")


async def test_a_mailbox_gives_no_reply_to_a_request_from_afar(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    async with await a.create_mailbox("desk"):
        with pytest.raises(WorkerNotFound, match=r"timeout.*is a mailbox, which cannot reply"):
            await b.send_and_receive("desk@a", "hello", timeout=5)
        async with await b.send("desk@a", "hello") as mailbox:
            with pytest.raises(WorkerNotFound, match="is a mailbox, which cannot reply"):
                await mailbox.receive()
        await b.send_message("desk@a", "a message is taken")
    assert trio.current_time() < 1


# --- forward


class Forwards:
    """Hands everything on to one address."""

    def __init__(self, to: str) -> None:
        self.to = to

    async def handle_message(self, context: Context, message: str) -> None:
        await context.forward(self.to)


async def test_a_request_may_be_handed_on_to_a_far_worker_and_the_reply_comes_to_who_asked(
    autojump_clock: MockClock, two: Two
) -> None:
    a, b = two
    await a.start_worker("desk", Forwards("echo@b"))
    await b.start_worker("echo", Echo())

    assert await a.send_and_receive("desk", "hello") == "hello"
    assert await b.send_and_receive("desk@a", "and back") == "and back"


async def test_a_request_handed_on_through_three_nodes_is_answered_to_who_asked(autojump_clock: MockClock) -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        await b.start_worker("desk", Forwards("desk@c"))
        await c.start_worker("desk", Forwards("echo@a"))
        await a.start_worker("echo", Echo())

        assert await a.send_and_receive("desk@b", "all the way round") == "all the way round"
        for node in (a, b, c):
            assert node.statistics().waiting_requests == 0


async def test_a_message_handed_on_travels_as_the_forwarders(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    notes = Notes()
    await b.start_worker("notes", notes)
    await a.start_worker("desk", Forwards("notes@b"))

    await b.send_message("desk@a", "hello")
    await trio.sleep(1)

    assert notes.received == [("desk@a", "hello")]


async def test_a_conversation_may_be_handed_on_to_another_node(autojump_clock: MockClock) -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        await b.start_worker("desk", Forwards("counts@c"))
        await c.start_worker("counts", Counts())

        async with await a.send("desk@b", "100") as mailbox:
            assert [await mailbox.receive() for _ in range(100)] == [str(number) for number in range(100)]


async def test_a_request_cannot_be_handed_on_to_nobody_and_its_worker_may_still_reply(
    autojump_clock: MockClock, two: Two
) -> None:
    class Tries:
        async def handle_message(self, context: Context, message: str) -> None:
            try:
                await context.forward("nobody@b")
            except WorkerNotFound:
                await context.reply("nobody there")

    a, _ = two
    await a.start_worker("tries", Tries())

    assert await a.send_and_receive("tries", "hello") == "nobody there"


# --- timers


async def test_timers_send_to_far_workers(autojump_clock: MockClock, two: Two) -> None:
    a, b = two
    notes = Notes()
    await b.start_worker("notes", notes)

    a.send_after(2, "notes@b", "once")
    every = a.send_every(3, "notes@b", "again")
    await trio.sleep(10)

    assert notes.received == [("@a", "once"), ("@a", "again"), ("@a", "again"), ("@a", "again")]
    every.cancel()


async def test_a_timer_for_a_far_worker_that_is_not_there_is_a_dead_letter(autojump_clock: MockClock, two: Two) -> None:
    a, _ = two
    letters = dead_letters_of(a)

    a.send_after(1, "nobody@b", "lost")
    a.send_after(1, "nobody@elsewhere", "lost too")
    await trio.sleep(5)

    assert sorted((letter.to, letter.message) for letter in letters) == [
        ("nobody@b", "lost"),
        ("nobody@elsewhere", "lost too"),
    ]


async def test_a_worker_of_a_leaving_node_has_all_replies_that_it_asked_for(autojump_clock: MockClock) -> None:
    class Slow:
        async def handle_message(self, context: Context, message: str) -> None:
            for number in range(3):
                await trio.sleep(0.5)
                await context.reply(str(number))

    class Asks:
        got: list[str]

        async def handle_message(self, context: Context, message: str) -> None:
            async with await context.node.send("slow@b", "go") as mailbox:  # type: ignore[attr-defined]
                self.got = [await mailbox.receive() for _ in range(3)]

    network = FaultyNetwork()
    async with on(network, "b") as b:
        await b.start_worker("slow", Slow())
        asks = Asks()
        async with on(network, "a") as a:
            await a.connect("wss://b:1")
            await a.start_worker("asks", asks)
            await a.send_message("asks", "go")
            await trio.sleep(0.7)

    assert asks.got == ["0", "1", "2"]


# --- what a worker hands on to a third node


class HandsOn:
    """Forwards what it gets to a worker of node ``c``."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.forward("far@c")


@pytest.mark.parametrize("size", [1, 100_000])
async def test_a_conversation_that_was_handed_on_leaves_nothing_behind_anywhere(
    autojump_clock: MockClock, size: int
) -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        await b.start_worker("hands-on", HandsOn())
        await c.start_worker("far", Echo())

        async with await a.send("hands-on@b", "x" * size) as mailbox:
            assert await mailbox.receive() == "x" * size
        await trio.sleep(1)

        for node in (a, b, c):
            assert node._remoting is not None
            for partner in node._remoting._partners.values():
                assert not partner._outgoing._conversations
                assert not partner._outgoing._handed_on
                assert not partner._incoming._conversations


async def test_a_request_that_was_handled_here_and_handed_on_is_never_said_to_be_not_sent(
    autojump_clock: MockClock,
) -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        await b.start_worker("hands-on", HandsOn())
        await c.start_worker("far", Sleeper())
        await a.send_message("hands-on@b", "9")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_stopped, a)
            await trio.sleep(1)
            await c.stop_worker("far", timeout=0)


async def _expect_stopped(node: Node) -> None:
    with pytest.raises(WorkerStopped) as caught:
        await node.send_and_receive("hands-on@b", "1")
    assert caught.value.outcome == "maybe_handled"
