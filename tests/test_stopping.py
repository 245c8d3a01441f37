"""`stop_worker`: the message at hand is finished, what waits is answered, the name is free (L7, B3, D3)."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, DeadLetter, Node, NoReply, WorkerNotFound, WorkerStopped, open_node

from .workers import Echo, Sleeper


class Stuck:
    """Sits in a thread until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.stopped = False

    def handle_message(self, context: Context, message: str) -> None:
        self.released.wait(60)

    async def on_stop(self, context: Context) -> None:
        self.stopped = True


@pytest.fixture
def stuck() -> Generator[Stuck]:
    worker = Stuck()
    yield worker
    worker.released.set()


async def test_stop_worker_finishes_the_message_at_hand_and_frees_the_name(
    node: Node, autojump_clock: MockClock
) -> None:
    sleeper = Sleeper()
    await node.start_worker("sleeper", sleeper)
    await node.send_message("sleeper", "3")
    await trio.sleep(1)
    begun = trio.current_time()

    await node.stop_worker("sleeper")

    assert trio.current_time() - begun == 2
    assert sleeper.ended == 1
    await node.start_worker("sleeper", Echo())
    assert await node.send_and_receive("sleeper", "new") == "new"


async def test_stop_worker_cancels_a_handler_that_outlasts_its_timeout(node: Node, autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    await node.start_worker("sleeper", sleeper)
    asked: list[NoReply] = []

    async def ask() -> None:
        with pytest.raises(WorkerStopped) as caught:
            await node.send_and_receive("sleeper", "20")
        asked.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(1)
        await node.stop_worker("sleeper", timeout=4)

    assert (sleeper.began, sleeper.ended) == (1, 0)
    assert [(error.outcome, error.elapsed) for error in asked] == [("maybe_handled", 5)]


async def test_a_handler_that_holds_its_thread_for_ever_is_abandoned(
    node: Node, autojump_clock: MockClock, stuck: Stuck
) -> None:
    await node.start_worker("stuck", stuck)
    await node.send_message("stuck", "go")
    await trio.sleep(1)
    begun = trio.current_time()

    await node.stop_worker("stuck", timeout=2)

    assert trio.current_time() - begun == 2
    assert stuck.stopped
    with pytest.raises(WorkerNotFound):
        await node.send_message("stuck", "hello")


async def test_requests_that_wait_get_worker_stopped_and_messages_become_dead_letters(
    node: Node, autojump_clock: MockClock
) -> None:
    sleeper = Sleeper()
    lost: list[DeadLetter] = []
    asked: list[NoReply] = []
    node.on_dead_letter = lost.append
    await node.start_worker("sleeper", sleeper)

    async def ask() -> None:
        with pytest.raises(WorkerStopped, match="timeout") as caught:
            await node.send_and_receive("sleeper", "1")
        asked.append(caught.value)

    async with trio.open_nursery() as nursery:
        await node.send_message("sleeper", "2")
        await node.send_message("sleeper", "3")
        nursery.start_soon(ask)
        await trio.sleep(1)
        await node.stop_worker("sleeper")

    assert sleeper.ended == 1
    assert [(error.outcome, error.worker, error.elapsed) for error in asked] == [("not_sent", "sleeper", 2)]
    assert [(letter.to, letter.sender, letter.message) for letter in lost] == [("sleeper@n", "@n", "3")]
    assert node.statistics().dead_letters == 1


async def test_a_message_whose_handler_was_cancelled_becomes_a_dead_letter(
    node: Node, autojump_clock: MockClock
) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    await node.start_worker("sleeper", Sleeper())
    await node.send_message("sleeper", "20")
    await trio.sleep(1)

    await node.stop_worker("sleeper", timeout=1)

    assert [letter.message for letter in lost] == ["20"]


async def test_cancelling_stop_worker_does_not_undo_it(node: Node, autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    await node.start_worker("sleeper", sleeper)
    await node.send_message("sleeper", "3")
    await node.send_message("sleeper", "4")
    await trio.sleep(1)

    with trio.move_on_after(1):
        await node.stop_worker("sleeper")
    await trio.sleep(1.5)

    assert (sleeper.began, sleeper.ended) == (1, 1)
    assert await node.list_workers() == []


async def test_cancelled_before_it_began_stop_worker_stops_nothing(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())

    with trio.CancelScope() as scope:
        scope.cancel()
        await node.stop_worker("echo")

    assert scope.cancelled_caught
    assert await node.send_and_receive("echo", "still here") == "still here"


async def test_two_who_stop_one_worker_both_return_when_it_is_gone(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("sleeper", Sleeper())
    await node.send_message("sleeper", "3")
    await trio.sleep(1)
    returned: list[float] = []

    async def stop() -> None:
        await node.stop_worker("sleeper")
        returned.append(trio.current_time())

    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        nursery.start_soon(stop)

    assert returned == [begun + 2, begun + 2]


async def test_stop_worker_does_not_queue_behind_messages(node: Node, autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    await node.start_worker("sleeper", sleeper, mailbox_capacity=100)
    for _ in range(100):
        await node.send_message("sleeper", "1")
    await trio.sleep(0.5)
    begun = trio.current_time()

    await node.stop_worker("sleeper")

    assert trio.current_time() - begun == 0.5
    assert (sleeper.began, sleeper.ended) == (1, 1)
    assert node.statistics().dead_letters == 99


async def test_stopping_nobody_is_worker_not_found(node: Node, autojump_clock: MockClock) -> None:
    with pytest.raises(WorkerNotFound, match="no worker 'nobody' on node 'n'"):
        await node.stop_worker("nobody")


async def test_a_worker_that_stops_itself_finishes_its_handler_and_takes_no_more(
    node: Node, autojump_clock: MockClock
) -> None:
    class Quitter:
        async def handle_message(self, context: Context, message: str) -> None:
            if message == "by name":
                await context.node.stop_worker("quitter")
            else:
                context.stop()
            await trio.sleep(1)
            await context.reply("done")

    for way in ("by name", "by context"):
        await node.start_worker("quitter", Quitter())
        assert await node.send_and_receive("quitter", way) == "done"
        await wait_all_tasks_blocked()
        assert await node.list_workers() == []


async def test_two_workers_that_stop_each_other_both_stop(node: Node, autojump_clock: MockClock) -> None:
    class Foe:
        async def handle_message(self, context: Context, message: str) -> None:
            await trio.sleep(1)
            await context.node.stop_worker(message)

    await node.start_worker("a", Foe())
    await node.start_worker("b", Foe())

    await node.send_message("a", "b")
    await node.send_message("b", "a")
    await trio.sleep(7)

    assert await node.list_workers() == []


async def test_a_request_kept_by_a_worker_that_stops_is_answered_at_once(node: Node, autojump_clock: MockClock) -> None:
    class Keeper:
        def __init__(self) -> None:
            self.kept: list[Context] = []

        async def handle_message(self, context: Context, message: str) -> None:
            self.kept.append(context)

    await node.start_worker("keeper", Keeper())
    asked: list[NoReply] = []

    async def ask() -> None:
        with pytest.raises(WorkerStopped) as caught:
            await node.send_and_receive("keeper", "later")
        asked.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.sleep(2)
        await node.stop_worker("keeper")

    assert [(error.outcome, error.elapsed) for error in asked] == [("maybe_handled", 2)]


async def test_a_worker_that_is_stopping_says_so_in_the_list(autojump_clock: MockClock) -> None:
    async with open_node("n", stall_warning=None) as node, trio.open_nursery() as nursery:
        await node.start_worker("sleeper", Sleeper())
        await node.send_message("sleeper", "3")
        await trio.sleep(1)

        nursery.start_soon(node.stop_worker, "sleeper")
        await trio.sleep(1)

        assert [info["state"] for info in await node.list_workers()] == ["stopping"]
