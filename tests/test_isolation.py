"""No worker sees another's state, none holds up another, and blocking work has its place: D5 to D8."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, Node, open_node
from autonomy._actors import worker_objects
from tests.workers import Echo, Failing, Recorder, Sleeper

# ---- D6: nothing is shared


async def test_an_object_runs_as_at_most_one_worker_in_the_whole_process(node: Node, autojump_clock: MockClock) -> None:
    echo = Echo()
    await node.start_worker("one", echo)
    async with open_node("m", stall_warning=None) as other:
        before = node.statistics()

        for somewhere in (node, other):
            with pytest.raises(ValueError, match=r"runs as a worker already; .* Make another one for 'two'"):
                await somewhere.start_worker("two", echo)

        assert node.statistics() == before
        await node.stop_worker("one")
        await other.start_worker("two", echo)


async def test_the_check_of_sharing_notices_an_object_that_runs_twice(
    node: Node, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = Echo()
    monkeypatch.setattr(worker_objects.claim, "__code__", (lambda worker, name: None).__code__)
    await node.start_worker("one", echo)

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"), pytest.raises(ValueError, match="already"):
        await node.start_worker("two", echo)


class Blocked:
    """Sits in a thread until it is let go; tells when it began and when it has ended."""

    def __init__(self) -> None:
        self.began, self.released, self.ended = threading.Event(), threading.Event(), threading.Event()

    def handle_message(self, context: Context, message: str) -> None:
        self.began.set()
        self.released.wait(60)
        self.ended.set()


async def test_an_object_whose_thread_was_left_behind_is_no_worker_until_the_thread_has_ended() -> None:
    # no jumping clock, for it would not wait for threads
    blocked = Blocked()
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("one", blocked)
        await node.send_message("one", "x")
        await trio.to_thread.run_sync(blocked.began.wait, 60)

        await node.stop_worker("one", timeout=0)

        await node.start_worker("one", Echo())  # the name is free, though the object is not
        with pytest.raises(ValueError, match=r"a thread is still busy with this Blocked object, .* for 'two', or wait"):
            await node.start_worker("two", blocked)
        blocked.released.set()
        await started_in_the_end(node, "two", blocked)
        assert blocked.ended.is_set()


async def test_an_object_whose_thread_never_began_is_free_at_once(node: Node, autojump_clock: MockClock) -> None:
    async with open_node("m", stall_warning=None, threads=1) as narrow:
        blocked, waiting = Blocked(), Blocked()
        for name, worker in (("blocked", blocked), ("waiting", waiting)):
            await narrow.start_worker(name, worker)
            await narrow.send_message(name, "x")
            await wait_all_tasks_blocked()

        await narrow.stop_worker("waiting", timeout=0)

        await node.start_worker("waiting", waiting)
        blocked.released.set()


async def started_in_the_end(node: Node, name: str, worker: object) -> None:
    """Start a worker as soon as its object is free."""
    with trio.fail_after(60):
        while True:
            try:
                await node.start_worker(name, worker)
            except ValueError:
                await trio.lowlevel.checkpoint()
            else:
                return


async def test_a_message_of_a_str_subclass_arrives_as_a_plain_str(node: Node, autojump_clock: MockClock) -> None:
    class Note(str):
        def __init__(self, text: str) -> None:
            self.shared: list[str] = []

    recorder = Recorder()
    await node.start_worker("recorder", recorder)
    await node.start_worker("echo", Echo())

    await node.send_message("recorder", Note("hello"))
    node.send_nowait("recorder", Note("hello"))
    reply = await node.send_and_receive("echo", Note("hello"))

    assert recorder.received == ["hello", "hello"]
    assert {type(message) for message in [*recorder.received, reply]} == {str}


# ---- D7: one worker's trouble is its own


async def test_a_failing_a_full_and_a_waiting_worker_hold_up_nobody(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("failing", Failing())
    await node.start_worker("full", Sleeper(), mailbox_capacity=1)
    await node.start_worker("echo", Echo())
    for _ in range(2):
        await node.send_message("full", "5")
        await wait_all_tasks_blocked()

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(node.send_message, "full", "5")
            await node.send_message("failing", "x")
            started = trio.current_time()
            assert await node.send_and_receive("echo", "fine") == "fine"
            assert trio.current_time() - started < 0.001


async def test_replies_bypass_mailboxes(node: Node, autojump_clock: MockClock) -> None:
    class Asker:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.reply(await context.send_and_receive("sleeper", "5"))

    await node.start_worker("asker", Asker(), mailbox_capacity=1)
    await node.start_worker("sleeper", Sleeper())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(node.send_and_receive, "asker", "x")
        await wait_all_tasks_blocked()
        assert [worker["mailbox"] for worker in await node.list_workers() if str(worker) == "asker"] == [1]

    assert [worker["handled"] for worker in await node.list_workers()] == [3, 3]


def most_in_a_row(backlog: int, seconds_a_message: float, slice_clock: Callable[[], float] | None = None) -> int:
    """Let a worker find a backlog of messages that take some time each; return how many it handled without a pause."""
    now = 0.0
    row = [0]

    class Busy:
        async def handle_message(self, context: Context, message: str) -> None:
            nonlocal now
            now += seconds_a_message
            row[-1] += 1

    async def others() -> None:
        while sum(row) < backlog:
            await trio.lowlevel.checkpoint()
            row.append(0)

    async def scenario() -> None:
        clock = slice_clock or (lambda: now)
        async with open_node("n", stall_warning=None, slice_clock=clock) as node:
            await node.start_worker("busy", Busy(), mailbox_capacity=backlog)
            for _ in range(backlog):
                node.send_nowait("busy", "x")
            await others()

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
    return max(row)


@given(backlog=st.integers(1, 300), milliseconds=st.floats(0.01, 10))
@settings(max_examples=40, deadline=None)
def test_for_all_backlogs_a_worker_lets_others_run_every_few_milliseconds(backlog: int, milliseconds: float) -> None:
    longest = most_in_a_row(backlog, milliseconds / 1000) * milliseconds

    assert longest <= (2 + 2 * milliseconds) * (1 + 1e-9)  # sums of floats


def test_the_check_of_fairness_notices_a_worker_that_runs_on() -> None:
    assert most_in_a_row(200, 0.001) <= 4

    assert most_in_a_row(200, 0.001, slice_clock=lambda: 0.0) == 200


async def test_a_sender_lets_others_run_too(autojump_clock: MockClock) -> None:
    ticks = iter(range(10**9))
    async with open_node("n", stall_warning=None, slice_clock=lambda: next(ticks) / 10_000) as node:
        echo = Recorder()
        await node.start_worker("recorder", echo, mailbox_capacity=1000)

        for number in range(100):
            await node.send_message("recorder", str(number))
            assert number - len(echo.received) < 30


# ---- D8: blocking work


class Blocking:
    """A plain handler: notes threads, and how many run at once."""

    at_work = 0
    most_at_work = 0
    lock = threading.Lock()

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.received: list[str] = []
        self.mine = 0

    def handle_message(self, context: Context, message: str) -> None:
        with self.lock:
            self.mine += 1
            assert self.mine == 1
            Blocking.at_work += 1
            Blocking.most_at_work = max(Blocking.most_at_work, Blocking.at_work)
        self.received.append(message)
        self.threads.add(threading.get_ident())
        time.sleep(0.005)
        with self.lock:
            self.mine -= 1
            Blocking.at_work -= 1
        context.reply(message)  # type: ignore[unused-coroutine]  # a plain handler's context has plain methods


@pytest.mark.slow
async def test_plain_handlers_run_in_threads_of_the_node_one_message_at_a_time_a_worker() -> None:
    workers = [Blocking() for _ in range(6)]
    Blocking.most_at_work = 0
    async with open_node("n", stall_warning=None, threads=3) as node:
        for number, worker in enumerate(workers):
            await node.start_worker(f"w{number}", worker)

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                for number in range(len(workers)):
                    nursery.start_soon(node.send_and_receive, f"w{number}", "x")

    assert [len(worker.received) for worker in workers] == [4] * len(workers)
    assert 1 <= Blocking.most_at_work <= 3
    assert threading.get_ident() not in set().union(*(worker.threads for worker in workers))


async def test_a_plain_handler_that_blocks_holds_up_no_other_worker() -> None:
    release = threading.Event()

    class Stuck:
        def handle_message(self, context: Context, message: str) -> None:
            release.wait()

    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("stuck", Stuck())
        await node.start_worker("echo", Echo())
        await node.send_message("stuck", "x")

        for _ in range(20):
            assert await node.send_and_receive("echo", "fine") == "fine"
        release.set()


class Computing:
    """Awaits and computes as the message says: ``"0.1 await, 0.3 compute"``."""

    async def handle_message(self, context: Context, message: str) -> None:
        for part in message.split(", "):
            seconds, what = part.split()
            if what == "await":
                await trio.sleep(float(seconds))
            else:
                time.sleep(float(seconds))  # noqa: ASYNC251  # a stand-in for a computation


@pytest.mark.slow
@pytest.mark.parametrize(
    ("messages", "lines"),
    [
        (["0.3 compute"], 1),
        (["0.3 compute", "0.3 compute"], 2),
        (["0.3 await, 0.3 compute"], 1),
        (["0.3 await", "0.3 compute"], 1),
        (["0.01 compute", "0.3 await"], 0),
    ],
)
@pytest.mark.parametrize("rest", [0.2, 0.0])
async def test_an_async_handler_that_computes_on_is_logged_with_its_stack_once_each_time(
    messages: list[str], lines: int, rest: float, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node("n", stall_warning=0.1) as node:
        await node.start_worker("computing", Computing())

        for message in messages:
            await trio.sleep(rest)
            await node.send_message("computing", message)

    records = [record for record in caplog.records if "holds the node" in record.getMessage()]
    logged = [f"{record.getMessage()}\n{record.stack_info}" for record in records]
    assert len(logged) == lines
    assert all("computing@n" in line and "time.sleep(float(seconds))" in line for line in logged)
