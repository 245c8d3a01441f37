"""Requests and their replies: Q1, Q2, Q3, Q6, Q8. What the errors say is in test_errors.py."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import (
    Context,
    DeadlineExceeded,
    Mailbox,
    MailboxFull,
    Node,
    NoReply,
    WorkerFailed,
    WorkerStopped,
    open_node,
)
from autonomy._actors.debts import Debts
from autonomy._actors.replies import Replies
from autonomy._sansio.envelope import Envelope
from tests.workers import Echo, Recorder, Silent, Sleeper


def in_virtual_time(scenario: Callable[[], Awaitable[object]]) -> None:
    trio.run(scenario, clock=MockClock(autojump_threshold=0))


# ---- Q3: for all workers and callers, one outcome, at the earliest moment it is known


@dataclass(frozen=True)
class Ask:
    """One request: what its handler does after how many seconds, and how long its caller waits before and at most."""

    does: str
    takes: float
    rest: float
    timeout: float
    cancelled_after: float


SECONDS = st.integers(0, 8).map(float)
ASKS = st.builds(
    Ask,
    does=st.sampled_from(["reply", "twice", "raise", "silence", "keep", "keep and stop"]),
    takes=SECONDS,
    rest=SECONDS,
    timeout=st.integers(1, 30).map(lambda seconds: seconds + 0.25),
    cancelled_after=st.sampled_from([math.inf, math.inf, 2.5, 10.5]),
)


class Scripted:
    """Does what the message says: "number does takes"."""

    def __init__(self) -> None:
        self.kept: list[Context] = []
        self.ended: dict[str, float] = {}
        self.stopped_at = math.inf

    async def handle_message(self, context: Context, message: str) -> None:
        number, does, takes = message.split("/")
        await trio.sleep(float(takes))
        self.ended[number] = trio.current_time()
        if does in ("reply", "twice"):
            await context.reply(number)
        if does == "twice":
            await context.reply("not this")
        if does == "raise":
            raise ValueError(number)
        if does.startswith("keep"):
            self.kept.append(context)
        if does == "keep and stop":
            context.stop()
            self.stopped_at = trio.current_time()


def check_outcomes(asks: Sequence[Ask]) -> None:
    """Let all ask one worker, and hold each outcome and its time against what the worker did."""
    outcomes: dict[int, tuple[str, float, float]] = {}

    async def ask_one(node: Node, number: int, ask: Ask) -> None:
        await trio.sleep(ask.rest)
        asked, outcome = trio.current_time(), "cancelled"
        with trio.move_on_after(ask.cancelled_after):
            try:
                text = f"{number}/{ask.does}/{ask.takes}"
                outcome = "reply " + await node.send_and_receive("scripted", text, timeout=ask.timeout)
            except NoReply as error:
                outcome = type(error).__name__
        assert number not in outcomes
        outcomes[number] = (outcome, asked, trio.current_time())

    async def scenario() -> Scripted:
        worker = Scripted()
        async with open_node("n", stall_warning=None) as node:
            await node.start_worker("scripted", worker)
            async with trio.open_nursery() as nursery:
                for number, ask in enumerate(asks):
                    nursery.start_soon(ask_one, node, number, ask)
            assert node.statistics().waiting_requests == 0
        return worker

    worker = trio.run(scenario, clock=MockClock(autojump_threshold=0))

    assert sorted(outcomes) == list(range(len(asks)))
    for number, ask in enumerate(asks):
        outcome, asked, ended = outcomes[number]
        expected, at = expectation(worker, ask, str(number), asked)
        assert outcome in expected
        assert ended == pytest.approx(at)


def expectation(worker: Scripted, ask: Ask, number: str, asked: float) -> tuple[tuple[str, ...], float]:
    """Return the outcomes that a request may have and when it must have one, given when its handler ended."""
    gives_up = asked + min(ask.timeout, ask.cancelled_after)
    gave_up = "cancelled" if ask.cancelled_after < ask.timeout else "DeadlineExceeded"
    answer = {
        "reply": f"reply {number}",
        "twice": f"reply {number}",
        "raise": "WorkerFailed",
        "silence": "WorkerFailed",
        "keep": "WorkerStopped",
        "keep and stop": "WorkerStopped",
    }
    handled = worker.ended.get(number, math.inf)
    known = worker.stopped_at if math.isinf(handled) or ask.does.startswith("keep") else handled
    outcome = "WorkerStopped" if math.isinf(handled) else answer[ask.does]
    if asked >= worker.stopped_at and math.isinf(handled):  # asked and stopped at once, it may have been handled before
        outcomes = ("WorkerNotFound", "WorkerStopped")
        return outcomes, asked
    return ((outcome,), known) if known < gives_up else ((gave_up,), gives_up)


@given(asks=st.lists(ASKS, max_size=10))
@settings(max_examples=120, deadline=None)
def test_for_all_asks_each_request_ends_once_with_its_own_answer_as_soon_as_that_is_known(asks: list[Ask]) -> None:
    check_outcomes(asks)


SOME = [
    Ask("keep", 0.0, 0.0, 30.25, math.inf),
    Ask("silence", 1.0, 0.0, 20.25, math.inf),
    Ask("reply", 1.0, 0.0, 20.25, 2.5),
    Ask("raise", 1.0, 0.0, 20.25, math.inf),
    Ask("twice", 1.0, 0.0, 20.25, math.inf),
    Ask("reply", 1.0, 4.0, 20.25, math.inf),
    Ask("reply", 1.0, 4.0, 1.25, math.inf),
    Ask("keep and stop", 1.0, 6.0, 30.25, math.inf),
]


def answers_the_oldest(replies: Replies, answer: Envelope, *, original: Any = Replies.accept) -> None:
    answer.id = min(replies.pending, default=answer.id)
    original(replies, answer)


def loses_failures(replies: Replies, answer: Envelope, *, original: Any = Replies.accept) -> None:
    if answer.failure is None:
        original(replies, answer)


def loses_replies(replies: Replies, answer: Envelope, *, original: Any = Replies.accept) -> None:
    if answer.failure is not None:
        original(replies, answer)


@pytest.mark.parametrize("broken", [answers_the_oldest, loses_failures, loses_replies])
def test_the_check_of_outcomes_notices_answers_that_go_astray(broken: object, monkeypatch: pytest.MonkeyPatch) -> None:
    check_outcomes(SOME)
    monkeypatch.setattr(Replies, "accept", broken)

    with pytest.raises((AssertionError, BaseExceptionGroup)):
        check_outcomes(SOME)


def test_the_check_of_outcomes_notices_a_silent_handler_that_nobody_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Debts, "unanswered", lambda *_, **__: None)

    with pytest.raises((AssertionError, BaseExceptionGroup)):
        check_outcomes(SOME)


# ---- Q1: timeouts


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(2, 2), (0.5, 0.5), (None, 30), (1e300, math.inf), (math.inf, math.inf)]
)
async def test_a_timeout_is_seconds_and_none_means_thirty(
    node: Node, autojump_clock: MockClock, timeout: float | None, seconds: float
) -> None:
    await node.start_worker("sleeper", Sleeper())
    started = trio.current_time()

    with suppress(DeadlineExceeded):
        assert await node.send_and_receive("sleeper", "1000", timeout=timeout) == "1000"

    assert trio.current_time() - started == pytest.approx(min(seconds, 1000))


async def test_none_means_the_default_that_the_node_was_given(autojump_clock: MockClock) -> None:
    async with open_node("n", stall_warning=None, default_timeout=7) as node:
        await node.start_worker("sleeper", Sleeper())

        for ask in (node.send_and_receive("sleeper", "8"), node.any("sleeper", "8")):
            started = trio.current_time()
            with pytest.raises(DeadlineExceeded, match="timeout=7s"):
                await ask
            assert trio.current_time() - started == pytest.approx(7)


@pytest.mark.parametrize("timeout", [0, 0.0, -0.0, -1, -1e300, -math.inf])
async def test_zero_and_negative_timeouts_end_at_once_and_send_nothing(
    node: Node, autojump_clock: MockClock, timeout: float
) -> None:
    recorder = Recorder()
    await node.start_worker("recorder", recorder)
    started = trio.current_time()

    with pytest.raises(DeadlineExceeded, match="timeout") as caught:
        await node.send_and_receive("recorder", "x", timeout=timeout)
    await wait_all_tasks_blocked()

    assert trio.current_time() == started
    assert caught.value.outcome == "not_sent"
    assert recorder.received == []


@pytest.mark.parametrize("timeout", [0, -1])
async def test_a_message_with_no_time_to_wait_is_sent_if_there_is_room(
    node: Node, autojump_clock: MockClock, timeout: float
) -> None:
    await node.start_worker("sleeper", Sleeper(), mailbox_capacity=1)
    await node.send_message("sleeper", "9", timeout=timeout)
    await wait_all_tasks_blocked()
    await node.send_message("sleeper", "9", timeout=timeout)
    started = trio.current_time()

    with pytest.raises(MailboxFull):
        await node.send_message("sleeper", "9", timeout=timeout)

    assert trio.current_time() == started


@pytest.mark.parametrize("timeout", [True, False, math.nan, "5", b"5", [5], 5j, 10**400])
@pytest.mark.parametrize("function", ["send_and_receive", "send_message", "any", "all", "receive", "stop_worker"])
async def test_a_timeout_that_is_no_number_of_seconds_is_refused_and_changes_nothing(
    node: Node, autojump_clock: MockClock, function: str, timeout: Any
) -> None:
    await node.start_worker("echo", Echo())
    mailbox = await node.create_mailbox()
    before = node.statistics()
    call: Any

    match function:
        case "receive":
            call = mailbox.receive(timeout=timeout)
        case "stop_worker":
            call = node.stop_worker("echo", timeout=timeout)
        case _:
            call = getattr(node, function)("echo", "x", timeout=timeout)
    with pytest.raises((TypeError, ValueError), match=r"timeout .*number of seconds"):
        await call

    assert node.statistics() == before
    assert [worker["handled"] for worker in await node.list_workers()] == [0]


# ---- Q2: replies


class Chatty:
    """Replies as often as the message says, then fails if it ends in "!"."""

    async def handle_message(self, context: Context, message: str) -> None:
        for number in range(int(message.rstrip("!"))):
            await context.reply(str(number))
        if message.endswith("!"):
            raise ValueError(message)


async def test_the_first_reply_wins_and_later_ones_are_dropped_and_counted(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("chatty", Chatty())

    assert await node.send_and_receive("chatty", "3") == "0"
    assert await node.send_and_receive("chatty", "3!") == "0"

    await wait_all_tasks_blocked()
    assert node.statistics().dropped_replies == 4


async def test_a_reply_to_a_message_that_wants_none_is_dropped_and_counted(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("chatty", Chatty())

    await node.send_message("chatty", "2")
    await wait_all_tasks_blocked()

    assert node.statistics().dropped_replies == 2
    assert node.statistics().dead_letters == 0


async def test_a_mailbox_gets_all_replies_in_order_and_an_error_raises_from_receive(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("chatty", Chatty())

    async with await node.send("chatty", "5!") as mailbox:
        assert [await mailbox.receive() for _ in range(5)] == ["0", "1", "2", "3", "4"]
        with pytest.raises(WorkerFailed, match=r"ValueError: 5!"):
            await mailbox.receive()
        await mailbox.send("chatty", "1")
        assert await mailbox.receive() == "0"
    async with await node.send("chatty", "0!") as mailbox:
        with pytest.raises(WorkerFailed, match=r"before timeout=30s: the worker raised ValueError: 0!"):
            await mailbox.receive()
        await mailbox.send("chatty", "1")
        assert await mailbox.receive() == "0"


async def test_a_mailbox_of_a_worker_that_stops_raises_worker_stopped(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("sleeper", Sleeper())
    await node.send_message("sleeper", "1")

    async with await node.send("sleeper", "2") as mailbox:
        await node.stop_worker("sleeper")

        with pytest.raises(WorkerStopped):
            await mailbox.receive()


@pytest.mark.parametrize("worker", [Silent, Chatty, Sleeper])
async def test_a_closed_mailbox_that_is_still_held_harms_no_worker_that_answers_it(
    node: Node, autojump_clock: MockClock, worker: Callable[[], Any]
) -> None:
    await node.start_worker("worker", worker())
    mailbox = await node.send("worker", "0!" if worker is Chatty else "1")

    mailbox.close()
    await trio.sleep(2)

    assert [item["state"] for item in await node.list_workers()] == ["running"]
    assert isinstance(mailbox, Mailbox)
