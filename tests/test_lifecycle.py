"""A worker's life: it starts, its hooks run, it stops, and its name is free again (L1, L2, L5, L7)."""

from __future__ import annotations

import threading

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import (
    AutonomyError,
    Context,
    Node,
    Restart,
    Stop,
    WorkerExists,
    WorkerFailed,
    WorkerNotFound,
    WorkerStopped,
    open_node,
)

from .workers import Echo, Failing, Recorder, Sleeper


class Diary(Recorder):
    """Notes its hooks as well as its messages; fails at what it is told to fail at."""

    def __init__(self, fails_at: str = "") -> None:
        super().__init__()
        self.fails_at = fails_at

    async def on_start(self, context: Context) -> None:
        self.note("on_start")

    async def handle_message(self, context: Context, message: str) -> None:
        self.note(message)
        await context.reply(message)

    async def on_stop(self, context: Context) -> None:
        self.note("on_stop")

    def note(self, event: str) -> None:
        self.received.append(event)
        if event == self.fails_at:
            raise ValueError(f"no {event}")


class SlowStart(Recorder):
    """Takes ten seconds to start."""

    async def on_start(self, context: Context) -> None:
        await trio.sleep(10)
        self.received.append("on_start")

    async def on_stop(self, context: Context) -> None:
        self.received.append("on_stop")


async def names(node: Node) -> list[str]:
    return [str(info) for info in await node.list_workers()]


# ---- start -----------------------------------------------------------------------------------------------------------


async def test_hooks_run_before_the_first_message_and_after_the_last(node: Node, autojump_clock: MockClock) -> None:
    diary = Diary()

    await node.start_worker("diary", diary)
    await node.send_and_receive("diary", "hello")
    await node.stop_worker("diary")

    assert diary.received == ["on_start", "hello", "on_stop"]


async def test_plain_functions_are_hooks_too_and_run_in_a_thread() -> (
    None
):  # a jumping clock would not wait for threads
    class Plain(Recorder):
        def on_start(self, context: Context) -> None:
            self.received.append(f"on_start of {context.name} elsewhere: {threading.get_ident() != here}")

        def on_stop(self, context: Context) -> None:
            self.received.append(f"on_stop of {context.name} elsewhere: {threading.get_ident() != here}")

    here = threading.get_ident()
    plain = Plain()

    async with open_node(stall_warning=None) as node:
        await node.start_worker("plain", plain)
        await node.stop_worker("plain")

    assert plain.received == ["on_start of plain elsewhere: True", "on_stop of plain elsewhere: True"]


async def test_start_worker_returns_after_on_start(node: Node, autojump_clock: MockClock) -> None:
    slow = SlowStart()
    begun = trio.current_time()

    await node.start_worker("slow", slow)

    assert trio.current_time() - begun == 10
    assert slow.received == ["on_start"]


async def test_messages_sent_during_on_start_are_handled_after_it(node: Node, autojump_clock: MockClock) -> None:
    slow = SlowStart()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.start_worker, "slow", slow)
        await trio.sleep(1)
        await node.send_message("slow", "early")
    await wait_all_tasks_blocked()

    assert slow.received == ["on_start", "early"]


async def test_when_on_start_raises_the_caller_gets_it_the_name_is_free_and_on_stop_is_not_run(
    node: Node, autojump_clock: MockClock
) -> None:
    diary = Diary(fails_at="on_start")

    with pytest.raises(ValueError, match="no on_start"):
        await node.start_worker("diary", diary)

    assert diary.received == ["on_start"]
    assert await names(node) == []
    await node.start_worker("diary", diary_again := Diary())
    assert diary_again.received == ["on_start"]


async def test_an_object_whose_on_start_raised_may_be_started_again(node: Node, autojump_clock: MockClock) -> None:
    diary = Diary(fails_at="on_start")
    with pytest.raises(ValueError, match="no on_start"):
        await node.start_worker("diary", diary)

    diary.fails_at = ""
    await node.start_worker("diary", diary)

    assert diary.received == ["on_start", "on_start"]


async def test_messages_that_waited_for_an_on_start_that_raised_are_answered(
    node: Node, autojump_clock: MockClock
) -> None:
    class Doomed(Echo):
        async def on_start(self, context: Context) -> None:
            await trio.sleep(1)
            raise ValueError("not today")

    async def ask() -> None:
        with pytest.raises(WorkerStopped, match=r"timeout.*not today") as caught:
            await node.send_and_receive("doomed", "hello")
        assert caught.value.outcome == "not_sent"
        assert caught.value.elapsed == 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        with pytest.raises(ValueError, match="not today"):
            await node.start_worker("doomed", Doomed())


async def test_cancelling_start_worker_during_on_start_starts_nothing(node: Node, autojump_clock: MockClock) -> None:
    slow = SlowStart()

    with trio.move_on_after(3):
        await node.start_worker("slow", slow)

    assert slow.received == []
    assert await names(node) == []
    await node.start_worker("slow", slow)
    assert slow.received == ["on_start"]


async def test_a_worker_stopped_while_it_starts_is_told_to_who_started_it(
    node: Node, autojump_clock: MockClock
) -> None:
    async def start() -> None:
        with pytest.raises(WorkerStopped, match="stopped while it started"):
            await node.start_worker("slow", slow)

    slow = SlowStart()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await trio.sleep(1)
        await node.stop_worker("slow", timeout=2)

    assert slow.received == []
    assert await names(node) == []


async def test_a_taken_name_is_refused_and_the_text_says_by_whom(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())
    await trio.sleep(12)

    with pytest.raises(WorkerExists, match=r"'n' already has a worker 'echo' \(Echo, started 12 s ago\)"):
        await node.start_worker("echo", Recorder())

    assert await node.send_and_receive("echo", "still here") == "still here"


async def test_on_conflict_keep_leaves_the_worker_that_is_there(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("w", Echo())

    await node.start_worker("w", Recorder(), on_conflict="keep")

    assert await node.send_and_receive("w", "hello") == "hello"


async def test_on_conflict_replace_stops_the_worker_that_is_there(node: Node, autojump_clock: MockClock) -> None:
    before, after = Diary(), Recorder()
    await node.start_worker("w", before)

    await node.start_worker("w", after, on_conflict="replace")
    await node.send_message("w", "hello")
    await wait_all_tasks_blocked()

    assert before.received == ["on_start", "on_stop"]
    assert after.received == ["hello"]


async def test_an_object_runs_as_one_worker_also_across_nodes(node: Node, autojump_clock: MockClock) -> None:
    echo = Echo()
    await node.start_worker("one", echo)

    async with open_node("m", stall_warning=None) as other:
        with pytest.raises(ValueError, match="runs as a worker already"):
            await node.start_worker("two", echo)
        with pytest.raises(ValueError, match="runs as a worker already"):
            await other.start_worker("one", echo)
        assert await names(node) == ["one"]
        assert await names(other) == []

        await node.stop_worker("one")
        await other.start_worker("one", echo)
        assert await other.send_and_receive("one", "moved") == "moved"


async def test_a_factory_that_makes_the_same_object_for_two_workers_is_refused(
    node: Node, autojump_clock: MockClock
) -> None:
    echo = Echo()
    await node.start_worker("one", lambda: echo, supervision=Restart())

    with pytest.raises(ValueError, match="runs as a worker already"):
        await node.start_worker("two", lambda: echo, supervision=Restart())

    assert await names(node) == ["one"]


# ---- on_stop ---------------------------------------------------------------------------------------------------------


async def test_on_stop_runs_after_a_failure_that_stops_the_worker(node: Node, autojump_clock: MockClock) -> None:
    diary = Diary(fails_at="boom")
    await node.start_worker("diary", diary, supervision=Stop())

    with pytest.raises(WorkerFailed, match="ValueError: no boom"):
        await node.send_and_receive("diary", "boom")
    await wait_all_tasks_blocked()

    assert diary.received == ["on_start", "boom", "on_stop"]
    assert await names(node) == []


async def test_an_on_stop_that_takes_too_long_is_cancelled(node: Node, autojump_clock: MockClock) -> None:
    class SlowStop(Recorder):
        async def on_stop(self, context: Context) -> None:
            await trio.sleep_forever()

    await node.start_worker("slow", SlowStop())
    begun = trio.current_time()

    await node.stop_worker("slow", timeout=3)

    assert trio.current_time() - begun == 3
    assert await names(node) == []


async def test_an_on_stop_that_raises_harms_nobody(node: Node, autojump_clock: MockClock) -> None:
    diary = Diary(fails_at="on_stop")
    await node.start_worker("diary", diary)

    await node.stop_worker("diary")

    assert diary.received == ["on_start", "on_stop"]
    assert await names(node) == []


# ---- what a handler sees ---------------------------------------------------------------------------------------------


async def test_a_forwarded_request_travels_as_the_forwarders_and_the_reply_goes_to_the_caller(
    node: Node, autojump_clock: MockClock
) -> None:
    class Forwarder:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.forward("teller")

    class Teller:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.reply(f"{message} from {context.sender}")

    await node.start_worker("forwarder", Forwarder())
    await node.start_worker("teller", Teller())

    answer = await node.send_and_receive("forwarder", "hello", timeout=2)

    assert answer == "hello from forwarder@n"


async def test_a_context_tells_who_asks_where_and_until_when(node: Node, autojump_clock: MockClock) -> None:
    class Teller:
        async def handle_message(self, context: Context, message: str) -> None:
            left = context.deadline - trio.current_time()
            await context.reply(f"{context.name} on {context.node.name} for {context.sender}: {left:g} s")

    await node.start_worker("teller", Teller())

    answer = await node.send_and_receive("teller", "?", timeout=7)

    assert answer == "teller on n for @n: 7 s"


# ---- what is never swallowed (L5) ------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["on_start", "handler", "on_stop"])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_what_is_no_exception_ends_the_node_bare(
    autojump_clock: MockClock, where: str, kind: type[BaseException]
) -> None:
    class Exiting:
        async def on_start(self, context: Context) -> None:
            self.leave_at("on_start")

        async def handle_message(self, context: Context, message: str) -> None:
            self.leave_at("handler")

        async def on_stop(self, context: Context) -> None:
            self.leave_at("on_stop")

        def leave_at(self, here: str) -> None:
            if here == where:
                raise kind(7)

    async def program() -> None:
        async with open_node(stall_warning=None) as node:
            await node.start_worker("exiting", Exiting())
            await node.send_message("exiting", "go")
            await trio.sleep(1)
            await node.stop_worker("exiting")

    with pytest.raises(kind) as caught:
        await program()

    assert caught.value.args == (7,)


async def test_a_handler_whose_node_is_cancelled_is_cancelled_and_not_counted_as_failed(
    autojump_clock: MockClock,
) -> None:
    class Waiting:
        seen: BaseException | None = None

        async def handle_message(self, context: Context, message: str) -> None:
            try:
                await trio.sleep_forever()
            except BaseException as error:
                self.seen = error
                raise

    waiting = Waiting()
    with trio.move_on_after(1) as scope:
        async with open_node(stall_warning=None) as node:
            await node.start_worker("waiting", waiting)
            await node.send_message("waiting", "go")
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert isinstance(waiting.seen, trio.Cancelled)


async def test_a_failed_message_is_an_error_of_this_library(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("failing", Failing())
    await node.start_worker("sleeper", Sleeper())

    with pytest.raises(AutonomyError, match="ValueError: boom"):
        await node.send_and_receive("failing", "boom")
    with pytest.raises(WorkerNotFound):
        await node.stop_worker("nobody")
