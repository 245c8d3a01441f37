"""What goes with a worker's asyncio tasks: what is left of the request and its call chain (Q7), and the sender (D4).

The first two end with the handler, the third with the worker.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from autonomy import (
    CallCycle,
    Context,
    DeadlineExceeded,
    MailboxFull,
    WorkerStopped,
    aio,
    open_node,
)

from .mixed_places import LONG, NEW_LOOPS, TICK, Does, NewLoop, does, run_in
from .workers import Echo

# --- deadlines and call chains (Q7)


class Never:
    """Keeps every request waiting."""

    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep_forever()


async def test_a_handler_s_asyncio_task_has_what_is_left_of_the_request(autojump_clock: MockClock) -> None:
    async def action(context: Context) -> str:
        async def ask() -> float:
            began = trio.current_time()
            with pytest.raises(DeadlineExceeded):
                await context.node.send_and_receive("never", "", timeout=LONG)
            return trio.current_time() - began

        async def ask_in_a_task() -> float:
            return await asyncio.create_task(ask())

        await trio.sleep(1)
        took = await asyncio.gather(ask(), ask_in_a_task(), asyncio.create_task(ask()))
        return " ".join(f"{seconds:.1f}" for seconds in took)

    replies: list[str] = []

    async def note(context: Context) -> None:
        replies.append(await action(context))

    async with open_node(stall_warning=None) as node:
        await node.start_worker("never", Never())
        with pytest.raises(DeadlineExceeded):
            await does(node, note, timeout=5)
        await trio.sleep(1)
        await node.stop_worker("never", timeout=0)

    assert replies == ["4.0 4.0 4.0"]


async def test_a_mailbox_in_a_handler_s_asyncio_task_has_what_is_left(autojump_clock: MockClock) -> None:
    took: list[float] = []

    async def action(context: Context) -> None:
        async def receive() -> None:
            began = trio.current_time()
            async with await context.node.send("never", "") as mailbox:  # type: ignore[attr-defined]  # a Node
                with pytest.raises(DeadlineExceeded):
                    await mailbox.receive(timeout=LONG)
            took.append(trio.current_time() - began)

        await asyncio.create_task(receive())

    async with open_node(stall_warning=None) as node:
        await node.start_worker("never", Never())
        with pytest.raises(DeadlineExceeded):
            await does(node, action, timeout=5)
        await node.stop_worker("never", timeout=0)

    assert took == [pytest.approx(5)]


class Outlives:
    """Makes an asyncio task that outlives its handler, and makes a request when it is told."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.go = asyncio.Event()
        self.outcome = ""
        self.took = 0.0

    async def handle_message(self, context: Context, message: str) -> None:
        if message == "leave":
            self.task = asyncio.create_task(self._ask(context.node))
        elif message == "go":
            self.go.set()
            await asyncio.sleep(20)
        await context.reply(message)

    async def _ask(self, node: Any) -> None:
        await self.go.wait()
        began = trio.current_time()
        try:
            self.outcome = await node.send_and_receive(self._address, "asked", timeout=50)
        except Exception as error:  # noqa: BLE001  # which one is looked at
            self.outcome = type(error).__name__
        self.took = trio.current_time() - began


async def test_a_task_that_outlives_its_handler_has_time_of_its_own(autojump_clock: MockClock) -> None:
    outlives = Outlives("never")
    async with open_node(stall_warning=None) as node:
        await node.start_worker("never", Never())
        await node.start_worker("outlives", outlives)
        await node.send_and_receive("outlives", "leave", timeout=5)
        await trio.sleep(10)

        await node.send_and_receive("outlives", "go", timeout=30)
        await trio.sleep(100)
        await node.stop_worker("never", timeout=0)

    assert outlives.outcome == "DeadlineExceeded"
    assert outlives.took == pytest.approx(50)


async def test_a_task_that_outlives_its_handler_may_ask_its_own_worker(autojump_clock: MockClock) -> None:
    outlives = Outlives("outlives")
    async with open_node(stall_warning=None) as node:
        await node.start_worker("outlives", outlives)
        await node.send_and_receive("outlives", "leave", timeout=5)

        await node.send_and_receive("outlives", "go", timeout=30)
        await trio.sleep(1)

    assert outlives.outcome == "asked"


async def test_a_handler_s_asyncio_task_that_asks_its_own_worker_is_a_cycle_at_once(autojump_clock: MockClock) -> None:
    async def through_another(context: Context) -> str:
        return await context.send_and_receive("back", "")

    async def back(context: Context) -> None:
        async def ask() -> None:
            with pytest.raises(CallCycle):
                await context.node.send_and_receive("does", "")
            with pytest.raises(CallCycle):
                await context.send_and_receive("back", "")

        began = trio.current_time()
        await asyncio.gather(ask(), asyncio.create_task(ask()))
        assert trio.current_time() == began

    async with open_node(stall_warning=None) as node:
        await node.start_worker("back", Does(back))

        assert await does(node, through_another) == "None"


@pytest.mark.parametrize("new_loop", NEW_LOOPS)
def test_deadlines_and_chains_travel_in_an_asyncio_application_too(new_loop: NewLoop) -> None:
    seen: list[str] = []

    async def action(context: Context) -> None:
        async def ask(name: str) -> None:
            try:
                await context.node.send_and_receive(name, "", timeout=LONG)
            except (CallCycle, DeadlineExceeded) as error:
                seen.append(type(error).__name__)

        await asyncio.gather(ask("never"), ask("does"))

    async def program() -> None:
        async with aio.open_node(stall_warning=None) as node:
            await node.start_worker("never", Never())
            with pytest.raises(DeadlineExceeded):
                await does(node, action, timeout=20 * TICK)
            await node.stop_worker("never", timeout=0)

    run_in(new_loop)(program)

    assert seen == ["CallCycle", "DeadlineExceeded"]


# --- the sender (D4)


class Senders:
    """Notes who sent each message."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def handle_message(self, context: Context, message: str) -> None:
        self.seen.append((message, context.sender.partition("@")[0]))


async def send_in_turn(context: Context) -> None:
    async def send(message: str) -> None:
        await context.node.send_message("senders", message)

    for number in range(0, 30, 3):
        await context.send_message("senders", str(number))
        await asyncio.create_task(send(str(number + 1)))
        await asyncio.gather(send(str(number + 2)))


async def test_a_worker_s_asyncio_tasks_send_as_the_worker_and_in_its_order(autojump_clock: MockClock) -> None:
    senders = Senders()
    async with open_node(stall_warning=None) as node:
        await node.start_worker("senders", senders)

        await does(node, send_in_turn)

    assert senders.seen == [(str(number), "does") for number in range(30)]


@pytest.mark.parametrize("new_loop", NEW_LOOPS)
def test_so_they_do_in_an_asyncio_application_whose_own_tasks_are_the_program(new_loop: NewLoop) -> None:
    senders = Senders()

    async def program() -> None:
        async with aio.open_node(stall_warning=None) as node:
            await node.start_worker("senders", senders)
            await does(node, send_in_turn)
            await node.send_message("senders", "here")
            await asyncio.gather(node.send_message("senders", "there"))

    run_in(new_loop)(program)

    assert senders.seen == [*((str(number), "does") for number in range(30)), ("here", ""), ("there", "")]


async def test_a_task_that_outlives_its_handler_still_sends_as_the_worker(autojump_clock: MockClock) -> None:
    senders = Senders()

    async def action(context: Context) -> None:
        async def send() -> None:
            await asyncio.sleep(1)
            await node.send_message("senders", "later")

        tasks.append(asyncio.create_task(send()))

    tasks: list[asyncio.Task[None]] = []
    async with open_node(stall_warning=None) as node:
        await node.start_worker("senders", senders)
        await node.start_worker("does", Does(action))
        await node.send_and_receive("does", "")
        await trio.sleep(2)

    assert senders.seen == [("later", "does")]


async def test_an_asyncio_task_of_a_worker_that_fills_its_own_mailbox_is_told_at_once(
    autojump_clock: MockClock,
) -> None:
    async def action(context: Context) -> None:
        async def fill() -> None:
            await context.node.send_message("full", "room for one")
            with pytest.raises(MailboxFull, match="its own worker"):
                await context.node.send_message("full", "one too many")

        if not begun:
            begun.append(trio.current_time())
            await asyncio.create_task(fill())
            assert trio.current_time() == begun[0]

    begun: list[float] = []
    async with open_node(stall_warning=None) as node:
        await node.start_worker("full", Does(action), mailbox_capacity=1)

        assert await node.send_and_receive("full", "") == "None"


async def test_a_worker_s_asyncio_task_that_stops_its_worker_does_not_wait_for_itself(
    autojump_clock: MockClock,
) -> None:
    async def action(context: Context) -> str:
        began = trio.current_time()
        await asyncio.create_task(node.stop_worker("does", timeout=30))
        return f"after {trio.current_time() - began:.1f} s"

    async with open_node(stall_warning=None) as node:
        await node.start_worker("does", Does(action))

        assert await node.send_and_receive("does", "", timeout=20) == "after 0.0 s"


async def test_an_asyncio_task_of_a_worker_that_has_ended_starts_no_children(autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    async def action(context: Context) -> None:
        async def start_at_the_end() -> None:
            try:
                await asyncio.sleep(LONG)
            finally:
                with pytest.raises(WorkerStopped) as caught:
                    await context.start_worker("child", Echo())
                outcomes.append(caught.value.outcome)

        tasks.append(asyncio.create_task(start_at_the_end()))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    async with open_node(stall_warning=None) as node:
        await does(node, action)

        assert await node.list_workers() == []

    assert outcomes == ["not_sent"]
