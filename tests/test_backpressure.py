"""Full mailboxes: who waits, for how long, in which order, and what becomes of what was not sent (B1, B3)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import (
    CallCycle,
    Context,
    DeadLetter,
    MailboxFull,
    Node,
    WorkerFailed,
    WorkerNotFound,
    WorkerStopped,
    open_node,
)
from autonomy._actors.queue import Queue
from autonomy._sansio.envelope import Envelope

from .workers import Echo, Recorder


class Gated(Recorder):
    """Notes each message, then waits until it is let through."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = trio.Event()

    async def handle_message(self, context: Context, message: str) -> None:
        self.received.append(message)
        await self.gate.wait()
        await context.reply(message)


async def full(node: Node, capacity: int = 2) -> Gated:
    """Start a worker `gated` that holds one message and has as many more in its mailbox as fit."""
    gated = Gated()
    await node.start_worker("gated", gated, mailbox_capacity=capacity)
    await node.send_message("gated", "held")
    await wait_all_tasks_blocked()
    for number in range(capacity):
        await node.send_message("gated", f"queued {number}")
    return gated


# ---- waiting ---------------------------------------------------------------------------------------------------------


async def test_a_mailbox_holds_1000_messages_unless_told_otherwise(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("gated", Gated())
    node.send_nowait("gated", "held")
    await wait_all_tasks_blocked()

    for _ in range(1000):
        node.send_nowait("gated", "queued")

    with pytest.raises(MailboxFull, match="mailbox of 'gated' on node 'n' is full"):
        node.send_nowait("gated", "one too many")
    [info] = await node.list_workers()
    assert info["mailbox"] == 1000


async def test_a_sender_waits_for_room(node: Node, autojump_clock: MockClock) -> None:
    gated = await full(node)
    sent: list[float] = []

    async def send() -> None:
        await node.send_message("gated", "waited")
        sent.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await trio.sleep(7)
        gated.gate.set()
    await wait_all_tasks_blocked()

    assert sent == [7]
    assert gated.received == ["held", "queued 0", "queued 1", "waited"]


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 30), (3, 3), (0, 0), (-1, 0)])
async def test_without_room_within_its_time_a_message_is_mailbox_full(
    node: Node, autojump_clock: MockClock, timeout: float | None, seconds: float
) -> None:
    gated = await full(node)

    with pytest.raises(MailboxFull, match=r"stayed full for (30|3|0|-1) s") as caught:
        await node.send_message("gated", "unsent", timeout=timeout)

    assert trio.current_time() == seconds
    assert (caught.value.outcome, caught.value.worker, caught.value.elapsed) == ("not_sent", "gated", seconds)
    gated.gate.set()
    await wait_all_tasks_blocked()
    assert gated.received == ["held", "queued 0", "queued 1"]


async def test_a_request_waits_for_room_and_for_its_reply_within_one_timeout(
    node: Node, autojump_clock: MockClock
) -> None:
    gated = await full(node)

    with pytest.raises(MailboxFull, match="timeout") as caught:
        await node.send_and_receive("gated", "unsent", timeout=3)

    assert (caught.value.outcome, caught.value.elapsed) == ("not_sent", 3)
    assert node.statistics().waiting_requests == 0
    gated.gate.set()
    assert await node.send_and_receive("gated", "now", timeout=3) == "now"


async def test_send_nowait_does_not_overtake_those_who_wait(node: Node, autojump_clock: MockClock) -> None:
    gated = await full(node, capacity=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.send_message, "gated", "waited")
        await wait_all_tasks_blocked()
        with pytest.raises(MailboxFull):
            node.send_nowait("gated", "pushy")
        gated.gate.set()
    await wait_all_tasks_blocked()

    assert gated.received == ["held", "queued 0", "waited"]


async def test_senders_get_room_in_the_order_in_which_they_came(node: Node, autojump_clock: MockClock) -> None:
    gated = await full(node)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            if number % 2:
                nursery.start_soon(node.send_message, "gated", str(number))
            else:
                nursery.start_soon(node.send_and_receive, "gated", str(number))
            await wait_all_tasks_blocked()
        gated.gate.set()

    await wait_all_tasks_blocked()
    assert gated.received[3:] == [str(number) for number in range(20)]


async def test_a_cancelled_sender_has_not_sent(node: Node, autojump_clock: MockClock) -> None:
    gated = await full(node)

    for send in (node.send_message, node.send_and_receive, node.send):
        with trio.move_on_after(2) as scope:
            await send("gated", "cancelled")
        assert scope.cancelled_caught
    gated.gate.set()
    await wait_all_tasks_blocked()

    assert gated.received == ["held", "queued 0", "queued 1"]
    assert node.statistics().waiting_requests == 0


async def test_a_cancelled_sender_leaves_the_queue_of_senders_in_order(node: Node, autojump_clock: MockClock) -> None:
    gated = await full(node)
    scopes = [trio.CancelScope() for _ in range(10)]

    async def send(number: int) -> None:
        with scopes[number]:
            await node.send_message("gated", str(number))

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(send, number)
            await wait_all_tasks_blocked()
        for number in (0, 4, 5, 9):
            scopes[number].cancel()
        await wait_all_tasks_blocked()
        gated.gate.set()
    await wait_all_tasks_blocked()

    assert gated.received[3:] == ["1", "2", "3", "6", "7", "8"]


# ---- the worker ends -------------------------------------------------------------------------------------------------


async def test_when_the_worker_stops_nothing_of_those_who_wait_is_lost_in_silence(
    node: Node, autojump_clock: MockClock
) -> None:
    gated = await full(node)
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    refused: list[str] = []

    async def send(number: int) -> None:
        try:
            await node.send_message("gated", f"message {number}")
        except WorkerNotFound:
            refused.append(f"message {number}")

    async def ask(number: int) -> None:
        with pytest.raises((WorkerStopped, WorkerNotFound), match="timeout") as caught:
            await node.send_and_receive("gated", f"request {number}")
        assert isinstance(caught.value, (WorkerStopped, WorkerNotFound))
        assert caught.value.outcome == "not_sent"
        refused.append(f"request {number}")

    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(send, number)
            nursery.start_soon(ask, number)
        await trio.sleep(1)
        nursery.start_soon(node.stop_worker, "gated")
        await wait_all_tasks_blocked()
        gated.gate.set()

    assert trio.current_time() == 1
    told = sorted([letter.message for letter in lost] + refused)
    assert told == sorted(
        ["queued 0", "queued 1", *(f"{kind} {number}" for kind in ("message", "request") for number in range(3))]
    )
    assert gated.received == ["held"]


# ---- to itself -------------------------------------------------------------------------------------------------------


async def test_a_worker_that_sends_to_its_own_full_mailbox_gets_mailbox_full_at_once(
    node: Node, autojump_clock: MockClock
) -> None:
    class Echoing:
        async def handle_message(self, context: Context, message: str) -> None:
            if message == "start":
                await context.send_message(context.name, "1")
                await context.node.send_message(context.name, "2")
                await context.send_message(context.name, "3")

    await node.start_worker("echoing", Echoing(), mailbox_capacity=2)

    with pytest.raises(WorkerFailed, match=r"MailboxFull: .*it is its own worker that sends to it"):
        await node.send_and_receive("echoing", "start")

    assert trio.current_time() == 0


async def test_a_worker_that_asks_itself_gets_call_cycle_even_with_a_full_mailbox(
    node: Node, autojump_clock: MockClock
) -> None:
    class Asking:
        async def handle_message(self, context: Context, message: str) -> None:
            if message == "filler":
                return
            await context.send_message(context.name, "filler")
            try:
                await context.send_and_receive(context.name, "hello")
            except CallCycle:
                await context.reply("cycle")

    await node.start_worker("asking", Asking(), mailbox_capacity=1)

    assert await node.send_and_receive("asking", "go") == "cycle"


# ---- nobody else waits -----------------------------------------------------------------------------------------------


async def test_a_full_mailbox_holds_up_no_other_worker(node: Node, autojump_clock: MockClock) -> None:
    await full(node)
    await node.start_worker("echo", Echo())

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(node.send_message, "gated", "waits")
        for number in range(100):
            assert await node.send_and_receive("echo", str(number), timeout=1) == str(number)
        assert trio.current_time() == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("capacity", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError), ("1", TypeError)]
)
async def test_a_capacity_that_cannot_be_is_refused(
    node: Node, autojump_clock: MockClock, capacity: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match="mailbox_capacity"):
        await node.start_worker("echo", Echo(), mailbox_capacity=capacity)

    assert await node.list_workers() == []


# ---- for all ---------------------------------------------------------------------------------------------------------

Plan = Sequence[tuple[float, float]]
"""For each sender: when it sends, and how long it waits for room before it is cancelled."""


def check_order_and_bound(plan: Plan, capacity: int, pace: float) -> None:
    """Send by `plan` to a worker that takes `pace` seconds; raise AssertionError if a promise is not kept."""

    async def scenario() -> None:
        handled: list[str] = []
        begun: list[str] = []
        sent: set[str] = set()
        most = 0

        class Slow:
            async def handle_message(self, context: Context, message: str) -> None:
                nonlocal most
                most = max(most, len(sent) - len(handled) - 1)
                handled.append(message)
                await trio.sleep(pace)

        async def send(number: int, when: float, patience: float) -> None:
            await trio.sleep(when + number / 1024)  # so that no two come at once
            begun.append(str(number))
            with trio.move_on_after(patience):
                await node.send_message("slow", str(number), timeout=1000)
                sent.add(str(number))

        async with open_node(stall_warning=None, drain_timeout=1000) as node:
            await node.start_worker("slow", Slow(), mailbox_capacity=capacity)
            async with trio.open_nursery() as nursery:
                for number, (when, patience) in enumerate(plan):
                    nursery.start_soon(send, number, when, patience)
        assert handled == [number for number in begun if number in sent]
        assert most <= capacity + 1  # what a sender knows to be sent, and the worker has yet to begin

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


@settings(max_examples=100, deadline=None)
@given(
    plan=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.1, 1.1, 2.3, 100.0])), max_size=20),
    capacity=st.integers(1, 4),
    pace=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_what_was_sent_is_handled_once_in_order_and_what_was_cancelled_never(
    plan: Plan, capacity: int, pace: float
) -> None:
    check_order_and_bound(plan, capacity, pace)


@pytest.mark.parametrize("bug", ["last come first served", "sent although cancelled"])
def test_the_property_catches_a_queue_that_has(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    put = Queue.put

    async def overtaking(self: Queue, envelope: Envelope) -> None:
        await trio.sleep(10 / (int(envelope.body) + 1))
        await put(self, envelope)

    async def stubborn(self: Queue, envelope: Envelope) -> None:
        with trio.CancelScope(shield=True):
            await put(self, envelope)
        await trio.lowlevel.checkpoint_if_cancelled()

    monkeypatch.setattr(Queue, "put", overtaking if bug == "last come first served" else stubborn)
    plan = [(0.0, 100.0), (0.0, 100.0), (0.0, 100.0), (0.0, 0.1), (0.0, 100.0), (0.0, 100.0)]

    with pytest.raises(AssertionError):
        check_order_and_bound(plan, 1, 1.0)
