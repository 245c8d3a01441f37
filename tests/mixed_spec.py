"""What works where asyncio and Trio meet: one list of behaviours, which `test_mixed` runs in every place.

A behaviour is an async function of a node. Those marked `anywhere` await nothing of Trio's, so that asyncio tasks can
run them too; those marked `in_trio` await things of both worlds, in code that Trio steps: ``main``, handlers, hooks and
their nursery children. Those marked `method` await one public method each. What ends badly raises.

Here is what a behaviour is, and those that asyncio alone would show as well. `mixed_io` has those with threads and
sockets, `mixed_worlds` those of both worlds, `mixed_methods` the public methods.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
import sniffio
import trio

from autonomy import Node

TICK = 0.01
LONG = 60.0
"""Seconds that nothing here waits out."""


@dataclass(frozen=True)
class Behaviour:
    """One promise, and the function that finds out whether it is kept.

    Attributes:
        name: The promise, or the public method that is awaited.
        run: Raises if it is not kept.
        wants_trio: Whether only code that Trio steps can run it.
        real: Whether it needs real time, for it uses threads, processes or sockets.
        network: Whether it opens sockets.
    """

    name: str
    run: Callable[[Node], Awaitable[None]] = field(repr=False)
    wants_trio: bool = False
    real: bool = False
    network: bool = False


BEHAVIOURS: list[Behaviour] = []
Function = Callable[[Node], Awaitable[None]]


def _listed(**facts: bool) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        BEHAVIOURS.append(Behaviour(getattr(function, "__name__", ""), function, **facts))
        return function

    return add


anywhere = _listed()
anywhere_with_threads = _listed(real=True)
anywhere_with_sockets = _listed(real=True, network=True)
in_trio = _listed(wants_trio=True)
in_trio_with_threads = _listed(wants_trio=True, real=True)
in_trio_with_sockets = _listed(wants_trio=True, real=True, network=True)


def method(name: str) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        BEHAVIOURS.append(Behaviour(name, function))
        return function

    return add


@contextmanager
def takes(least: float, most: float = 5.0) -> Generator[None]:
    """Check how long a block takes; asyncio's timers may be a little early."""
    time = asyncio.get_running_loop().time
    began = time()
    yield
    assert least * 0.9 - 0.002 <= time() - began <= most


class Steps(trio.abc.Instrument):
    """Counts how often a Trio task was stepped."""

    def __init__(self, task: trio.lowlevel.Task) -> None:
        self.task = task
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += task is self.task


@contextmanager
def no_spinning(most: int = 30) -> Generator[None]:
    """Check that this Trio task is stepped a few times only."""
    steps = Steps(trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(steps)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(steps)
    assert steps.count <= most


async def fail_with(error: BaseException) -> None:
    await asyncio.sleep(TICK)
    raise error


# --- asyncio's own things


@anywhere
async def sleep_waits_its_time_and_returns_its_result(node: Node) -> None:
    with takes(3 * TICK):
        assert await asyncio.sleep(3 * TICK, "slept") == "slept"


@anywhere
async def sleep_of_zero_lets_others_run(node: Node) -> None:
    seen: list[str] = []
    task = asyncio.create_task(_note(seen, "other"))
    await asyncio.sleep(0)
    assert seen == ["other"]
    await task


async def _note(seen: list[str], what: str) -> None:
    seen.append(what)


@anywhere
async def gather_returns_results_in_order_and_raises_the_first_error(node: Node) -> None:
    with takes(2 * TICK):
        results: list[object] = list(await asyncio.gather(asyncio.sleep(2 * TICK, "a"), asyncio.sleep(0, "b")))
    assert results == ["a", "b"]
    error = ValueError("bare")
    with pytest.raises(ValueError, match="bare") as caught:
        await asyncio.gather(fail_with(error), asyncio.sleep(0))
    assert caught.value is error
    results = list(await asyncio.gather(fail_with(error), return_exceptions=True))
    assert results == [error]


@anywhere
async def wait_for_ends_what_takes_too_long(node: Node) -> None:
    with takes(TICK), pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.sleep(LONG), TICK)
    assert await asyncio.wait_for(asyncio.sleep(0, "in time"), LONG) == "in time"


@anywhere
async def timeout_ends_its_block_and_leaves_the_next_one_alone(node: Node) -> None:
    with takes(TICK), pytest.raises(TimeoutError):
        async with asyncio.timeout(LONG), asyncio.timeout(TICK) as inner:
            await asyncio.sleep(LONG)
    assert inner.expired()
    async with asyncio.timeout(LONG) as unused:
        await asyncio.sleep(TICK)
    assert not unused.expired()


@anywhere
async def create_task_runs_beside_and_can_be_cancelled(node: Node) -> None:
    task = asyncio.create_task(asyncio.sleep(TICK, "done"), name="beside")
    assert task.get_name() == "beside"
    assert task in asyncio.all_tasks()
    assert await task == "done"
    cancelled = asyncio.create_task(asyncio.sleep(LONG))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert cancelled.cancelled()


@anywhere
async def a_task_group_waits_for_its_tasks_and_cancels_them_when_one_fails(node: Node) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(TICK, number)) for number in range(3)]
    assert [task.result() for task in tasks] == [0, 1, 2]
    endless: list[asyncio.Task[None]] = []

    async def fail() -> None:
        async with asyncio.TaskGroup() as group:
            endless.append(group.create_task(asyncio.sleep(LONG)))
            group.create_task(fail_with(ValueError("child")))
            await asyncio.sleep(LONG)

    with takes(TICK), pytest.raises(ExceptionGroup) as caught:
        await fail()
    assert [str(error) for error in caught.value.exceptions] == ["child"]
    assert endless[0].cancelled()
    await asyncio.sleep(0)  # and the cancellation is over


@anywhere
async def a_queue_holds_up_who_puts_and_who_gets(node: Node) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(2)

    async def put() -> None:
        for number in range(20):
            await queue.put(number)

    putting = asyncio.create_task(put())
    assert [await queue.get() for _ in range(20)] == list(range(20))
    await putting
    getting = asyncio.create_task(queue.get())
    for number in range(3):
        await queue.put(number)
    assert await getting == 0


@anywhere
async def an_event_wakes_all_who_wait(node: Node) -> None:
    event = asyncio.Event()
    waiting = [asyncio.create_task(event.wait()) for _ in range(3)]
    asyncio.get_running_loop().call_later(TICK, event.set)
    with takes(TICK):
        assert await event.wait()
    assert await asyncio.gather(*waiting) == [True] * 3


@anywhere
async def a_lock_is_held_by_one_and_given_on_in_order(node: Node) -> None:
    lock = asyncio.Lock()
    order: list[str] = []

    async def hold(name: str) -> None:
        async with lock:
            order.append(name)
            await asyncio.sleep(TICK)
            order.append(name)

    async with lock:
        tasks = [asyncio.create_task(hold(name)) for name in "abc"]
        await asyncio.sleep(TICK)
        assert order == []
    await asyncio.gather(*tasks)
    assert order == list("aabbcc")


@anywhere
async def shield_keeps_a_task_from_being_cancelled(node: Node) -> None:
    event = asyncio.Event()
    task = asyncio.create_task(event.wait())
    with takes(TICK), pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(task), TICK)
    assert not task.done()
    event.set()
    assert await task


@anywhere
async def wait_and_as_completed_tell_who_is_first(node: Node) -> None:
    tasks = [asyncio.create_task(asyncio.sleep(seconds, seconds)) for seconds in (LONG, TICK)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert (done, pending) == ({tasks[1]}, {tasks[0]})
    tasks[0].cancel()
    sleeps = [asyncio.sleep(number * TICK, number) for number in (2, 0, 1)]
    assert [await first for first in asyncio.as_completed(sleeps)] == [0, 1, 2]


@anywhere
async def tasks_run_in_the_order_in_which_they_were_made(node: Node) -> None:
    for _ in range(5):
        order: list[int] = []

        async def step(number: int, order: list[int] = order) -> None:
            order.append(number)
            await asyncio.sleep(0)
            order.append(number)

        await asyncio.gather(*(step(number) for number in range(10)))
        assert order == [*range(10), *range(10)]


@anywhere
async def call_soon_and_call_later_call_back_in_order(node: Node) -> None:
    loop, calls = asyncio.get_running_loop(), list[str]()
    loop.call_later(3 * TICK, calls.append, "last")
    loop.call_later(TICK, calls.append, "later")
    loop.call_at(loop.time() + 2 * TICK, calls.append, "at")
    loop.call_later(TICK, calls.append, "never").cancel()
    loop.call_soon(calls.append, "soon")
    loop.call_soon(calls.append, "sooner or later")
    await asyncio.sleep(5 * TICK)
    assert calls == ["soon", "sooner or later", "later", "at", "last"]


@anywhere
async def current_task_is_the_same_throughout_and_another_in_a_task(node: Node) -> None:
    async def who() -> object:
        return asyncio.current_task()

    me = asyncio.current_task()
    assert me is not None
    assert me.get_loop() is asyncio.get_running_loop()
    assert (me.done(), me.cancelled(), me.cancelling()) == (False, False, 0)
    await asyncio.sleep(0)
    assert await who() is me is asyncio.current_task()
    task = asyncio.create_task(who())
    assert await task is task
    me.set_name("named")
    assert me.get_name() == "named"


@anywhere
async def a_task_that_cancels_itself_is_cancelled_where_it_waits_next(node: Node) -> None:
    me = asyncio.current_task()
    assert me is not None
    me.cancel("enough")
    assert me.cancelling() == 1
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await asyncio.sleep(LONG)
    assert me.uncancel() == 0
    await asyncio.sleep(TICK)
    asyncio.get_running_loop().call_later(TICK, me.cancel, "from outside")
    with takes(TICK), pytest.raises(asyncio.CancelledError, match="from outside"):
        await asyncio.sleep(LONG)
    assert me.uncancel() == 0


@anywhere
async def async_generators_are_run_and_closed(node: Node) -> None:
    closed: list[str] = []

    async def count(name: str) -> AsyncGenerator[int]:
        try:
            for number in range(3):
                await asyncio.sleep(0)
                yield number
        finally:
            await asyncio.sleep(0)
            closed.append(name)

    assert [number async for number in count("to its end")] == [0, 1, 2]
    begun = count("begun")
    assert await anext(begun) == 0
    await begun.aclose()
    assert closed == ["to its end", "begun"]


@anywhere
async def context_variables_go_into_tasks_and_do_not_come_back(node: Node) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def change() -> str:
        before = variable.get()
        variable.set("theirs")
        await asyncio.sleep(TICK)
        return before + variable.get()

    variable.set("mine")
    await asyncio.sleep(TICK)
    assert await asyncio.create_task(change()) == "minetheirs"
    assert variable.get() == "mine"


@anywhere
async def sniffio_says_asyncio_in_asyncio_tasks(node: Node) -> None:
    async def library() -> list[str]:
        before = sniffio.current_async_library()
        await asyncio.sleep(TICK)
        return [before, sniffio.current_async_library()]

    assert await asyncio.create_task(library()) == ["asyncio", "asyncio"]


@anywhere
async def an_error_is_the_same_object_wherever_it_comes_out(node: Node) -> None:
    error = LookupError("one and the same")
    with pytest.raises(LookupError) as caught:
        await asyncio.create_task(fail_with(error))
    assert caught.value is error
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(TICK, future.set_exception, error)
    with pytest.raises(LookupError) as caught:
        await future
    assert caught.value is error
