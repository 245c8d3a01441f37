"""`autonomy.aio`: a node inside an asyncio program, under asyncio's own loop and under uvloop."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import uvloop

from autonomy import Context, DeadlineExceeded, Escalate, Node, WorkerFailed, WorkerNotFound, WorkerStopped, aio

from .workers import Echo, Failing

T = TypeVar("T")
Application = Callable[[], Coroutine[Any, Any, T]]
pytestmark = [pytest.mark.network, pytest.mark.slow]  # loops have real descriptors, and real time


class Loops:
    """Runs applications on one kind of loop, and sees that nothing is left of them."""

    def __init__(self, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        self.factory = factory

    def run(self, application: Application[T], *, seconds: float = 20) -> T:
        """Run an application to its end; what it leaves behind fails the test."""
        self.warm_up()
        before = open_descriptors()

        async def main() -> T:
            try:
                return await asyncio.wait_for(application(), seconds)
            finally:
                asyncio.get_running_loop().set_task_factory(None)
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left

        with asyncio.Runner(loop_factory=self.factory) as runner:
            result = runner.run(main())
        gc.collect()
        assert open_descriptors() == before
        assert not trio.lowlevel.in_trio_run()
        names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        assert [name for name in names if "rio" not in name] == []
        return result

    def warm_up(self) -> None:
        """Let Trio and the loop open what they keep for good."""

        async def main() -> None:
            async with aio.open_node():
                await asyncio.sleep(0)

        with asyncio.Runner(loop_factory=self.factory) as runner:
            runner.run(main())
        gc.collect()


def open_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/dev/fd").iterdir()))


@pytest.fixture(params=[asyncio.SelectorEventLoop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loops(request: pytest.FixtureRequest) -> Loops:
    return Loops(request.param)


class Sleeps:
    """Sleeps in asyncio for as many seconds as the message says, then replies; notes how that ended."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def handle_message(self, context: Context, message: str) -> None:
        try:
            await asyncio.sleep(float(message))
        except asyncio.CancelledError:
            self.log.append("cancelled")
            raise
        self.log.append(message)
        await context.reply(message)

    async def on_stop(self, context: Context) -> None:
        await asyncio.sleep(0)
        self.log.append("on_stop")


@asynccontextmanager
async def node_with(**workers: Any) -> AsyncIterator[Node]:
    async with aio.open_node("n", stall_warning=None) as node:
        for name, worker in workers.items():
            await node.start_worker(name, worker)
        yield node


# --- what a node does


def test_requests_are_answered_alone_in_tasks_and_together(loops: Loops) -> None:
    async def application() -> None:
        async with node_with(echo=Echo(), failing=Failing()) as node:
            assert await node.send_and_receive("echo", "alone") == "alone"
            assert await asyncio.create_task(node.send_and_receive("echo", "task")) == "task"
            together = [node.send_and_receive("echo", str(number)) for number in range(50)]
            assert await asyncio.gather(*together) == [str(number) for number in range(50)]
            with pytest.raises(WorkerFailed, match="ValueError: oh"):
                await node.send_and_receive("failing", "oh")
            with pytest.raises(WorkerNotFound):
                await node.send_and_receive("nobody", "hello")
            assert node.statistics().waiting_requests == 0

    loops.run(application)


def test_workers_may_await_whatever_asyncio_has(loops: Loops) -> None:
    host: object = None

    class Worker:
        async def on_start(self, context: Context) -> None:
            self.lock = asyncio.Lock()
            await asyncio.sleep(0)

        async def handle_message(self, context: Context, message: str) -> None:
            async with self.lock, asyncio.timeout(5):
                await asyncio.sleep(0.001)
                await trio.sleep(0.001)
                parts = await asyncio.gather(asyncio.to_thread(str.upper, message), asyncio.sleep(0, "!"))
            async with asyncio.TaskGroup() as group:
                task = group.create_task(asyncio.sleep(0, asyncio.get_running_loop() is host))
            await context.reply(f"{parts[0]}{parts[1]} {task.result()}")

    async def application() -> str:
        nonlocal host
        host = asyncio.get_running_loop()
        async with node_with(worker=Worker()) as node:
            return await node.send_and_receive("worker", "hello", timeout=5)

    assert loops.run(application) == "HELLO! True"


def test_timers_send_later_and_every_so_often(loops: Loops) -> None:
    async def application() -> None:
        async with node_with() as node, await node.create_mailbox("box") as box:
            node.send_after(0.02, "box", "later")
            timer = node.send_every(0.005, "box", "again")

            heard = [await box.receive(timeout=5) for _ in range(8)]
            timer.cancel()

            assert heard.count("later") == 1
            assert node.statistics().timers == 0

    loops.run(application)


def test_a_watch_tells_of_an_end(loops: Loops) -> None:
    async def application() -> None:
        async with node_with(echo=Echo()) as node, node.watch("echo") as watch:
            waiting = asyncio.create_task(watch.down())
            await asyncio.sleep(0.01)
            assert not waiting.done()

            await node.stop_worker("echo")

            assert (await waiting).reason == "stopped"

    loops.run(application)


def test_mailboxes_take_replies_and_end_at_their_timeout(loops: Loops) -> None:
    class Counts:
        async def handle_message(self, context: Context, message: str) -> None:
            for number in range(int(message)):
                await asyncio.sleep(0)
                await context.reply(str(number))

    async def application() -> None:
        async with node_with(counts=Counts()) as node:
            async with await node.send("counts", "3") as replies:
                assert [await replies.receive(timeout=5) for _ in range(3)] == ["0", "1", "2"]
                with pytest.raises(DeadlineExceeded):
                    await replies.receive(timeout=0.01)
                waiting = asyncio.create_task(replies.receive(timeout=5))
                await asyncio.sleep(0.01)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            assert node.statistics().mailboxes == 0

    loops.run(application)


# --- cancellation


@pytest.mark.parametrize("how", ["timeout", "wait_for", "cancel", "group"])
def test_cancelling_in_asyncio_withdraws_a_request(loops: Loops, how: str) -> None:
    async def cancelled_request(node: Node) -> None:
        request = node.send_and_receive("sleeps", "0.5", timeout=10)
        if how == "timeout":
            async with asyncio.timeout(0.02):
                await request
        elif how == "wait_for":
            await asyncio.wait_for(request, 0.02)
        elif how == "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(request)
                await asyncio.sleep(0.02)
                raise TimeoutError
        else:
            task = asyncio.create_task(request)
            asyncio.get_running_loop().call_later(0.02, task.cancel)
            await task

    async def application() -> None:
        async with node_with(sleeps=(sleeps := Sleeps())) as node:
            first = asyncio.create_task(node.send_and_receive("sleeps", "0.05"))
            await asyncio.sleep(0)

            try:
                await cancelled_request(node)
            except* (TimeoutError, asyncio.CancelledError):
                pass

            assert node.statistics().waiting_requests == 1
            assert await first == "0.05"
            await node.stop_worker("sleeps")
            assert sleeps.log == ["0.05", "on_stop"]
            assert cancellations() == 0

    loops.run(application)


def cancellations() -> int:
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


def test_stopping_a_worker_cancels_what_its_handler_awaits_in_asyncio(loops: Loops) -> None:
    async def application() -> None:
        async with node_with(sleeps=(sleeps := Sleeps())) as node:
            request = asyncio.create_task(node.send_and_receive("sleeps", "60"))
            await asyncio.sleep(0.01)

            await node.stop_worker("sleeps", timeout=0.01)

            with pytest.raises(WorkerStopped):
                await request
            assert sleeps.log == ["cancelled", "on_stop"]

    loops.run(application)


# --- a node that fails


class FatalError(Exception):
    """What ends a node."""


class Bomb:
    """Ends its node when it is told to."""

    async def handle_message(self, context: Context, message: str) -> None:
        raise FatalError(message)


async def body_that_sleeps(node: Node) -> None:
    await asyncio.sleep(60)


async def body_that_asks(node: Node) -> None:
    await node.send_and_receive("sleeps", "60", timeout=60)


async def body_that_starts_a_worker(node: Node) -> None:
    class Slow(Echo):
        async def on_start(self, context: Context) -> None:
            await trio.sleep(60)

    await node.start_worker("slow", Slow())


async def body_in_a_group(node: Node) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(60))
        group.create_task(asyncio.sleep(60))


async def body_in_a_timeout(node: Node) -> None:
    async with asyncio.timeout(60):
        await asyncio.sleep(60)


async def body_in_wait_for(node: Node) -> None:
    await asyncio.wait_for(asyncio.sleep(60), 60)


async def body_that_cleans_up(node: Node) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.01)


async def body_that_computes(node: Node) -> None:
    await asyncio.sleep(0.001)
    time.sleep(0.05)  # noqa: ASYNC251  # it holds the loop, on purpose


async def body_that_has_ended(node: Node) -> None:
    return


async def body_that_waits_in_a_thread(node: Node) -> None:
    await asyncio.to_thread(time.sleep, 0.05)
    await asyncio.sleep(60)


@pytest.mark.parametrize("body", [value for name, value in list(globals().items()) if name.startswith("body_")])
def test_the_failure_of_a_node_comes_out_of_the_block_bare_and_at_once(
    loops: Loops, body: Callable[[Node], Awaitable[None]]
) -> None:
    async def application() -> float:
        begun = time.monotonic()
        with pytest.raises(FatalError, match="bang") as caught:  # noqa: PT012  # it comes out of the block's end
            async with node_with(sleeps=Sleeps()) as node:
                await node.start_worker("bomb", Bomb(), supervision=Escalate())
                await node.send_message("bomb", "bang")
                await body(node)
        seconds = time.monotonic() - begun
        assert type(caught.value) is FatalError
        assert cancellations() == 0
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return seconds

    assert loops.run(application) < 1


def test_the_failure_of_a_node_does_not_hide_a_cancellation_from_outside(loops: Loops) -> None:
    async def application() -> bool:
        async def block() -> None:
            async with node_with() as node:
                await node.start_worker("bomb", Bomb(), supervision=Escalate())
                await node.send_message("bomb", "bang")
                task.cancel()
                await asyncio.sleep(60)

        task = asyncio.create_task(block())
        await asyncio.wait([task], timeout=5)
        return task.cancelled() or isinstance(task.exception(), FatalError)

    assert loops.run(application)


# --- the end of the block


def test_an_exception_of_the_block_comes_out_bare_and_handlers_are_cancelled(loops: Loops) -> None:
    sleeps = Sleeps()

    async def application() -> None:
        with pytest.raises(LookupError, match="mine") as caught:  # noqa: PT012  # it comes out of the block's end
            async with node_with(sleeps=sleeps) as node:
                await node.send_message("sleeps", "60")
                await asyncio.sleep(0.01)
                raise LookupError("mine")
        assert type(caught.value) is LookupError
        assert cancellations() == 0

    loops.run(application)

    assert sleeps.log == ["cancelled", "on_stop"]


def test_a_cancelled_block_ends_at_once_as_cancelled(loops: Loops) -> None:
    sleeps = Sleeps()

    async def block() -> None:
        async with node_with(sleeps=sleeps) as node:
            await node.send_message("sleeps", "60")
            await asyncio.sleep(60)

    async def application() -> float:
        task = asyncio.create_task(block())
        await asyncio.sleep(0.05)
        begun = time.monotonic()
        task.cancel("by me")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert task.cancelling() == 1
        return time.monotonic() - begun

    assert loops.run(application) < 0.5
    assert sleeps.log == ["cancelled", "on_stop"]


def test_leaving_the_block_lets_workers_finish(loops: Loops) -> None:
    sleeps = Sleeps()

    async def application() -> None:
        async with node_with(sleeps=sleeps) as node:
            for _ in range(3):
                await node.send_message("sleeps", "0.01")

    loops.run(application)

    assert sleeps.log == ["0.01"] * 3 + ["on_stop"]


def test_a_block_that_is_cancelled_while_workers_finish_ends_at_once(loops: Loops) -> None:
    sleeps = Sleeps()

    async def block() -> None:
        async with node_with(sleeps=sleeps) as node:
            await node.send_message("sleeps", "60")

    async def application() -> float:
        task = asyncio.create_task(block())
        await asyncio.sleep(0.05)
        assert not task.done()
        begun = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - begun

    assert loops.run(application) < 0.5
    assert sleeps.log == ["cancelled", "on_stop"]


@pytest.mark.parametrize("turns", range(12))
def test_a_block_may_be_cancelled_at_any_moment_while_it_opens(loops: Loops, turns: int) -> None:
    async def block() -> None:
        async with aio.open_node():
            await asyncio.sleep(60)

    async def application() -> None:
        task = asyncio.create_task(block())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with node_with(echo=Echo()) as node:
            assert await node.send_and_receive("echo", "after all") == "after all"

    loops.run(application)


def test_a_timeout_and_a_group_around_the_block_keep_their_meaning(loops: Loops) -> None:
    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise LookupError

    async def application() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), node_with(echo=Echo()):
                await asyncio.sleep(60)
        with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012  # it comes out of the block's end
            async with asyncio.TaskGroup() as group, node_with(echo=Echo()):
                group.create_task(fail())
                await asyncio.sleep(60)
        assert [type(error) for error in caught.value.exceptions] == [LookupError]
        async with asyncio.TaskGroup() as group, node_with(echo=Echo()) as node:
            answer = group.create_task(node.send_and_receive("echo", "hello"))
        assert answer.result() == "hello"
        assert cancellations() == 0

    loops.run(application)
