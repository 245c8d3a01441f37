"""Several awaitables at once."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

import trio
from trio.lowlevel import cancel_shielded_checkpoint, checkpoint_if_cancelled, in_trio_task

from .._mixed.worlds import pause
from .._sansio.border import check_count

T = TypeVar("T")


async def gather(*awaitables: Awaitable[T], batch_size: int | None = None) -> list[T]:
    """Await several things at once and return their results in the order of the arguments.

    The first one that raises cancels the others; its exception comes out bare, once all have ended. Cancelling cancels
    all.

    Args:
        awaitables: Coroutines or other awaitables, each awaited once.
        batch_size: How many run at the same time at most; None for all of them.

    Raises:
        TypeError: An argument cannot be awaited. None was started.

    Example:
        ```python
        answers = await gather(*(node.send_and_receive(f"worker-{i}", "go") for i in range(100)), batch_size=10)
        ```
    """
    try:
        at_once = len(awaitables) if batch_size is None else check_count(batch_size, "batch_size")
        for index, awaitable in enumerate(awaitables):
            if not inspect.isawaitable(awaitable):
                raise TypeError(f"gather: argument {index} cannot be awaited: {awaitable!r:.80}. {_hint(awaitable)}")
        if not in_trio_task():
            return await _run_in_asyncio(awaitables, at_once)
        await checkpoint_if_cancelled()
        results = await _run(awaitables, at_once)
        await cancel_shielded_checkpoint()
        return results
    finally:
        _close(awaitables)


def _hint(argument: object) -> str:
    """Return what was probably meant by something that cannot be awaited."""
    if isinstance(argument, Iterable) and not isinstance(argument, str):
        return "Spread what is in it: gather(*calls), not gather(calls)"
    return "Call the function: gather(f(1), g(2)), not gather(f, g)"


async def _run(awaitables: tuple[Awaitable[T], ...], at_once: int) -> list[T]:
    results: list[Any] = [None] * len(awaitables)
    failures: list[BaseException] = []
    waiting = iter(enumerate(awaitables))

    async def take_turns() -> None:
        for index, awaitable in waiting:
            try:
                results[index] = await awaitable
            except trio.Cancelled:
                raise
            except BaseException as error:  # noqa: BLE001  # raised below, bare
                failures.append(error)
                nursery.cancel_scope.cancel()
                return

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(min(at_once, len(awaitables))):
                nursery.start_soon(take_turns)
    except BaseException as cancelled:
        serious = [error for error in failures if not isinstance(error, Exception)]
        if serious:  # nothing that is no Exception is swallowed, not even by a cancellation (L5)
            raise BaseExceptionGroup("gather was cancelled and failed", [cancelled, *serious]) from None
        raise
    if failures:
        raise failures[0]
    return results


async def _run_in_asyncio(awaitables: tuple[Awaitable[T], ...], at_once: int) -> list[T]:
    results: list[Any] = [None] * len(awaitables)
    waiting = iter(enumerate(awaitables))

    async def take_turns() -> None:
        for index, awaitable in waiting:
            results[index] = await awaitable

    if not awaitables:
        await pause()
        return results
    tasks = [asyncio.create_task(take_turns()) for _ in range(min(at_once, len(awaitables)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    return results


def _close(awaitables: tuple[object, ...]) -> None:
    """Close coroutines that were not begun, so that Python does not complain of them."""
    for awaitable in awaitables:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
