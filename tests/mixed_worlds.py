"""Behaviours of code that awaits things of both worlds, in one coroutine: the third part of `mixed_spec`."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import pytest
import sniffio
import trio

from autonomy import Node

from .mixed_spec import LONG, TICK, fail_with, in_trio, no_spinning, takes
from .workers import Echo

Sleep = Callable[[float], Coroutine[Any, Any, object]]


@in_trio
async def one_coroutine_awaits_both_in_turn(node: Node) -> None:
    with takes(6 * TICK):
        for _ in range(3):
            await asyncio.sleep(TICK)
            await trio.sleep(TICK)
            await asyncio.sleep(0)
            await trio.lowlevel.checkpoint()


@in_trio
async def sniffio_says_trio_before_and_after_an_asyncio_await(node: Node) -> None:
    assert sniffio.current_async_library() == "trio"
    await asyncio.sleep(0)
    await asyncio.gather(asyncio.sleep(TICK), asyncio.sleep(0))
    assert sniffio.current_async_library() == "trio"


@in_trio
async def context_variables_hold_across_awaits_of_both(node: Node) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    async def see() -> None:
        await trio.lowlevel.checkpoint()
        seen.append(variable.get())
        variable.set("theirs")
        await asyncio.sleep(TICK)
        seen.append(variable.get())

    variable.set("mine")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(see)
        await asyncio.sleep(TICK)
        await trio.sleep(TICK)
        assert variable.get() == "mine"
    assert seen == ["mine", "theirs"]


@in_trio
async def asyncio_tasks_and_trio_tasks_wake_each_other(node: Node) -> None:
    sending, receiving = trio.open_memory_channel[int](5)
    woken, answer = trio.Event(), asyncio.get_running_loop().create_future()

    async def send() -> None:
        for number in range(3):
            await asyncio.sleep(TICK)
            sending.send_nowait(number)
        woken.set()
        await answer

    task = asyncio.create_task(send())
    assert [await receiving.receive() for _ in range(3)] == [0, 1, 2]
    await woken.wait()
    answer.set_result(None)
    await task


# --- Trio's cancel scopes around asyncio awaits


def waits() -> list[Callable[[], Coroutine[Any, Any, object]]]:
    async def task_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(LONG))

    async def timeout() -> None:
        async with asyncio.timeout(LONG):
            await asyncio.sleep(LONG)

    async def gather() -> None:
        await asyncio.gather(asyncio.sleep(LONG), asyncio.sleep(LONG))

    async def shield() -> None:
        await asyncio.shield(asyncio.sleep(LONG))

    return [
        partial(asyncio.sleep, LONG),
        asyncio.Event().wait,
        asyncio.Queue[None]().get,
        lambda: asyncio.wait_for(asyncio.sleep(LONG), LONG),
        task_group,
        timeout,
        gather,
        shield,
    ]


@in_trio
async def a_cancel_scope_ends_an_asyncio_await_of_any_kind(node: Node) -> None:
    for wait in waits():
        with takes(TICK), no_spinning(), trio.move_on_after(TICK) as scope:
            await wait()
        assert scope.cancelled_caught
        with no_spinning(), trio.CancelScope() as scope:
            scope.cancel()
            await wait()
        assert scope.cancelled_caught
    me = asyncio.current_task()
    assert me is not None
    assert me.cancelling() == 0
    await asyncio.sleep(TICK)
    await trio.sleep(TICK)


@in_trio
async def fail_after_raises_too_slow_error(node: Node) -> None:
    with takes(TICK), pytest.raises(trio.TooSlowError), trio.fail_after(TICK):
        await asyncio.sleep(LONG)


@in_trio
async def a_callback_of_asyncio_may_cancel_a_scope(node: Node) -> None:
    with takes(TICK), trio.CancelScope() as scope:
        asyncio.get_running_loop().call_later(TICK, scope.cancel)
        await asyncio.sleep(LONG)
    assert scope.cancelled_caught


@in_trio
async def a_cancellation_is_one_of_both_worlds(node: Node) -> None:
    seen: list[BaseException] = []
    with trio.move_on_after(TICK) as scope:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError as error:
            seen.append(error)
            raise
    assert scope.cancelled_caught
    with trio.move_on_after(TICK) as scope:
        try:
            await asyncio.sleep(LONG)
        except trio.Cancelled as error:
            seen.append(error)
            raise
    assert scope.cancelled_caught
    assert all(isinstance(error, trio.Cancelled) and isinstance(error, asyncio.CancelledError) for error in seen)
    assert len(seen) == 2


@in_trio
async def a_cancel_scope_cancels_once_so_that_clean_ups_may_await(node: Node) -> None:
    steps: list[str] = []
    with takes(4 * TICK), trio.move_on_after(TICK) as scope:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            await asyncio.sleep(TICK)
            steps.append("except")
            raise
        finally:
            await asyncio.gather(asyncio.sleep(TICK), asyncio.sleep(2 * TICK))
            steps.append("finally")
    assert scope.cancelled_caught
    assert steps == ["except", "finally"]


@in_trio
async def a_cancellation_that_was_caught_is_told_again_by_trio(node: Node) -> None:
    reached: list[str] = []
    with trio.move_on_after(TICK) as scope:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            reached.append("caught")
        await trio.sleep(LONG)
        reached.append("not this")
    assert scope.cancelled_caught
    assert reached == ["caught"]


@in_trio
async def a_scope_within_a_cancelled_one_is_told_for_itself(node: Node) -> None:
    with takes(2 * TICK), trio.move_on_after(TICK) as outer:
        try:
            await asyncio.sleep(LONG)
        finally:
            with trio.move_on_after(TICK, shield=True) as inner:
                await asyncio.sleep(LONG)
            assert inner.cancelled_caught
    assert outer.cancelled_caught


@in_trio
async def a_shield_keeps_asyncio_awaits_from_a_cancelled_scope(node: Node) -> None:
    with takes(3 * TICK), trio.move_on_after(TICK) as scope:
        with trio.CancelScope(shield=True):
            await asyncio.sleep(3 * TICK)
        await asyncio.sleep(LONG)
    assert scope.cancelled_caught


@in_trio
async def a_task_group_under_a_cancelled_scope_ends_its_children_once(node: Node) -> None:
    for body in (asyncio.sleep, trio.sleep):
        cancels: list[int] = []

        async def child(cancels: list[int] = cancels) -> None:
            try:
                await asyncio.sleep(LONG)
            except asyncio.CancelledError:
                await asyncio.sleep(3 * TICK)
                cancels.append(1)
                raise

        with takes(4 * TICK), no_spinning(), trio.move_on_after(TICK) as scope:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(child()), group.create_task(child())]
                await body(LONG)
        assert scope.cancelled_caught
        assert cancels == [1, 1]
        assert all(task.cancelled() for task in tasks)


@in_trio
async def gather_under_a_cancelled_scope_ends_what_it_waits_for(node: Node) -> None:
    tasks = [asyncio.create_task(asyncio.sleep(LONG)) for _ in range(3)]
    with takes(TICK), trio.move_on_after(TICK) as scope:
        await asyncio.gather(*tasks)
    assert scope.cancelled_caught
    assert all(task.cancelled() for task in tasks)


@in_trio
async def a_result_that_comes_with_the_cancellation_is_not_lost(node: Node) -> None:
    future = asyncio.get_running_loop().create_future()
    with trio.CancelScope() as scope:
        future.set_result("here")
        scope.cancel()
        assert await future == "here"
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(TICK, future.set_result, "here")
    with trio.CancelScope() as scope:
        asyncio.get_running_loop().call_later(TICK, scope.cancel)
        assert await future == "here"


# --- asyncio's timeouts and cancellations around Trio awaits


@in_trio
async def an_asyncio_timeout_ends_a_trio_await_of_any_kind(node: Node) -> None:
    _, receiving = trio.open_memory_channel[None](0)

    for wait in (partial(trio.sleep, LONG), trio.Event().wait, receiving.receive, trio.sleep_forever):
        me = asyncio.current_task()
        assert me is not None
        with takes(TICK), no_spinning(), pytest.raises(TimeoutError):
            async with asyncio.timeout(TICK):
                await wait()
        assert me.cancelling() == 0
        async with asyncio.timeout(LONG):
            await trio.lowlevel.checkpoint()


@in_trio
async def wait_for_ends_a_trio_await(node: Node) -> None:
    if sys.version_info < (3, 12):  # where wait_for makes an asyncio task of what it is given
        return
    sleep: Sleep = trio.sleep
    with takes(TICK), pytest.raises(TimeoutError):
        await asyncio.wait_for(sleep(LONG), TICK)
    await asyncio.wait_for(sleep(TICK), LONG)


@in_trio
async def the_first_of_a_timeout_and_a_scope_wins(node: Node) -> None:
    sleeps: list[Sleep] = [asyncio.sleep, trio.sleep]
    for sleep in sleeps:
        with takes(TICK), trio.move_on_after(TICK) as scope:
            async with asyncio.timeout(LONG):
                await sleep(LONG)
        assert scope.cancelled_caught
        with takes(TICK), trio.move_on_after(LONG) as scope, pytest.raises(TimeoutError):
            async with asyncio.timeout(TICK):
                await sleep(LONG)
        assert not scope.cancel_called


@in_trio
async def a_failing_child_of_a_task_group_ends_a_trio_await(node: Node) -> None:
    async def fail() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fail_with(KeyError("child")))
            await trio.sleep(LONG)

    with takes(TICK), pytest.raises(ExceptionGroup) as caught:
        await fail()
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    await trio.lowlevel.checkpoint()


@in_trio
async def cancelling_the_current_task_ends_a_trio_await(node: Node) -> None:
    me = asyncio.current_task()
    assert me is not None
    me.cancel("before")
    with pytest.raises(asyncio.CancelledError, match="before"):
        await trio.sleep(LONG)
    assert me.uncancel() == 0
    asyncio.get_running_loop().call_later(TICK, me.cancel, "meanwhile")
    with takes(TICK), pytest.raises(asyncio.CancelledError, match="meanwhile"):
        await trio.sleep(LONG)
    assert me.uncancel() == 0
    await trio.sleep(TICK)
    await asyncio.sleep(TICK)


# --- nurseries


@in_trio
async def nursery_children_await_asyncio_and_are_tasks_of_their_own(node: Node) -> None:
    seen: list[object] = []

    async def child(task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        await asyncio.sleep(TICK)
        task_status.started("begun")
        await trio.lowlevel.checkpoint()
        await asyncio.gather(asyncio.sleep(TICK), asyncio.sleep(0))
        seen.append(asyncio.current_task())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
        assert await nursery.start(child) == "begun"
        async with trio.open_nursery() as below:
            below.start_soon(child)
    assert len({id(task) for task in [*seen, asyncio.current_task()]}) == 4


@in_trio
async def a_nursery_cancels_children_that_await_asyncio(node: Node) -> None:
    cancelled: list[str] = []

    async def child(name: str) -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            await asyncio.sleep(TICK)
            cancelled.append(name)
            raise

    async def fail() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, "a")
            nursery.start_soon(child, "b")
            nursery.start_soon(fail_with, ValueError("third"))

    with takes(2 * TICK), pytest.raises(ExceptionGroup) as caught:
        await fail()
    assert [str(error) for error in caught.value.exceptions] == ["third"]
    assert sorted(cancelled) == ["a", "b"]


# --- the node


@in_trio
async def a_scope_or_a_timeout_ends_a_gather_of_requests(node: Node) -> None:
    class Never:
        async def handle_message(self, context: object, message: str) -> None:
            await trio.sleep_forever()

    await node.start_worker("never", Never())
    await node.start_worker("echo", Echo())
    with takes(TICK), trio.move_on_after(TICK) as scope:
        await asyncio.gather(node.send_and_receive("never", "x"), node.send_and_receive("never", "y"))
    assert scope.cancelled_caught
    with takes(TICK), pytest.raises(TimeoutError):
        async with asyncio.timeout(TICK):
            await node.send_and_receive("never", "z")
    await node.stop_worker("never", timeout=0)
    assert await node.send_and_receive("echo", "fine") == "fine"
