"""Order, at most once, one at a time, and what becomes of what is lost: D1, D3, D4, D5 on one node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import (
    Backoff,
    Context,
    DeadLetter,
    Mailbox,
    MailboxFull,
    Node,
    Restart,
    Resume,
    WorkerFailed,
    WorkerStopped,
    open_node,
)
from autonomy._actors.process import Process
from autonomy._actors.queue import Queue
from autonomy._sansio.envelope import Envelope
from tests.workers import Recorder, Sleeper


def in_virtual_time(scenario: Callable[[], Awaitable[object]]) -> None:
    trio.run(scenario, clock=MockClock(autojump_threshold=0))


# ---- D1, D4, D5, D7: for all senders, pauses, capacities and delays of the handler


@dataclass(frozen=True)
class Step:
    """One message: how it is sent, how long its sender rests before, and what its handler does with it."""

    way: str
    rest: float
    takes: float
    fails: bool


@dataclass(frozen=True)
class Plan:
    capacity: int
    of_programs: Sequence[Sequence[Step]]
    of_workers: Sequence[Sequence[Step]]


WAYS = ("by name", "by address", "with node", "with timeout", "nowait", "request", "conversation")
TIMES = st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.5, 3.0])
STEPS = st.builds(Step, way=st.sampled_from(WAYS), rest=TIMES, takes=TIMES, fails=st.booleans())
SENDERS = st.lists(st.lists(STEPS, max_size=8), max_size=3)
PLANS = st.builds(Plan, capacity=st.integers(1, 4), of_programs=SENDERS, of_workers=SENDERS)
FULL = Plan(1, [[Step("by name", 0, 3.0, fails=False)] * 6] * 2, [[Step("with timeout", 0, 0.5, fails=True)] * 5] * 2)


@dataclass
class Target:
    """Handles each message as its step says, and notes what it saw."""

    received: list[str] = field(default_factory=list)
    at_work: int = 0
    most_at_work: int = 0

    async def handle_message(self, context: Context, message: str) -> None:
        self.received.append(message)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        _, _, takes, fails = message.split()
        try:
            if float(takes):
                await trio.sleep(float(takes))
            if fails == "True":
                raise ValueError(message)
            await context.reply(message)
        finally:
            self.at_work -= 1


@dataclass
class Sender:
    """Sends what a plan says when it is told to."""

    number: int
    steps: Sequence[Step]
    sent: list[str] = field(default_factory=list)
    mailboxes: list[Mailbox] = field(default_factory=list)

    async def handle_message(self, context: Context, message: str) -> None:
        await self.send_all(context.node, context.send_message)
        await context.reply("done")

    async def send_all(self, node: Any, send_message: Callable[..., Awaitable[object]]) -> None:
        for index, step in enumerate(self.steps):
            await trio.sleep(step.rest)
            message = f"{self.number} {index} {step.takes} {step.fails}"
            try:
                await self.send(step.way, node, send_message, message)
            except MailboxFull:
                continue
            except WorkerFailed:
                assert step.fails  # it must not fail otherwise
            self.sent.append(message)

    async def send(self, way: str, node: Any, send_message: Callable[..., Awaitable[object]], message: str) -> None:
        match way:
            case "by name":
                await send_message("target", message)
            case "by address":
                await send_message("target@n", message)
            case "with node":
                await node.send_message("target", message, node)
            case "with timeout":
                await node.send_message("target", message, timeout=1e6)
            case "nowait":
                node.send_nowait("target", message)
            case "request":
                await node.send_and_receive("target", message, timeout=1e6)
            case "conversation":
                self.mailboxes.append(await node.send("target", message))


def check_delivery(plan: Plan) -> None:
    """Run a plan, and hold the promises of order, at most once, nothing lost and one at a time against it."""

    async def scenario() -> None:
        target = Target()
        senders = [Sender(number, steps) for number, steps in enumerate([*plan.of_programs, *plan.of_workers])]
        async with open_node("n", stall_warning=None, default_timeout=1e6, drain_timeout=1e6) as node:
            await node.start_worker("target", target, mailbox_capacity=plan.capacity)
            async with trio.open_nursery() as nursery:
                for sender in senders[: len(plan.of_programs)]:
                    nursery.start_soon(sender.send_all, node, node.send_message)
                for sender in senders[len(plan.of_programs) :]:
                    await node.start_worker(f"sender-{sender.number}", sender)
                    nursery.start_soon(node.send_and_receive, f"sender-{sender.number}", "go")

        for sender in senders:
            assert [text for text in target.received if text.startswith(f"{sender.number} ")] == sender.sent
        assert target.most_at_work <= 1

    in_virtual_time(scenario)


@given(plan=PLANS)
@settings(max_examples=80, deadline=None)
def test_for_all_plans_messages_are_handled_once_one_at_a_time_in_the_order_of_each_sender(plan: Plan) -> None:
    check_delivery(plan)


def takes_the_newest(queue: Queue, capacity: int, *, original: Callable[..., None] = Queue.__init__) -> None:
    original(queue, capacity)
    take = queue.take
    taken: list[Any] = []

    def take_newest() -> Any:
        with suppress(trio.WouldBlock):
            while True:
                taken.append(take())
        if not taken:
            raise trio.WouldBlock
        return taken.pop()

    queue.take = take_newest


def puts_twice(queue: Queue, capacity: int, *, original: Callable[..., None] = Queue.__init__) -> None:
    original(queue, 2 * capacity)
    append = queue.append

    def append_twice(value: Envelope) -> None:
        append(value)
        append(value)
        queue.queued += 1

    queue.append = append_twice


def loses_when_full(queue: Queue, capacity: int, *, original: Callable[..., None] = Queue.__init__) -> None:
    original(queue, capacity)
    append = queue.append

    def append_or_forget(value: Envelope) -> None:
        try:
            append(value)
        except trio.WouldBlock:
            queue.queued -= 1

    queue.append = append_or_forget


def handles_all_at_once(process: Process, worker: Any) -> Any:
    async def handle(context: Context, message: str) -> None:
        trio.lowlevel.spawn_system_task(worker.handle_message, context, message)

    return handle


def handles_twice(process: Process, worker: Any) -> Any:
    async def handle(context: Context, message: str) -> None:
        try:
            await worker.handle_message(context, message)
        except ValueError:
            await worker.handle_message(context, message)

    return handle


@pytest.mark.parametrize(
    ("part", "name", "broken"),
    [
        (Queue, "__init__", takes_the_newest),
        (Queue, "__init__", puts_twice),
        (Queue, "__init__", loses_when_full),
        (Process, "_handler_of", handles_all_at_once),
        (Process, "_handler_of", handles_twice),
    ],
)
def test_the_check_of_delivery_notices_a_broken_part(
    part: type, name: str, broken: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_delivery(FULL)
    monkeypatch.setattr(part, name, broken)

    with pytest.raises((AssertionError, BaseExceptionGroup)):
        check_delivery(FULL)


# ---- D1: whatever supervision does

RESTARTS = Restart(max_restarts=100, backoff=Backoff(0.0, 0.0))


@given(fails=st.lists(st.booleans(), max_size=12), supervision=st.sampled_from([Resume(), RESTARTS]))
@settings(max_examples=40, deadline=None)
def test_for_all_failures_each_message_is_handled_exactly_once_by_a_worker_that_goes_on(
    fails: list[bool], supervision: Resume | Restart
) -> None:
    seen: list[str] = []

    class Flaky:
        async def handle_message(self, context: Context, message: str) -> None:
            seen.append(message)
            if fails[int(message)]:
                raise ValueError(message)

    async def scenario() -> None:
        worker = Flaky if supervision is RESTARTS else Flaky()
        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("flaky", worker, supervision=supervision)
            for number in range(len(fails)):
                await node.send_message("flaky", str(number))

    in_virtual_time(scenario)

    assert seen == [str(number) for number in range(len(fails))]


async def test_a_request_whose_worker_fails_or_dies_is_not_tried_again(node: Node, autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    await node.start_worker("sleeper", sleeper)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.stop_worker, "sleeper")
        with pytest.raises(WorkerStopped) as caught:
            await node.send_and_receive("sleeper", "20")

    assert caught.value.outcome in ("not_sent", "maybe_handled")
    await node.start_worker("sleeper", Sleeper())
    await trio.sleep(60)
    assert [worker["handled"] for worker in await node.list_workers()] == [0]


# ---- D3: what is lost is reported


async def test_messages_left_by_a_stopped_worker_become_dead_letters_and_its_requests_errors(
    node: Node, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    letters: list[DeadLetter] = []
    node.on_dead_letter = letters.append
    await node.start_worker("sleeper", Sleeper())
    await node.send_message("sleeper", "1")
    await wait_all_tasks_blocked()
    await node.send_message("sleeper", "lost 1")
    await node.send_message("sleeper@n", "lost 2")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.stop_worker, "sleeper")
        with pytest.raises(WorkerStopped, match="stopped before it handled the message") as caught:
            await node.send_and_receive("sleeper", "x")

    assert caught.value.outcome == "not_sent"
    assert caught.value.elapsed == pytest.approx(1.0)
    assert [(letter.to, letter.sender, letter.message) for letter in letters] == [
        ("sleeper@n", "@n", "lost 1"),
        ("sleeper@n", "@n", "lost 2"),
    ]
    assert all(letter.reason for letter in letters)
    assert node.statistics().dead_letters == 2
    lines = [record.getMessage() for record in caplog.records if "message lost" in record.getMessage()]
    assert len(lines) == 2
    assert not any("lost 1" in line for line in lines)


async def test_a_message_whose_handler_is_cut_off_becomes_a_dead_letter_or_an_error(
    node: Node, autojump_clock: MockClock
) -> None:
    letters: list[DeadLetter] = []
    node.on_dead_letter = letters.append
    await node.start_worker("a", Sleeper())
    await node.start_worker("b", Sleeper())
    await node.send_message("a", "100")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.stop_worker, "a")
        nursery.start_soon(stop_in, 1.0, node, "b")
        with pytest.raises(WorkerStopped, match="while it handled the message") as caught:
            await node.send_and_receive("b", "100", timeout=60)

    assert caught.value.outcome == "maybe_handled"
    assert caught.value.elapsed == pytest.approx(6.0)
    assert [letter.message for letter in letters] == ["100"]


async def stop_in(seconds: float, node: Node, name: str) -> None:
    await trio.sleep(seconds)
    await node.stop_worker(name)


async def test_messages_left_when_the_node_ends_become_dead_letters(autojump_clock: MockClock) -> None:
    letters: list[DeadLetter] = []

    async with open_node("n", stall_warning=None, drain_timeout=1) as node:
        node.on_dead_letter = letters.append
        await node.start_worker("sleeper", Sleeper())
        mailbox = await node.create_mailbox("inbox")
        for address in ("sleeper", "sleeper", "inbox"):
            await node.send_message(address, "100")

    assert sorted(letter.to for letter in letters) == ["inbox@n", "sleeper@n", "sleeper@n"]
    assert node.statistics().dead_letters == 3
    assert mailbox.address == "inbox@n"


async def test_a_timer_s_message_that_nobody_takes_becomes_a_dead_letter(node: Node, autojump_clock: MockClock) -> None:
    letters: list[DeadLetter] = []
    node.on_dead_letter = letters.append
    node.send_after(1, "nobody", "hello")

    await trio.sleep(2)

    assert letters == [DeadLetter("nobody@n", "@n", "hello", "no worker 'nobody' on node 'n'")]


async def test_a_hook_for_dead_letters_that_raises_is_logged_and_goes_no_further(
    node: Node, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(letter: DeadLetter) -> None:
        raise ZeroDivisionError(letter.message)

    node.on_dead_letter = hook
    node.send_after(1, "nobody", "hello")
    await trio.sleep(2)

    assert "on_dead_letter raised" in caplog.text
    node.on_dead_letter = None
    with pytest.raises(TypeError, match="on_dead_letter must be a function of one DeadLetter, or None"):
        node.on_dead_letter = 5  # type: ignore[assignment]  # the point of the test


async def test_a_message_whose_mailbox_nobody_kept_is_handled_all_the_same(
    node: Node, autojump_clock: MockClock
) -> None:
    recorder = Recorder()
    await node.start_worker("recorder", recorder)

    await node.send("recorder", "the mailbox of this one is let go of at once")
    async with await node.send("recorder", "the mailbox of this one is closed at once"):
        pass
    await wait_all_tasks_blocked()

    assert len(recorder.received) == 2
