"""The end of a node: in good order, or cut short."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import ChildSpec, Context, Node, NodeDown, NoReply, WorkerStopped, open_node

from .workers import Echo, Recorder, Sleeper


class Leaving:
    """Stops its node, once or more often, and replies."""

    async def handle_message(self, context: Context, message: str) -> None:
        for _ in range(int(message)):
            await context.node.stop()  # type: ignore[attr-defined]  # NodeRef is what all nodes have; this one is a Node
        await context.reply("on it")


class Noting:
    """Sleeps as long as a message says, and as long as `on_stop_takes` in on_stop; notes in `log` what it ended."""

    def __init__(self, name: str, log: list[str], on_stop_takes: float = 0.0) -> None:
        self.name = name
        self.log = log
        self.on_stop_takes = on_stop_takes

    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep(float(message))
        self.log.append(f"{self.name} handled {message}")

    async def on_stop(self, context: Context) -> None:
        await trio.sleep(self.on_stop_takes)
        self.log.append(f"{self.name} stopped")


class Parent:
    """Starts its children when it starts, in order."""

    def __init__(self, children: dict[str, Noting], log: list[str]) -> None:
        self.children = children
        self.log = log

    async def on_start(self, context: Context) -> None:
        for name, child in self.children.items():
            await context.start_worker(name, child)

    async def handle_message(self, context: Context, message: str) -> None:
        return

    async def on_stop(self, context: Context) -> None:
        self.log.append("parent stopped")


class Passing:
    """Passes the message on to another worker after a second, and notes the error if that cannot be done."""

    def __init__(self, whom: str) -> None:
        self.whom = whom
        self.errors: list[Exception] = []

    async def handle_message(self, context: Context, message: str) -> None:
        await trio.sleep(1)
        try:
            await context.send_message(self.whom, message)
        except NoReply as error:
            self.errors.append(error)


# ---- O3: leaving normally


async def test_leaving_finishes_what_is_queued(autojump_clock: MockClock) -> None:
    sleeper, recorder = Sleeper(), Recorder()
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("sleeper", sleeper)
        await node.start_worker("recorder", recorder)
        for _ in range(5):
            node.send_nowait("sleeper", "1")
        node.send_nowait("recorder", "last words")

    assert sleeper.ended == 5
    assert recorder.received == ["last words"]
    assert trio.current_time() == pytest.approx(5, abs=0.1)


async def test_leaving_answers_requests_that_were_queued_before_it_began(autojump_clock: MockClock) -> None:
    answers: list[str] = []
    async with trio.open_nursery() as outside:

        async def ask(node: Node) -> None:
            answers.append(await node.send_and_receive("sleeper", "2"))

        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("sleeper", Sleeper())
            outside.start_soon(ask, node)
            outside.start_soon(ask, node)
            await wait_all_tasks_blocked()

    assert answers == ["2", "2"]


async def test_leaving_waits_no_longer_than_drain_timeout_for_what_is_queued(autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    async with open_node("n", stall_warning=None, drain_timeout=3) as node:
        await node.start_worker("sleeper", sleeper)
        for _ in range(1000):
            node.send_nowait("sleeper", "1")

    assert sleeper.ended in (3, 4)  # the one at hand when time is up may be finished
    assert trio.current_time() < 5
    assert node.statistics().dead_letters == 1000 - sleeper.began


async def test_leaving_stops_a_handler_that_goes_on_for_ever(autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("sleeper", sleeper)
        await node.send_message("sleeper", "inf")
        await wait_all_tasks_blocked()

    assert (sleeper.began, sleeper.ended) == (1, 0)
    assert trio.current_time() == pytest.approx(15, abs=0.1)  # to drain, and for the message at hand


async def test_leaving_stops_children_before_their_parent_in_reverse_order(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("first", Noting("first", log))
        children = {name: Noting(name, log) for name in ("child-1", "child-2")}
        await node.start_worker("parent", Parent(children, log))
        await node.start_worker("last", Noting("last", log))

    assert log == ["last stopped", "child-2 stopped", "child-1 stopped", "parent stopped", "first stopped"]


async def test_leaving_runs_on_stop_after_the_last_message(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("w", Noting("w", log, on_stop_takes=2))
        node.send_nowait("w", "1")
        node.send_nowait("w", "2")

    assert log == ["w handled 1", "w handled 2", "w stopped"]


async def test_leaving_lets_workers_talk_to_each_other(autojump_clock: MockClock) -> None:
    recorder, passing = Recorder(), Passing("recorder")
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("recorder", recorder)
        await node.start_worker("passing", passing)
        for message in ("a", "b"):
            node.send_nowait("passing", message)

    assert recorder.received == ["a", "b"]
    assert passing.errors == []


async def test_what_workers_send_each_other_while_the_node_leaves_is_handled_too(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("a", Passing("b"))
        await node.start_worker("b", Passing("c"))
        await node.start_worker("c", Passing("recorder"))
        await node.start_worker("recorder", recorder)
        node.send_nowait("a", "round the house")

    assert recorder.received == ["round the house"]


@pytest.mark.parametrize(
    "call",
    [
        lambda context: _answer_of(context.node, "echo"),
        lambda context: _said_in_a_mailbox(context, "box"),
        lambda context: _said_in_a_mailbox(context, None),
        lambda context: _answer_of_new(context.start_worker, context.node),
        lambda context: _answer_of_new(context.node.start_worker, context.node),
        lambda context: _started_group(context.node),
        lambda context: _rung(context),
    ],
    ids=["send", "create_mailbox", "create_mailbox without name", "child", "start_worker", "start_group", "send_after"],
)
async def test_a_worker_may_use_its_node_to_finish_what_is_queued(
    call: Callable[[Context], Awaitable[str]], autojump_clock: MockClock
) -> None:
    outcomes: list[str] = []

    class Busy:
        async def handle_message(self, context: Context, message: str) -> None:
            if message == "ring":
                outcomes.append("done")
                return
            await trio.sleep(1)
            outcomes.append(await call(context))

    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("echo", Echo())
        await node.start_worker("busy", Busy())
        node.send_nowait("busy", "go")

    assert outcomes[-1] == "done"
    assert node.statistics().dead_letters == 0


async def _answer_of(node: Any, name: str) -> str:
    async with await node.send(name, "done") as mailbox:
        answer: str = await mailbox.receive()
    return answer


async def _said_in_a_mailbox(context: Any, name: str | None) -> str:
    async with await context.node.create_mailbox(name) as mailbox:
        await context.send_message(mailbox.address, "done")
        answer: str = await mailbox.receive()
    return answer


async def _answer_of_new(start_worker: Any, node: Any) -> str:
    await start_worker("new", Echo())
    return await _answer_of(node, "new")


async def _started_group(node: Any) -> str:
    await node.start_group("group", [ChildSpec("member", Echo)])
    return await _answer_of(node, "member")


async def _rung(context: Context) -> str:
    context.send_after(2, context.name, "ring")  # its message waits until this handler has returned
    await trio.sleep(3)
    return "about to ring"


async def test_a_worker_that_has_ended_is_refused_as_the_program_is(autojump_clock: MockClock) -> None:
    errors: list[NodeDown] = []
    async with trio.open_nursery() as outside:

        class Gone:
            async def handle_message(self, context: Context, message: str) -> None:
                outside.start_soon(self.go_on, context.node)
                context.stop()

            async def go_on(self, node: Any) -> None:
                await trio.sleep(2)
                for call in (node.create_mailbox, lambda: node.start_worker("new", Echo())):
                    with pytest.raises(NodeDown) as caught:
                        await call()
                    errors.append(caught.value)

        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("gone", Gone())
            await node.start_worker("sleeper", Sleeper())
            node.send_nowait("gone", "go")
            await trio.sleep(1)
            node.send_nowait("sleeper", "5")

    assert [str(error) for error in errors] == ["node 'n' is stopping"] * 2


@pytest.mark.parametrize(
    "call",
    [
        lambda node: node.send_message("sleeper", "0"),
        lambda node: node.send_message("sleeper@n", "0"),
        lambda node: node.send_message("sleeper", "0", timeout=1),
        lambda node: node.send_and_receive("sleeper", "0"),
        lambda node: node.send("sleeper", "0"),
        lambda node: node.any("sleeper", "0"),
        lambda node: node.all("sleeper", "0"),
        lambda node: node.start_worker("another", Echo()),
        lambda node: node.create_mailbox(),
        lambda node: _nowait(lambda: node.send_nowait("sleeper", "0")),
        lambda node: _nowait(lambda: node.send_after(1, "sleeper", "0")),
    ],
    ids=[
        "send_message",
        "full address",
        "with timeout",
        "send_and_receive",
        "send",
        "any",
        "all",
        "start_worker",
        "create_mailbox",
        "send_nowait",
        "send_after",
    ],
)
async def test_a_node_that_is_leaving_refuses_its_program(
    call: Callable[[Node], Awaitable[object]], autojump_clock: MockClock
) -> None:
    sleeper = Sleeper()
    async with trio.open_nursery() as outside, open_node("n", stall_warning=None) as node:
        await node.start_worker("sleeper", sleeper)
        node.send_nowait("sleeper", "5")
        await wait_all_tasks_blocked()

        outside.start_soon(node.stop)
        await trio.sleep(1)
        with pytest.raises(NodeDown) as caught:
            await call(node)
        await node.stop()

    assert caught.value.outcome == "not_sent"
    assert (sleeper.began, sleeper.ended) == (1, 1)


async def _nowait(call: Callable[[], object]) -> None:
    call()


async def test_a_node_that_has_ended_refuses_everything(autojump_clock: MockClock) -> None:
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("echo", Echo())

    with pytest.raises(NodeDown, match="timeout") as caught:
        await node.send_and_receive("echo", "hello")
    assert caught.value.outcome == "not_sent"
    with pytest.raises(NodeDown):
        await node.start_worker("another", Echo())
    assert await node.list_workers() == []


async def test_a_request_that_still_waits_at_the_end_gets_an_error(autojump_clock: MockClock) -> None:
    errors: list[NoReply] = []
    async with trio.open_nursery() as outside:

        async def ask(node: Node) -> None:
            with pytest.raises((NodeDown, WorkerStopped)) as caught:
                await node.send_and_receive("sleeper", "inf", timeout=math.inf)
            errors.append(caught.value)

        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("sleeper", Sleeper(), mailbox_capacity=1)
            for _ in range(3):  # one being handled, one queued, one waiting for room
                outside.start_soon(ask, node)
                await wait_all_tasks_blocked()

    assert sorted(error.outcome for error in errors) == ["maybe_handled", "not_sent", "not_sent"]
    assert node.statistics().waiting_requests == 0


async def test_a_mailbox_that_is_still_open_at_the_end_is_closed(autojump_clock: MockClock) -> None:
    read: list[str] = []
    async with trio.open_nursery() as outside:

        async def read_all(node: Node) -> None:
            async for message in await node.create_mailbox("box"):
                read.append(message)

        async with open_node("n", stall_warning=None) as node:
            outside.start_soon(read_all, node)
            await wait_all_tasks_blocked()
            await node.send_message("box", "one")

    assert read == ["one"]


async def test_timers_end_with_the_node(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("recorder", recorder)
        await node.start_worker("sleeper", Sleeper())
        timer = node.send_every(1, "recorder", "tick")
        await trio.sleep(2.5)
        node.send_nowait("sleeper", "5")

    assert recorder.received == ["tick", "tick"]
    assert not timer.cancel()


@pytest.mark.parametrize("on_stop_takes", [4.9, math.inf])
async def test_leaving_takes_25_seconds_in_all_however_many_workers_are_slow_to_stop(
    on_stop_takes: float, autojump_clock: MockClock
) -> None:
    log: list[str] = []
    async with open_node("n", stall_warning=None) as node:
        children = {f"child-{i}": Noting(f"child-{i}", log, on_stop_takes) for i in range(8)}
        await node.start_worker("parent", Parent(children, log))
        for i in range(8):
            await node.start_worker(f"w-{i}", Noting(f"w-{i}", log, on_stop_takes))
        node.send_nowait("w-0", "inf")

    assert trio.current_time() <= 26  # the last second is that of an on_stop that was cancelled


async def test_workers_slow_to_stop_take_no_more_than_the_25_seconds_even_when_idle(autojump_clock: MockClock) -> None:
    async with open_node("n", stall_warning=None) as node:
        for i in range(8):
            await node.start_worker(f"w-{i}", Noting(f"w-{i}", [], on_stop_takes=4.9))

    assert trio.current_time() <= 26


async def test_leaving_an_idle_node_takes_no_time(autojump_clock: MockClock) -> None:
    async with open_node("n", stall_warning=None) as node:
        for i in range(100):
            await node.start_worker(f"echo-{i}", Echo())

    assert trio.current_time() == 0
