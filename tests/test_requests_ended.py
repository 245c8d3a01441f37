"""Answers that come late, never, or to nobody, and requests that are handed on: Q2, Q6, Q8."""

from __future__ import annotations

import gc
import math
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import (
    Context,
    DeadlineExceeded,
    MailboxFull,
    Node,
    WorkerFailed,
    WorkerStopped,
    open_node,
)
from autonomy._actors.replies import Slot
from tests.workers import Recorder, Silent, Sleeper

# ---- Q6: a handler that replies with nothing


class PlainSilent:
    def handle_message(self, context: Context, message: str) -> None:
        return


async def test_a_handler_that_returns_without_replying_is_an_error_at_once(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("silent", Silent())
    started = trio.current_time()

    for _ in range(2):
        with pytest.raises(WorkerFailed, match="returned without replying") as caught:
            await node.send_and_receive("silent", "x")
        assert trio.current_time() == started
        assert (caught.value.outcome, caught.value.remote_type) == ("handled", "")


async def test_so_it_is_when_a_plain_handler_returns_without_replying() -> None:
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("silent", PlainSilent())

        for _ in range(30):
            with pytest.raises(WorkerFailed, match="returned without replying"):
                await node.send_and_receive("silent", "x", timeout=5)


class Keeper:
    """Keeps its contexts, and stops when it is told to."""

    def __init__(self) -> None:
        self.kept: list[Context] = []

    async def handle_message(self, context: Context, message: str) -> None:
        if message == "stop":
            context.stop()
        else:
            self.kept.append(context)


async def test_a_worker_may_reply_after_its_handler_returned_to_each_its_own(
    node: Node, autojump_clock: MockClock
) -> None:
    keeper = Keeper()
    await node.start_worker("keeper", keeper)
    answers: dict[str, str] = {}

    async def ask(message: str) -> None:
        answers[message] = await node.send_and_receive("keeper", message)

    async with trio.open_nursery() as nursery:
        for message in "abc":
            nursery.start_soon(ask, message)
        await trio.sleep(5)
        for number, context in enumerate(keeper.kept):
            await context.reply(str(number))
            await context.reply("too late")

    assert sorted(answers.values()) == ["0", "1", "2"]
    assert node.statistics().dropped_replies == 3


async def test_a_worker_that_ends_while_it_keeps_a_context_answers_worker_stopped_at_once(
    node: Node, autojump_clock: MockClock
) -> None:
    keeper = Keeper()
    await node.start_worker("keeper", keeper)
    node.send_after(3, "keeper", "stop")

    with pytest.raises(WorkerStopped, match="timeout=20s: the worker ended before it replied") as caught:
        await node.send_and_receive("keeper", "x", timeout=20)

    assert caught.value.elapsed == pytest.approx(3)
    assert caught.value.outcome == "maybe_handled"
    await keeper.kept[0].reply("into the void")
    assert node.statistics().dropped_replies == 1


async def test_a_context_that_is_dropped_later_is_an_error_at_the_deadline(
    node: Node, autojump_clock: MockClock
) -> None:
    keeper = Keeper()
    await node.start_worker("keeper", keeper)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(forget_in, 1.0, keeper)
        with pytest.raises(DeadlineExceeded) as caught:
            await node.send_and_receive("keeper", "x", timeout=4)

    assert caught.value.elapsed == pytest.approx(4)


async def forget_in(seconds: float, keeper: Keeper) -> None:
    await trio.sleep(seconds)
    keeper.kept.clear()
    gc.collect()


# ---- Q8: withdrawal


async def check_that_a_cancelled_request_is_skipped_in_the_queue() -> None:
    async with open_node("n", stall_warning=None) as node:
        sleeper, others = Sleeper(), Recorder()
        await node.start_worker("sleeper", sleeper)
        await node.start_worker("others", others)
        await node.send_message("sleeper", "5")
        await wait_all_tasks_blocked()

        with trio.move_on_after(1) as scope:
            await node.send_and_receive("sleeper", "1", timeout=60)
        await trio.sleep(20)

        assert scope.cancelled_caught
        assert (sleeper.began, sleeper.ended) == (1, 1)
        assert node.statistics().waiting_requests == 0
        assert node.statistics().dead_letters == 0


async def test_a_cancelled_request_that_is_still_queued_is_skipped(autojump_clock: MockClock) -> None:
    await check_that_a_cancelled_request_is_skipped_in_the_queue()


async def test_the_check_of_withdrawal_notices_requests_that_are_handled_all_the_same(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stay(self: Slot) -> None:
        self._pending[self.id] = Slot(self._pending, self.id)

    monkeypatch.setattr(Slot, "withdraw", stay)

    with pytest.raises(AssertionError, match=r"\(2, 2\) == \(1, 1\)"):
        await check_that_a_cancelled_request_is_skipped_in_the_queue()


@pytest.mark.parametrize("before", ["nothing", "sleep", "timeout", "exception", "nursery"])
async def test_a_handler_that_returns_without_replying_fails_at_once_whatever_it_did(
    node: Node, autojump_clock: MockClock, before: str
) -> None:
    class Forgetful:
        async def handle_message(self, context: Context, message: str) -> None:
            if before == "sleep":
                await trio.sleep(1)
            elif before == "timeout":
                with trio.move_on_after(1):
                    await trio.sleep_forever()
            elif before == "exception":
                with suppress(ValueError):
                    raise ValueError(context)
            elif before == "nursery":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.sleep, 1)

    await node.start_worker("forgetful", Forgetful())

    for _ in range(3):
        with pytest.raises(WorkerFailed, match="returned without replying") as caught:
            await node.send_and_receive("forgetful", "hello", timeout=10)
        assert caught.value.elapsed <= 1


async def test_a_cancelled_request_that_runs_goes_on_and_its_reply_is_dropped(
    node: Node, autojump_clock: MockClock
) -> None:
    sleeper = Sleeper()
    await node.start_worker("sleeper", sleeper)

    with trio.move_on_after(1):
        await node.send_and_receive("sleeper", "5", timeout=60)
    await trio.sleep(20)

    assert (sleeper.began, sleeper.ended) == (1, 1)
    assert node.statistics().dropped_replies == 1
    assert node.statistics().waiting_requests == 0


async def test_a_request_that_expired_in_the_queue_is_skipped_too(node: Node, autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    await node.start_worker("sleeper", sleeper)
    await node.send_message("sleeper", "5")
    await wait_all_tasks_blocked()

    with pytest.raises(DeadlineExceeded):
        await node.send_and_receive("sleeper", "1", timeout=1)
    await trio.sleep(20)

    assert (sleeper.began, sleeper.ended) == (1, 1)


async def test_a_request_that_is_cancelled_while_it_waits_for_room_was_not_sent(
    node: Node, autojump_clock: MockClock
) -> None:
    sleeper = Sleeper()
    await node.start_worker("sleeper", sleeper, mailbox_capacity=1)
    for _ in range(2):
        await node.send_message("sleeper", "5")
        await wait_all_tasks_blocked()

    for way in (node.send_and_receive, node.send_message, node.send):
        with trio.move_on_after(1) as scope:
            await way("sleeper", "1")
        assert scope.cancelled_caught
    await trio.sleep(60)

    assert sleeper.began == 2
    assert node.statistics().waiting_requests == 0


# ---- forward


class Forwarder:
    async def handle_message(self, context: Context, message: str) -> None:
        to, _, _ = message.partition(" ")
        await context.forward(to)
        with pytest.raises(RuntimeError, match="has answered this message already"):
            await context.forward(to)
        if context.deadline < math.inf:
            await context.reply("this is dropped")


class SenderOf:
    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"{context.sender} {message} {context.deadline - trio.current_time():g}")


async def test_forward_hands_the_request_on_as_the_forwarder_s_and_the_reply_goes_to_the_caller(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("forwarder", Forwarder())
    await node.start_worker("target", SenderOf())

    assert await node.send_and_receive("forwarder", "target x", timeout=9) == "forwarder@n target x 9"
    async with await node.send("forwarder", "target y") as mailbox:
        assert await mailbox.receive() == "forwarder@n target y inf"
    await node.send_message("forwarder", "target@n z")
    await wait_all_tasks_blocked()

    assert [worker["failed"] for worker in await node.list_workers()] == [0, 0]


async def test_a_forwarded_request_fails_with_the_failure_of_whom_it_went_to(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("forwarder", Forwarder())
    await node.start_worker("silent", Silent())
    started = trio.current_time()

    with pytest.raises(WorkerFailed, match="returned without replying"):
        await node.send_and_receive("forwarder", "silent")

    assert trio.current_time() == started


# ---- send_nowait


async def test_send_nowait_never_waits(node: Node, autojump_clock: MockClock) -> None:
    recorder = Recorder()
    await node.start_worker("recorder", recorder, mailbox_capacity=2)
    node.send_nowait("recorder", "a")
    node.send_nowait("recorder@n", "b")

    with pytest.raises(MailboxFull, match="mailbox of 'recorder' on node 'n' is full") as caught:
        node.send_nowait("recorder", "c")
    await wait_all_tasks_blocked()

    assert (caught.value.outcome, caught.value.worker, caught.value.node) == ("not_sent", "recorder", "n")
    assert recorder.received == ["a", "b"]
