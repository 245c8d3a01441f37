"""What `on_conflict` does to the worker that has the name, whatever happens while that one stops (L1, L7)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from autonomy import Context, Node, NodeDown, WorkerExists, WorkerStopped, open_node
from autonomy.abc import OnConflict

from .workers import Echo, Recorder


class Slow(Echo):
    """Takes a second to stop, and notes when it had."""

    def __init__(self) -> None:
        self.stopped = 0

    async def on_stop(self, context: Context) -> None:
        await trio.sleep(1)
        self.stopped += 1


class Named:
    """Replies with its own number."""

    def __init__(self, number: int) -> None:
        self.number = number

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(str(self.number))


# ---- replace ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_once", [2, 3, 10])
async def test_of_several_that_replace_one_worker_the_last_one_has_the_name(
    node: Node, autojump_clock: MockClock, at_once: int
) -> None:
    await node.start_worker("w", Slow())

    async with trio.open_nursery() as nursery:

        async def replace(number: int) -> None:
            await node.start_worker("w", Named(number), on_conflict="replace")

        for number in range(at_once):
            nursery.start_soon(replace, number)
            await trio.sleep(0.01)

    assert await node.send_and_receive("w", "who is it") == str(at_once - 1)


async def test_a_cancelled_replacement_starts_nothing_and_holds_up_no_later_one(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("w", Slow())

    async with trio.open_nursery() as nursery:

        async def replace(worker: object) -> None:
            await node.start_worker("w", worker, on_conflict="replace")

        with trio.move_on_after(0.5):
            await replace(Named(1))
        nursery.start_soon(replace, Named(2))

    assert await node.send_and_receive("w", "who is it") == "2"


async def test_a_node_that_closes_while_a_worker_is_replaced_starts_nothing(autojump_clock: MockClock) -> None:
    new = Recorder()
    async with trio.open_nursery() as outside, open_node("n", stall_warning=None) as node:
        await node.start_worker("w", Slow())

        async def replace() -> None:
            with pytest.raises(NodeDown):
                await node.start_worker("w", new, on_conflict="replace")
            replaced.set()

        replaced = trio.Event()
        outside.start_soon(replace)
        await trio.sleep(0.5)
        outside.start_soon(node.stop)
        await replaced.wait()

    async with open_node("m", stall_warning=None) as other:
        await other.start_worker("w", new)  # it is free


async def test_a_parent_that_dies_while_it_replaces_a_worker_starts_no_child(
    node: Node, autojump_clock: MockClock
) -> None:
    errors: list[Exception] = []

    async with trio.open_nursery() as outside:

        async def replace(context: Context) -> None:
            with pytest.raises(WorkerStopped, match="starts no children") as caught:
                await context.start_worker("w", Echo(), on_conflict="replace")
            errors.append(caught.value)

        class Parent:
            async def handle_message(self, context: Context, message: str) -> None:
                outside.start_soon(replace, context)

        await node.start_worker("w", Slow())
        await node.start_worker("parent", Parent())
        await node.send_message("parent", "go")
        await trio.sleep(0.5)
        await node.stop_worker("parent")

    assert len(errors) == 1
    assert await node.list_workers() == []


async def test_an_object_that_runs_elsewhere_replaces_nobody(node: Node, autojump_clock: MockClock) -> None:
    old, busy = Slow(), Recorder()
    await node.start_worker("w", old)
    await node.start_worker("elsewhere", busy)

    with pytest.raises(ValueError, match="runs as a worker already"):
        await node.start_worker("w", busy, on_conflict="replace")

    assert old.stopped == 0
    assert await node.send_and_receive("w", "still here") == "still here"


async def test_a_worker_may_be_replaced_by_its_own_object(node: Node, autojump_clock: MockClock) -> None:
    slow = Slow()
    await node.start_worker("w", slow)

    await node.start_worker("w", slow, on_conflict="replace")

    assert slow.stopped == 1
    assert await node.send_and_receive("w", "again") == "again"


# ---- keep ------------------------------------------------------------------------------------------------------------


async def test_a_worker_that_is_stopping_is_not_kept_but_followed(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("w", Slow())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.stop_worker, "w")
        await trio.sleep(0.5)
        await node.start_worker("w", Named(1), on_conflict="keep")

    assert trio.current_time() == pytest.approx(1)
    assert await node.send_and_receive("w", "who is it") == "1"


async def test_of_several_that_keep_what_is_there_one_follows_a_worker_that_is_stopping(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("w", Slow())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.stop_worker, "w")
        await trio.sleep(0.5)
        for number in range(10):
            nursery.start_soon(_keep, node, Named(number))

    assert [str(worker) for worker in await node.list_workers()] == ["w"]


async def _keep(node: Node, worker: object) -> None:
    await node.start_worker("w", worker, on_conflict="keep")


async def test_a_worker_cannot_replace_itself_while_it_is_replaced(node: Node, autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    class Tenacious(Echo):
        async def on_stop(self, context: Context) -> None:
            await trio.sleep(1)
            try:
                await context.node.start_worker("w", Echo(), on_conflict="replace")
            except WorkerExists as error:
                outcomes.append(str(error))

    await node.start_worker("w", Tenacious())
    await node.start_worker("w", Named(1), on_conflict="replace")

    assert trio.current_time() == pytest.approx(1)
    assert len(outcomes) == 1
    assert await node.send_and_receive("w", "who is it") == "1"


@pytest.mark.parametrize("on_conflict", ["keep", "replace"])
async def test_a_worker_that_is_stopping_cannot_be_followed_from_its_own_handler(
    node: Node, autojump_clock: MockClock, on_conflict: OnConflict
) -> None:
    outcomes: list[str] = []

    class Phoenix:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.node.stop_worker(context.name)
            try:
                await context.start_worker(context.name, Echo(), on_conflict=on_conflict)
            except WorkerExists as error:
                outcomes.append(str(error))

    await node.start_worker("w", Phoenix())
    await node.send_message("w", "go")
    await trio.sleep(1)

    assert len(outcomes) == 1
    assert "from its own handler" in outcomes[0]
    assert await node.list_workers() == []
