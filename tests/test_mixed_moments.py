"""What is told when: a cancellation at the very moment of a reply, at the end of a handler, and during a clean-up.

The cases that the properties of test_mixed_races.py draw only now and then, one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
import trio

from autonomy import Context, Node, aio, open_node

from .test_mixed_races import After, BoomError, Runs, in_virtual_time, no_hang, nothing_comes_later, run_in_handler

# --- the very moment


class Cancels:
    """Replies and cancels whoever asks, in the order that the message says."""

    def __init__(self) -> None:
        self.asker: Any = None

    async def handle_message(self, context: Context, message: str) -> None:
        for word in message.split():
            if word == "cancel":
                self.asker.cancel()
            else:
                await context.reply(word)


async def ask_and_be_cancelled(node: Node, cancels: Cancels, message: str) -> list[str]:
    """Return what comes out of a request and of the awaits after it, in the task that `Cancels` cancels."""
    cancels.asker = asyncio.current_task()
    log: list[str] = []
    waits: list[Callable[[], Awaitable[object]]] = [
        lambda: node.send_and_receive("cancels", message, timeout=5),
        lambda: asyncio.sleep(0, "slept"),
        lambda: asyncio.sleep(1, "slept"),
    ]
    for wait in waits:
        try:
            log.append(str(await wait()))
        except asyncio.CancelledError:
            log.append("cancelled")
    assert cancels.asker.uncancel() == 0
    log.append(await node.send_and_receive("cancels", "again", timeout=5))
    return log


ONCE = (["cancelled", "slept", "slept", "again"], ["yes", "cancelled", "slept", "again"])
"""Either the request is cancelled, or it is answered, and then the next await is cancelled."""


@pytest.mark.parametrize("asker", ["the handler", "a task of the handler's"])
@pytest.mark.parametrize("message", ["yes cancel", "cancel yes", "cancel"])
def test_a_cancellation_at_the_moment_of_the_reply_is_told_once_and_no_reply_is_told_twice(
    asker: str, message: str
) -> None:
    logs: list[list[str]] = []

    async def scenario(node: Node) -> None:
        await node.start_worker("cancels", cancels := Cancels())

        async def ask() -> None:
            asking = ask_and_be_cancelled(node, cancels, message)
            logs.append(await (asking if asker == "the handler" else asyncio.create_task(asking)))

        await run_in_handler(node, ask)

    in_virtual_time(scenario)

    assert logs[0] in ONCE


@pytest.mark.parametrize("message", ["yes cancel", "cancel yes", "cancel"])
@pytest.mark.slow
def test_a_cancellation_at_the_moment_of_the_reply_is_told_once_in_an_asyncio_application(message: str) -> None:
    async def application() -> list[str]:
        async with aio.open_node("n", stall_warning=None) as node:
            await node.start_worker("cancels", cancels := Cancels())
            log = await asyncio.create_task(ask_and_be_cancelled(node, cancels, message))
            assert node.statistics().waiting_requests == 0
            return log

    with no_hang():
        assert asyncio.run(application()) in ONCE


def test_a_cancellation_that_nobody_took_ends_with_its_handler() -> None:
    async def scenario(node: Node) -> None:
        await node.start_worker("cancels", cancels := Cancels())

        async def ask_nobody() -> None:
            cancels.asker = asyncio.current_task()
            await node.send_and_receive("cancels", "yes cancel")

        worker = Runs(ask_nobody)
        await node.start_worker("pending", worker)
        await node.send_message("pending", "go")
        await trio.sleep(1)
        worker.function = trio.lowlevel.checkpoint

        await node.send_message("pending", "go")
        await trio.sleep(1)

        assert worker.result is None
        assert [info["handled"] for info in await node.list_workers() if info["name"] == "pending"] == [2]

    in_virtual_time(scenario)


def test_a_group_whose_last_task_fails_leaves_no_cancellation_behind() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise BoomError

    async def program() -> None:
        with suppress_group(BoomError):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
        await nothing_comes_later()

    async def scenario(node: Node) -> None:
        await run_in_handler(node, program)

    in_virtual_time(scenario)


@contextmanager
def suppress_group(kind: type[Exception]) -> Generator[None]:
    try:
        yield
    except BaseExceptionGroup as errors:
        if rest := errors.split(kind)[1]:
            raise rest from None


# --- clean-ups


async def told_at(wait: Callable[[], Awaitable[object]], clean_up: float) -> list[float]:
    """Return when a handler is told that its scope, of one second, is cancelled: at first and in its clean-up."""
    begun, times = trio.current_time(), list[float]()
    with trio.move_on_after(1):
        try:
            await wait()
        except asyncio.CancelledError:
            times.append(trio.current_time() - begun)
            ends = trio.current_time() + clean_up
            while (left := ends - trio.current_time()) > 0:
                try:
                    await asyncio.sleep(left)
                except asyncio.CancelledError:
                    times.append(trio.current_time() - begun)
            raise
    return times


@pytest.mark.parametrize(("clean_up", "expected"), [(0.9, [1.0]), (2.5, [1.0, 2.0, 3.0])])
@pytest.mark.parametrize("kind", ["asyncio", "trio", "ask", "task", "gather"])
def test_a_clean_up_is_told_again_only_after_a_second(kind: str, clean_up: float, expected: list[float]) -> None:
    seen: list[list[float]] = []

    async def scenario(node: Node) -> None:
        await node.start_worker("after", After())
        waits: dict[str, Callable[[], Awaitable[object]]] = {
            "asyncio": lambda: asyncio.sleep(100),
            "trio": trio.Event().wait,
            "ask": lambda: node.send_and_receive("after", "", timeout=100),
            "task": lambda: asyncio.create_task(asyncio.sleep(100)),
            "gather": lambda: asyncio.gather(asyncio.sleep(100), asyncio.sleep(100)),
        }

        async def program() -> None:
            seen.append(await told_at(waits[kind], clean_up))
            await nothing_comes_later()

        await run_in_handler(node, program)

    in_virtual_time(scenario)

    assert seen == [expected]


def test_a_clean_up_with_a_deadline_of_its_own_is_not_told_again() -> None:
    log: list[str] = []

    async def program() -> None:
        with trio.move_on_after(1):
            try:
                await asyncio.sleep(100)
            finally:
                with trio.move_on_after(0.5) as own:
                    await asyncio.sleep(0.25)
                    log.append("cleaned up")
                assert not own.cancelled_caught
        await nothing_comes_later()

    async def scenario(node: Node) -> None:
        await run_in_handler(node, program)

    in_virtual_time(scenario)

    assert log == ["cleaned up"]


def test_a_cancellation_before_a_wait_that_cannot_be_ended_comes_out_after_it() -> None:
    log: list[str] = []

    async def program() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await trio.to_thread.run_sync(log.append, "in a thread")
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            log.append("cancelled")
        task.uncancel()
        await asyncio.sleep(0)

    async def main() -> None:
        async with open_node("n", stall_warning=None) as node:
            await run_in_handler(node, program)

    with no_hang():
        trio.run(main)  # in real time: virtual time does not wait for threads

    assert log == ["in a thread", "cancelled"]


class EndsWithItsTask:
    """Ends its life in the very moment in which a task of its own takes its last step, the n-th."""

    async def handle_message(self, context: Context, message: str) -> None:
        ending = trio.Event()

        async def last_steps() -> None:
            for _ in range(int(message)):
                await asyncio.sleep(0)
            ending.set()

        self.task = asyncio.create_task(last_steps())
        await ending.wait()
        context.stop()


@pytest.mark.slow
def test_a_worker_may_end_in_the_turn_in_which_its_task_ends() -> None:
    async def scenario(node: Node) -> None:
        for steps in range(200):
            await node.start_worker("ends", EndsWithItsTask())
            async with node.watch("ends") as watch:
                await node.send_message("ends", str(steps))
                await watch.down()

    in_virtual_time(scenario)
