"""Groups that are stopped at awkward times: while they start, by a member, by somebody who gives up (L4, L7)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from autonomy import ChildSpec, Context, Node, NodeDown, WorkerExists, WorkerStopped, open_node
from tests.workers import Echo, Sleeper


class Slow(Echo):
    """Takes a second to start."""

    async def on_start(self, context: Context) -> None:
        await trio.sleep(1)


class SlowToStop(Echo):
    """Takes a second to stop."""

    async def on_stop(self, context: Context) -> None:
        await trio.sleep(1)


class Stopper:
    """Stops what it is told to, then replies."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.node.stop_worker(message)
        await context.reply("asked to")


async def is_free(node: Node, name: str) -> bool:
    try:
        await node.start_worker(name, Echo())
    except WorkerExists:
        return False
    await node.stop_worker(name)
    return True


# ---- while it starts


@pytest.mark.parametrize("after", [0.3, 0.6, 1.3, 1.6, 2.5])
@pytest.mark.parametrize("kinds", [[Slow, Slow], [Slow, Echo, SlowToStop, Slow], [Echo, Echo, Slow]])
async def test_a_group_that_is_stopped_while_it_starts_leaves_nothing_behind(
    node: Node, autojump_clock: MockClock, kinds: Sequence[type[Echo]], after: float
) -> None:
    children = [ChildSpec(f"member-{number}", kind) for number, kind in enumerate(kinds)]
    early: list[WorkerStopped] = []

    async def start_group() -> None:
        try:
            await node.start_group("group", children)
        except WorkerStopped as error:
            early.append(error)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_group)
            await trio.sleep(after)
            await node.stop_worker("group")

    assert len(early) == (after < sum(kind is Slow for kind in kinds))
    assert all("was stopped while it started" in str(error) and error.outcome == "not_sent" for error in early)
    assert await node.list_workers() == []
    assert all([await is_free(node, name) for name in ("group", *(child.name for child in children))])


@pytest.mark.parametrize("pauses", range(12))
async def test_so_it_is_between_members_that_start_at_once(node: Node, autojump_clock: MockClock, pauses: int) -> None:
    children = [ChildSpec(name, Echo(), "temporary") for name in "abc"]
    outcome: list[str] = []

    async def start_group() -> None:
        try:
            await node.start_group("group", children)
        except WorkerStopped as error:
            outcome.append(str(error))
        else:
            outcome.append("started")

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_group)
            await trio.lowlevel.checkpoint()
            for _ in range(pauses):
                await trio.lowlevel.checkpoint()
            await node.stop_worker("group")

    assert outcome in (["started"], ["group 'group' was stopped while it started"])
    assert await node.list_workers() == []
    assert all([await is_free(node, name) for name in ("group", "a", "b", "c")])


async def test_a_group_has_the_names_of_all_its_members_while_it_starts(node: Node, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.start_group, "group", [ChildSpec("a", Slow), ChildSpec("b", Echo)])
        await trio.sleep(0.5)
        with pytest.raises(WorkerExists, match="keeps the name 'b' for a member of group 'group', which is starting"):
            await node.start_worker("b", Echo())
        with pytest.raises(WorkerExists):
            await node.create_mailbox("b")

    assert [str(worker) for worker in await node.list_workers()] == ["a", "b"]


async def test_a_group_whose_start_fails_keeps_no_name(node: Node, autojump_clock: MockClock) -> None:
    class Failing(Echo):
        async def on_start(self, context: Context) -> None:
            raise OSError("cannot start")

    with pytest.raises(OSError, match="cannot start"):
        await node.start_group("group", [ChildSpec("a", Echo), ChildSpec("b", Failing), ChildSpec("c", Echo)])

    assert all([await is_free(node, name) for name in ("group", "a", "b", "c")])


async def test_a_node_that_leaves_while_a_group_starts_starts_no_more_members(autojump_clock: MockClock) -> None:
    async with open_node("n", stall_warning=None) as node:

        async def ask() -> None:
            with pytest.raises(NodeDown) as caught:
                await node.start_group("group", [ChildSpec("a", Slow), ChildSpec("b", Echo)])
            assert caught.value.outcome == "not_sent"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(0.5)
            await node.stop()


# ---- by a member


async def test_a_member_that_stops_its_group_is_not_waited_for(node: Node, autojump_clock: MockClock) -> None:
    sleeper = Sleeper()
    children = [ChildSpec("a", Echo), ChildSpec("stopper", Stopper), ChildSpec("b", lambda: sleeper)]
    await node.start_group("group", children)
    await node.send_message("b", "2")

    assert await node.send_and_receive("stopper", "group") == "asked to"
    assert trio.current_time() == 0
    async with node.watch("group") as watch:
        await watch.down()

    assert (trio.current_time(), sleeper.ended) == (2, 1)
    assert all([await is_free(node, name) for name in ("group", "a", "stopper", "b")])


async def test_so_it_is_when_the_child_of_a_member_stops_the_group(node: Node, autojump_clock: MockClock) -> None:
    class Parent(Echo):
        async def on_start(self, context: Context) -> None:
            await context.start_worker("stopper", Stopper())

    await node.start_group("group", [ChildSpec("parent", Parent), ChildSpec("b", Echo)])

    assert await node.send_and_receive("stopper", "group") == "asked to"
    async with node.watch("group") as watch:
        await watch.down()

    assert trio.current_time() == 0
    assert await node.list_workers() == []


# ---- by somebody who gives up


async def test_cancelling_the_stop_of_a_group_does_not_undo_it(node: Node, autojump_clock: MockClock) -> None:
    await node.start_group("group", [ChildSpec(name, SlowToStop) for name in "abc"])

    with trio.move_on_after(0.5):
        await node.stop_worker("group")
    await trio.sleep(2.6)

    assert await node.list_workers() == []
    assert await is_free(node, "group")
