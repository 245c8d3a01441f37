"""Where asyncio and Trio do not meet: what cannot work says so in one clear sentence, and harms nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock

from autonomy import (
    Context,
    Node,
    WorkerFailed,
    aio,
    open_node,
)

from .mixed_places import LONG, NEW_LOOPS, TICK, Does, NewLoop, descriptors, does, leave_logging_alone, run_in
from .workers import Echo, Recorder


@pytest.fixture(autouse=True)
def _programs_leave_logging_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_logging_alone(monkeypatch)


async def refusal_of(awaitable: Awaitable[object]) -> str:
    """Return what a RuntimeError says, with its notes; check that it is one sentence or two."""
    with pytest.raises(RuntimeError) as caught:
        await awaitable
    text = " ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert "\n" not in text
    assert len(text) < 400
    return text


def in_task(awaitable: Awaitable[object]) -> asyncio.Task[object]:
    async def task() -> object:
        return await awaitable

    return asyncio.create_task(task())


# --- programs within programs


async def test_asyncio_run_inside_a_node_is_refused(autojump_clock: MockClock) -> None:
    async def action(context: Context) -> str:
        never = asyncio.sleep(0)
        try:
            with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
                asyncio.run(never)
        finally:
            never.close()
        await asyncio.sleep(0)
        return "went on"

    async with open_node(stall_warning=None) as node:
        assert await does(node, action) == "went on"


def test_asyncio_run_inside_main_is_refused() -> None:
    async def main(node: Node) -> None:
        never = asyncio.sleep(0)
        try:
            asyncio.run(never)
        finally:
            never.close()

    with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
        Node.start(main, wait_until_interrupted=False, stall_warning=None)


async def test_signal_handlers_of_asyncio_are_refused_where_trio_has_the_signals(autojump_clock: MockClock) -> None:
    before = signal.getsignal(signal.SIGUSR1), signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before[1])

    async def action(context: Context) -> str:
        async def add() -> None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)

        assert await refusal_of(in_task(add())) == await refusal_of(add())
        return await refusal_of(add())

    async with open_node(stall_warning=None) as node:
        text = await does(node, action)
        assert "trio.open_signal_receiver()" in text
        assert "Node.start" in text

    after = signal.getsignal(signal.SIGUSR1), signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(after[1])
    assert after == before


def test_node_start_inside_asyncio_is_refused() -> None:
    async def program() -> None:
        async def start() -> None:
            Node.start(None, wait_until_interrupted=False)

        text = await refusal_of(start())
        assert "autonomy.aio.open_node()" in text
        async with aio.open_node(stall_warning=None) as node:
            assert "open_node()" in await refusal_of(start())
            await node.start_worker("echo", Echo())
            assert await node.send_and_receive("echo", "goes on") == "goes on"

    run_in(asyncio.new_event_loop)(program)


async def test_node_start_inside_a_node_is_refused(autojump_clock: MockClock) -> None:
    async def start() -> None:
        Node.start(None, wait_until_interrupted=False)

    async def action(context: Context) -> str:
        await refusal_of(in_task(start()))
        return await refusal_of(start())

    async with open_node(stall_warning=None) as node:
        assert "open_node()" in await does(node, action)


async def opened(opening: Any) -> None:
    async with opening:
        raise AssertionError("it opened")


def test_open_node_in_asyncio_is_refused_and_names_the_other_one() -> None:
    async def program() -> None:
        assert "async with autonomy.aio.open_node()" in await refusal_of(opened(open_node()))
        async with aio.open_node(stall_warning=None):
            assert "async with autonomy.aio.open_node()" in await refusal_of(opened(open_node()))

    run_in(asyncio.new_event_loop)(program)


async def test_open_node_in_an_asyncio_task_of_a_trio_program_is_refused(autojump_clock: MockClock) -> None:
    async def action(context: Context) -> str:
        return await refusal_of(in_task(opened(open_node())))

    async with open_node(stall_warning=None) as node:
        assert "open_node" in await does(node, action)


async def test_aio_open_node_in_a_trio_program_is_refused_and_names_the_other_one(autojump_clock: MockClock) -> None:
    before = descriptors()

    assert "autonomy.open_node()" in await refusal_of(opened(aio.open_node()))
    async with open_node(stall_warning=None):
        assert "autonomy.open_node()" in await refusal_of(opened(aio.open_node()))

    assert descriptors() == before


async def test_aio_open_node_in_a_worker_of_a_trio_program_is_refused(autojump_clock: MockClock) -> None:
    async def action(context: Context) -> str:
        texts = {await refusal_of(opened(aio.open_node())), await refusal_of(in_task(opened(aio.open_node())))}
        assert all("autonomy.open_node()" in text for text in texts)
        await asyncio.sleep(TICK)
        return "goes on"

    async with open_node(stall_warning=None) as node:
        assert await does(node, action) == "goes on"


# --- the wrong world


def trio_s() -> list[Awaitable[object]]:
    sleep, checkpoint = trio.sleep, trio.lowlevel.checkpoint
    return [sleep(TICK), trio.Event().wait(), checkpoint(), trio.open_nursery().__aenter__()]


async def test_trio_s_functions_in_an_asyncio_task_are_refused_with_an_explanation(autojump_clock: MockClock) -> None:
    async def action(context: Context) -> str:
        texts = {await refusal_of(in_task(awaitable)) for awaitable in trio_s()}
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(TICK))
        await trio.sleep(TICK)
        (text,) = {text.partition(" An asyncio task ")[2] for text in texts}
        return text

    async with open_node(stall_warning=None) as node:
        text = await does(node, action)

    assert text.startswith("cannot await Trio's own functions, only asyncio's and autonomy's.")


@pytest.mark.parametrize("new_loop", NEW_LOOPS)
def test_so_they_are_in_an_asyncio_application(new_loop: NewLoop) -> None:
    async def action(context: Context) -> str:
        return await refusal_of(in_task(trio.Event().wait()))

    async def program() -> None:
        async with aio.open_node(stall_warning=None) as node:
            assert "cannot await Trio's own functions" in await does(node, action)
            assert "must be called from async context" in await refusal_of(trio.Event().wait())

    run_in(new_loop)(program)


async def test_a_trio_program_s_own_body_awaits_trio_alone_and_trio_says_so() -> None:
    async with open_node(stall_warning=None) as node:
        await node.start_worker("echo", Echo())
        with pytest.raises(TypeError, match="asyncio"):
            await asyncio.sleep(TICK)

        assert await node.send_and_receive("echo", "goes on") == "goes on"


METHODS: list[Callable[[Node], Awaitable[object]]] = [
    lambda node: node.identifier(),
    lambda node: node.send_message("echo", "x"),
    lambda node: node.send_and_receive("echo", "x"),
    lambda node: node.send("echo", "x"),
    lambda node: node.create_mailbox(),
    lambda node: node.any("echo", "x"),
    lambda node: node.all("echo", "x"),
    lambda node: node.start_worker("other", Echo()),
    lambda node: node.stop_worker("echo"),
    lambda node: node.list_workers(),
    lambda node: node.ready(),
    lambda node: node.stop(),
]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_awaited_in_a_thread_without_the_node_is_refused_and_does_nothing(
    method: Callable[[Node], Awaitable[object]],
) -> None:
    texts: list[str] = []

    async def elsewhere(node: Node) -> None:
        texts.append(await refusal_of(method(node)))

    async def program() -> None:
        handled = Recorder()
        async with open_node(stall_warning=None) as node:
            await node.start_worker("echo", Echo())
            await node.start_worker("recorder", handled)
            statistics = [dict(info) for info in await node.list_workers()]

            await trio.to_thread.run_sync(lambda: asyncio.run(elsewhere(node)))

            assert [dict(info) for info in await node.list_workers()] == statistics
            assert await node.send_and_receive("echo", "goes on", timeout=2) == "goes on"

    trio.run(program)

    assert "There is no node in this thread" in texts[0]


def test_a_future_of_another_loop_is_refused() -> None:
    async def program() -> None:
        other = asyncio.new_event_loop()
        future = other.create_future()

        async def action(context: Context) -> str:
            async def wait() -> object:
                return await future

            return await refusal_of(wait())

        async with open_node(stall_warning=None) as node:
            assert "another asyncio loop" in await does(node, action)
        other.close()

    trio.run(program)


async def test_the_current_task_of_trio_code_calls_nobody_back(autojump_clock: MockClock) -> None:
    async def action(context: Context) -> str:
        async def add() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.add_done_callback(print)

        return await refusal_of(add())

    async with open_node(stall_warning=None) as node:
        assert "asyncio.create_task()" in await does(node, action)


# --- a cancellation that gets out


async def cancelled_by_its_task(context: Context) -> None:
    task = asyncio.create_task(asyncio.sleep(LONG))
    task.cancel()
    await task


async def cancelled_by_itself(context: Context) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await trio.sleep(LONG)


async def cancelled_in_a_nursery(context: Context) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await cancelled_by_its_task(context)


async def timed_out_around_a_nursery(context: Context) -> None:
    async with asyncio.timeout(TICK), trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep_forever()


@pytest.mark.parametrize(
    "action", [cancelled_by_its_task, cancelled_by_itself, cancelled_in_a_nursery, timed_out_around_a_nursery]
)
async def test_a_handler_that_lets_a_cancellation_of_asyncio_s_out_fails_its_message_alone(
    autojump_clock: MockClock, action: Callable[[Context], Awaitable[None]]
) -> None:
    async with open_node(stall_warning=None) as node:
        await node.start_worker("does", Does(action))
        await node.start_worker("echo", Echo())

        for _ in range(2):
            with pytest.raises(WorkerFailed, match="Cancelled"):
                await node.send_and_receive("does", "")

        assert await node.send_and_receive("echo", "goes on") == "goes on"


async def test_an_on_start_that_lets_one_out_starts_nothing(autojump_clock: MockClock) -> None:
    class Starts(Echo):
        async def on_start(self, context: Context) -> None:
            await cancelled_by_its_task(context)

    async with open_node(stall_warning=None) as node:
        with pytest.raises(Exception, match="cancelled"):
            await node.start_worker("starts", Starts())

        assert await node.list_workers() == []
