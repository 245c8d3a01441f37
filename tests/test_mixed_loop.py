"""The asyncio loop of a Trio run, the Trio run of an asyncio loop: there while used, shared, gone without a trace."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from autonomy import Context, Node, aio, open_node

from .mixed_places import (
    NEW_LOOPS,
    PLACES,
    TICK,
    Leaves,
    NewLoop,
    Place,
    check_nothing_was_forgotten,
    descriptors,
    leave_logging_alone,
    run_in,
)
from .programs import run_file


@pytest.fixture(params=PLACES, ids=lambda place: place.name)
def place(request: pytest.FixtureRequest) -> Place:
    found = request.param
    assert isinstance(found, Place)
    return found


@pytest.fixture(autouse=True)
def _nothing_is_leaked(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    leave_logging_alone(monkeypatch)
    yield
    check_nothing_was_forgotten(caplog)


# --- the loop


class UsesAsyncio:
    """Awaits something of asyncio's, and notes the loop."""

    def __init__(self) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []

    async def handle_message(self, context: Context, message: str) -> None:
        await asyncio.gather(asyncio.sleep(TICK), asyncio.create_task(asyncio.sleep(0)))
        self.loops.append(asyncio.get_running_loop())
        await context.reply("used")


async def test_the_loop_and_its_descriptors_are_gone_when_the_node_has_closed(autojump_clock: MockClock) -> None:
    uses = UsesAsyncio()
    before = descriptors()
    for _ in range(3):
        async with open_node(stall_warning=None) as node:
            await node.start_worker("uses", uses)
            await node.send_and_receive("uses", "")
            assert descriptors() > before

        assert descriptors() == before
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()

    assert [loop.is_closed() for loop in uses.loops] == [True] * 3


@pytest.mark.parametrize("new_loop", NEW_LOOPS)
def test_trio_and_its_descriptors_are_gone_when_the_node_has_closed(
    new_loop: NewLoop,
) -> None:
    uses = UsesAsyncio()

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        before = descriptors()
        for _ in range(3):
            async with aio.open_node(stall_warning=None) as node:
                await node.start_worker("uses", uses)
                await node.send_and_receive("uses", "")
                assert uses.loops.pop() is loop
                assert descriptors() > before

            assert descriptors() == before
            assert not trio.lowlevel.in_trio_run()
        assert not loop.is_closed()

    run_in(new_loop)(scenario)


def test_a_program_leaves_no_loop_behind() -> None:
    uses = UsesAsyncio()

    async def main(node: Node) -> None:
        await node.start_worker("uses", uses)
        await asyncio.gather(node.send_and_receive("uses", ""), asyncio.sleep(0))

    Node.start(main, wait_until_interrupted=False, stall_warning=None)
    before = descriptors()
    uses = UsesAsyncio()
    Node.start(main, wait_until_interrupted=False, stall_warning=None)

    assert descriptors() == before
    assert uses.loops[0].is_closed()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


async def test_no_loop_is_made_when_nobody_uses_asyncio(autojump_clock: MockClock) -> None:
    class UsesTrio:
        async def handle_message(self, context: Context, message: str) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 1)
            await context.reply("used")

    before = descriptors()
    async with open_node(stall_warning=None) as node:
        await node.start_worker("uses", UsesTrio())

        await node.send_and_receive("uses", "")

        assert descriptors() == before


def test_an_async_generator_that_a_task_left_begun_is_closed(place: Place) -> None:
    steps: list[str] = []

    class Leaving:
        async def handle_message(self, context: Context, message: str) -> None:
            async def numbers() -> AsyncGenerator[int]:
                try:
                    yield 1
                finally:
                    await asyncio.sleep(0)
                    steps.append("closed")

            async def begin() -> None:
                self.left = numbers()
                assert await anext(self.left) == 1

            await asyncio.create_task(begin())
            await context.reply("begun")

    async def scenario() -> None:
        async with place.open_node(stall_warning=None) as node:
            await node.start_worker("leaving", leaving := Leaving())
            await node.send_and_receive("leaving", "")
            assert leaving.left is not None
            assert steps == []

    place.run(scenario)

    assert steps == ["closed"]


# --- nodes that share it


def test_a_trio_run_within_a_callback_of_asyncio_has_a_loop_of_its_own() -> None:
    class Sleeps:
        async def handle_message(self, context: Context, message: str) -> None:
            await asyncio.sleep(0.01)
            await context.reply(message)

    async def program() -> str:
        async with open_node("n") as node:
            await node.start_worker("sleeps", Sleeps())
            return await node.send_and_receive("sleeps", "awake", timeout=10)

    async def application() -> None:  # as a notebook has it, whose cells run in its own loop
        loop = asyncio.get_running_loop()

        assert trio.run(program) == "awake"

        assert asyncio.get_running_loop() is loop
        await asyncio.sleep(0)

    asyncio.run(application())


async def test_nodes_of_one_trio_run_share_a_loop_until_the_last_has_left(autojump_clock: MockClock) -> None:
    uses = [UsesAsyncio(), UsesAsyncio()]
    leaves = [Leaves(), Leaves()]
    first_may_go, first_has_gone = trio.Event(), trio.Event()

    async def first() -> None:
        async with open_node(stall_warning=None) as node:
            await node.start_worker("uses", uses[0])
            await node.start_worker("leaves", leaves[0])
            await node.send_and_receive("uses", "")
            await node.send_and_receive("leaves", "a")
            await first_may_go.wait()
        first_has_gone.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        async with open_node(stall_warning=None) as node:
            await node.start_worker("uses", uses[1])
            await node.start_worker("leaves", leaves[1])
            await node.send_and_receive("uses", "")
            await node.send_and_receive("leaves", "b")

            first_may_go.set()
            await first_has_gone.wait()

            leaves[0].check("a")
            assert [task.done() for task in leaves[1].tasks] == [False]
            assert await node.send_and_receive("uses", "") == "used"
            assert not uses[1].loops[0].is_closed()

    leaves[1].check("b")
    assert len({id(loop) for loop in [*uses[0].loops, *uses[1].loops]}) == 1
    assert uses[0].loops[0].is_closed()


@pytest.mark.parametrize("new_loop", NEW_LOOPS)
def test_nodes_on_one_asyncio_loop_share_a_trio_run_until_the_last_has_left(
    new_loop: NewLoop,
) -> None:
    async def scenario() -> None:
        leaves = [Leaves(), Leaves()]
        opening = aio.open_node(stall_warning=None)
        first = await opening.__aenter__()
        async with aio.open_node(stall_warning=None) as second:
            token = trio.lowlevel.current_trio_token()
            for node, worker in zip((first, second), leaves, strict=True):
                await node.start_worker("leaves", worker)
                await node.send_and_receive("leaves", "a")

            await opening.__aexit__(None, None, None)

            leaves[0].check("a")
            assert await second.send_and_receive("leaves", "b") == "left"
            assert trio.lowlevel.current_trio_token() is token
        leaves[1].check("a", "b")
        assert not trio.lowlevel.in_trio_run()

    run_in(new_loop)(scenario)


async def test_a_task_that_a_thread_asks_for_ends_with_the_last_node(autojump_clock: MockClock) -> None:
    leaves = Leaves()
    began = threading.Event()

    class FromThread:
        async def handle_message(self, context: Context, message: str) -> None:
            loop = asyncio.get_running_loop()

            def ask() -> None:
                asyncio.run_coroutine_threadsafe(leaves.leave("by a thread"), loop)
                began.set()

            thread = threading.Thread(target=ask)
            thread.start()
            thread.join()
            await asyncio.sleep(TICK)
            await context.reply("asked")

    async with open_node(stall_warning=None) as node:
        await node.start_worker("from-thread", FromThread())
        await node.send_and_receive("from-thread", "")
        await node.stop_worker("from-thread")
        assert [task.done() for task in leaves.tasks] == [False]

    leaves.check("by a thread")


# --- the process


@pytest.mark.slow
def test_a_thread_of_asyncio_that_never_ends_does_not_keep_a_program_from_ending(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, time\n"
        "from autonomy import Node\n"
        "async def main(node):\n"
        "    task = asyncio.create_task(asyncio.to_thread(time.sleep, 50))\n"
        "    await asyncio.sleep(0.05)\n"
        "    print('main ends', flush=True)\n"
        "Node.start(main, wait_until_interrupted=False)\n"
    )

    ended = run_file(program)

    assert (ended.code, ended.out) == (0, ["main ends"]), ended.err
    assert ended.err == ""
    assert ended.seconds < 15
