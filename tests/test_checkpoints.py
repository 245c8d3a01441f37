"""Which calls let others run, and which can be cancelled (B4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count

import pytest
import trio
from trio.testing import MockClock, assert_checkpoints, wait_all_tasks_blocked

from autonomy import CallCycle, ChildSpec, Context, Node, NoReply, gather, open_node

from .workers import Echo, Recorder


class Hooked(Echo):
    """Has the hooks that a worker may have."""

    async def on_start(self, context: Context) -> None:
        return

    async def on_stop(self, context: Context) -> None:
        return


async def watch(node: Node, address: str) -> None:
    async with node.watch(address):
        pass


async def watch_nobody_down(node: Node) -> None:
    async with node.watch("nobody") as nobody:
        await nobody.down()


async def receive(node: Node) -> None:
    mailbox = await node.create_mailbox("box")
    node.send_nowait("box", "hello")
    with assert_checkpoints():
        await mailbox.receive()


async def iterate(node: Node) -> None:
    mailbox = await node.create_mailbox("box")
    node.send_nowait("box", "hello")
    with assert_checkpoints():
        async for _ in mailbox:
            break


async def send_from_a_mailbox(node: Node) -> None:
    mailbox = await node.create_mailbox("box")
    with assert_checkpoints():
        await mailbox.send("echo", "hello")


async def close_a_mailbox(node: Node) -> None:
    mailbox = await node.create_mailbox("box")
    with assert_checkpoints():
        async with mailbox:
            pass


CALLS: dict[str, Callable[[Node], Awaitable[object]]] = {
    "start_worker": lambda node: node.start_worker("new", Echo()),
    "start_worker with hooks": lambda node: node.start_worker("new", Hooked()),
    "start_worker, keep": lambda node: node.start_worker("echo", Echo(), on_conflict="keep"),
    "start_worker, replace": lambda node: node.start_worker("echo", Echo(), on_conflict="replace"),
    "stop_worker": lambda node: node.stop_worker("echo"),
    "stop_worker with hooks": lambda node: node.stop_worker("hooked"),
    "stop_worker of a group": lambda node: node.stop_worker("group"),
    "list_workers": lambda node: node.list_workers(),
    "start_group": lambda node: node.start_group("more", [ChildSpec("extra", Echo)]),
    "send_and_receive": lambda node: node.send_and_receive("echo", "hello"),
    "any": lambda node: node.any("echo", "hello"),
    "all": lambda node: node.all("echo", "hello"),
    "send": lambda node: node.send("echo", "hello"),
    "create_mailbox": lambda node: node.create_mailbox(),
    "Mailbox.receive": receive,
    "Mailbox.__anext__": iterate,
    "Mailbox.send": send_from_a_mailbox,
    "Mailbox.__aexit__": close_a_mailbox,
    "watch": lambda node: watch(node, "echo"),
    "watch of nobody": lambda node: watch(node, "nobody"),
    "Watch.down": watch_nobody_down,
    "identifier": lambda node: node.identifier(),
    "ready": lambda node: node.ready(),
    "stop": lambda node: node.stop(),
    "gather": lambda node: gather(node.ready()),
    "gather of nothing": lambda node: gather(),
}


@pytest.fixture
async def peopled(node: Node) -> Node:
    await node.start_worker("echo", Echo())
    await node.start_worker("hooked", Hooked())
    await node.start_group("group", [ChildSpec("member", Echo)])
    return node


@pytest.mark.parametrize("call", CALLS)
async def test_every_async_call_is_a_checkpoint(peopled: Node, autojump_clock: MockClock, call: str) -> None:
    with assert_checkpoints():
        await CALLS[call](peopled)


IN_VAIN: dict[str, Callable[[Node], Awaitable[object]]] = {
    "send_and_receive": lambda node: node.send_and_receive("nobody", "hello"),
    "send_and_receive, elsewhere": lambda node: node.send_and_receive("echo@elsewhere", "hello"),
    "send_and_receive, no time": lambda node: node.send_and_receive("echo", "hello", timeout=0),
    "any": lambda node: node.any("nobody", "hello"),
    "all": lambda node: node.all("nobody", "hello"),
    "send": lambda node: node.send("nobody", "hello"),
    "stop_worker": lambda node: node.stop_worker("nobody"),
}


@pytest.mark.parametrize("call", IN_VAIN)
async def test_a_call_that_fails_at_once_is_a_checkpoint_too(
    peopled: Node, autojump_clock: MockClock, call: str
) -> None:
    with assert_checkpoints(), pytest.raises(NoReply):
        await IN_VAIN[call](peopled)


async def test_a_request_that_would_come_back_is_a_checkpoint_too(peopled: Node, autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    class Asking:
        async def handle_message(self, context: Context, message: str) -> None:
            with assert_checkpoints(), pytest.raises(CallCycle):
                await context.send_and_receive(context.name, message)
            outcomes.append("checkpoint")

    await peopled.start_worker("asking", Asking())
    await peopled.send_message("asking", "go")
    await wait_all_tasks_blocked()

    assert outcomes == ["checkpoint"]


async def test_a_request_that_cannot_be_sent_can_be_cancelled(node: Node, autojump_clock: MockClock) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await node.send_and_receive("nobody", "hello")

    assert scope.cancelled_caught


IN_A_HANDLER: dict[str, Callable[[Context], Awaitable[object]]] = {
    "start_worker": lambda context: context.start_worker("new", Echo()),
    "send_and_receive": lambda context: context.send_and_receive("echo", "hello"),
    "forward": lambda context: context.forward("echo"),
    "stop_worker of itself": lambda context: context.node.stop_worker(context.name),
    "Node.stop": lambda context: context.node.stop(),  # type: ignore[attr-defined]  # this one is a Node
}


@pytest.mark.parametrize("call", IN_A_HANDLER)
async def test_every_async_call_of_a_handler_is_a_checkpoint(
    peopled: Node, autojump_clock: MockClock, call: str
) -> None:
    outcomes: list[str] = []

    class Calling:
        async def handle_message(self, context: Context, message: str) -> None:
            try:
                with assert_checkpoints():
                    await IN_A_HANDLER[call](context)
            except AssertionError as error:
                outcomes.append(str(error))
            else:
                outcomes.append("checkpoint")

    await peopled.start_worker("calling", Calling())
    await peopled.send_message("calling", "go")
    await wait_all_tasks_blocked()

    assert outcomes == ["checkpoint"]


# ---- send_message and reply ------------------------------------------------------------------------------------------


def frozen_clock() -> float:
    """Time that does not pass: no slice is ever used up."""
    return 1.0


class Bystander:
    """A task that counts how often it ran."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self) -> None:
        while True:
            self.runs += 1
            await trio.lowlevel.checkpoint()


async def test_send_message_and_reply_are_no_schedule_points_while_the_slice_lasts(
    autojump_clock: MockClock,
) -> None:
    bystander = Bystander()
    ran: list[int] = []

    class Replying:
        async def handle_message(self, context: Context, message: str) -> None:
            before = bystander.runs
            await context.reply("hello")
            ran.append(bystander.runs - before)

    async with open_node(stall_warning=None, slice_clock=frozen_clock) as node, trio.open_nursery() as nursery:
        await node.start_worker("recorder", Recorder())
        await node.start_worker("replying", Replying())
        await node.send_message("recorder", "the first one begins a slice")
        nursery.start_soon(bystander.run)
        await trio.lowlevel.checkpoint()

        before = bystander.runs
        for _ in range(100):
            await node.send_message("recorder", "hello")
        ran.append(bystander.runs - before)
        await node.send_and_receive("replying", "hello")
        await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    assert ran == [0, 0]


async def test_a_send_that_waits_for_room_lets_others_run(autojump_clock: MockClock) -> None:
    bystander = Bystander()

    async with open_node(stall_warning=None, slice_clock=frozen_clock) as node, trio.open_nursery() as nursery:
        await node.start_worker("recorder", Recorder(), mailbox_capacity=10)
        nursery.start_soon(bystander.run)
        for _ in range(100):
            await node.send_message("recorder", "hello")
        runs = bystander.runs
        nursery.cancel_scope.cancel()

    assert runs >= 5


@pytest.mark.parametrize("microseconds", [1, 10, 100, 2000])
async def test_a_burst_of_sends_lets_others_run_within_about_a_millisecond(
    autojump_clock: MockClock, microseconds: int
) -> None:
    bystander = Bystander()
    ticks = count()
    sends = 5000

    def slice_clock() -> float:  # every look at it costs what a send costs
        return next(ticks) * microseconds / 1e6

    longest = since = 0
    async with open_node(stall_warning=None, slice_clock=slice_clock) as node, trio.open_nursery() as nursery:
        await node.start_worker("recorder", Recorder(), mailbox_capacity=2 * sends)
        nursery.start_soon(bystander.run)
        for _ in range(sends):
            before = bystander.runs
            await node.send_message("recorder", "hello")
            since = 0 if bystander.runs > before else since + 1
            longest = max(longest, since)
        nursery.cancel_scope.cancel()

    # Twice, for Trio runs the tasks of one round in any order: the sender last in one, and first in the next.
    assert longest <= 2 * max(1, 1000 / microseconds) + 1


async def test_a_send_by_full_address_sends_and_lets_others_run_alike(autojump_clock: MockClock) -> None:
    recorder = Recorder()

    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("recorder", recorder)
        for number in range(10):
            await node.send_message("recorder" if number % 2 else "recorder@n", str(number))
        await wait_all_tasks_blocked()

    assert recorder.received == [str(number) for number in range(10)]


async def test_send_message_and_reply_are_cancellation_points(node: Node, autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    class Replying:
        async def handle_message(self, context: Context, message: str) -> None:
            with trio.CancelScope() as scope:
                scope.cancel()
                await context.reply("unsaid")
            outcomes.append(f"reply cancelled: {scope.cancelled_caught}")
            await context.reply("said")

    recorder = Recorder()
    await node.start_worker("recorder", recorder)
    await node.start_worker("replying", Replying())

    with trio.CancelScope() as scope:
        scope.cancel()
        await node.send_message("recorder", "unsent")
    answer = await node.send_and_receive("replying", "hello")

    assert scope.cancelled_caught
    assert outcomes == ["reply cancelled: True"]
    assert answer == "said"
    assert recorder.received == []


@pytest.mark.parametrize("address", ["recorder", "recorder@n"])
async def test_a_send_cancelled_while_it_lets_others_run_was_not_sent(autojump_clock: MockClock, address: str) -> None:
    recorder = Recorder()
    returned: list[str] = []
    ticks = count()

    async def send(message: str, scope: trio.CancelScope) -> None:
        with scope:
            about_to_send.set()
            await node.send_message(address, message)
            returned.append(message)

    async with open_node("n", stall_warning=None, slice_clock=lambda: float(next(ticks))) as node:
        await node.start_worker("recorder", recorder)
        for number in range(50):
            scope, about_to_send = trio.CancelScope(), trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send, str(number), scope)
                await about_to_send.wait()
                scope.cancel()
        await wait_all_tasks_blocked()

    assert recorder.received == returned
