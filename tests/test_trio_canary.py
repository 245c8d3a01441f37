"""What this library relies on of Trio beyond its documentation. A new Trio that breaks it is told here first."""

from __future__ import annotations

from collections.abc import Callable

import outcome
import pytest
import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule, wait_task_rescheduled
from trio.testing import wait_all_tasks_blocked

from autonomy._actors.parking import WAKE

from . import schedule

MOVED = f"""
Trio {trio.__version__} does not resume a task with an outcome.Outcome of a class that it does not know.
_actors/parking.py relies on that: reschedule(task, WAKE) in queue.py and replies.py.
Until 0.35, Trio handed the outcome to the task as it was, and wait_task_rescheduled called its unwrap().
The way back: let Wake.send and Wake.asend resume the coroutine with None, or pass outcome.Value(None) instead of WAKE.
"""

SCHEDULES = {
    "0.35.0": ["8229bc8f2db059c9", "15466ee3e26f18b9", "040a65f5e50ebc70"],
}
"""For each version of Trio, what `schedule.trace` is for the seeds 1, 2 and 3."""
UNKNOWN = f"""
Nobody has looked at how Trio {trio.__version__} orders tasks when a simulation has seeded it.
Look: `python -m tests.schedule 1` prints the same in every process and on every Python, and another hash for each seed.
Then add to SCHEDULES in {__name__}: "{trio.__version__}": {{found}}
Failures that were kept as seeds alone may be others with this Trio; stories that were saved stay as they are.
"""


def _abort(_: RaiseCancelT) -> Abort:
    return Abort.SUCCEEDED


async def _sleep(parked: Callable[[Task], None]) -> object:
    parked(current_task())
    return await wait_task_rescheduled(_abort)


async def test_trio_resumes_a_task_with_our_outcome() -> None:
    results: list[object] = []
    tasks: list[Task] = []

    async def sleeper() -> None:
        for _ in range(100):
            results.append(await _sleep(tasks.append))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            for _ in range(100):
                await wait_all_tasks_blocked()
                reschedule(tasks.pop(), WAKE)
    except BaseException as error:
        raise AssertionError(MOVED) from error

    assert results == [None] * 100, MOVED


async def test_one_outcome_resumes_many_tasks_at_once() -> None:
    woken: list[int] = []
    tasks: list[Task] = []

    async def sleeper(number: int) -> None:
        await _sleep(tasks.append)
        woken.append(number)

    try:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(sleeper, number)
            await wait_all_tasks_blocked()
            for task in tasks:
                reschedule(task, WAKE)
    except BaseException as error:
        raise AssertionError(MOVED) from error

    assert sorted(woken) == list(range(100)), MOVED


async def test_a_task_that_sleeps_so_can_be_cancelled() -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_sleep, lambda _: None)
            await wait_all_tasks_blocked()
            scope.cancel()

    assert scope.cancelled_caught


async def test_a_task_that_was_woken_is_not_cancelled_in_the_same_step() -> None:
    results: list[object] = []
    tasks: list[Task] = []

    async def sleeper() -> None:
        results.append(await _sleep(tasks.append))

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sleeper)
            await wait_all_tasks_blocked()
            reschedule(tasks.pop(), WAKE)
            scope.cancel()

    assert results == [None]


async def test_our_outcome_is_one_for_everybody_who_asks() -> None:
    assert isinstance(WAKE, outcome.Outcome)
    assert [WAKE.unwrap() for _ in range(3)] == [None] * 3  # type: ignore[func-returns-value]  # that is the point


async def test_our_outcome_is_never_sent_into_a_coroutine_by_itself() -> None:
    with pytest.raises(NotImplementedError):
        WAKE.send(None)
    with pytest.raises(NotImplementedError):
        await WAKE.asend(None)


@pytest.mark.slow
def test_trio_orders_tasks_by_the_seed_as_it_did() -> None:
    found = [schedule.trace(seed) for seed in (1, 2, 3)]

    assert trio.__version__ in SCHEDULES, UNKNOWN.format(found=found)
    assert found == SCHEDULES[trio.__version__], "the same Trio, and another order: seeds mean nothing any more"
