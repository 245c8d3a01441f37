"""Several awaitables at once: `gather`."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from autonomy import Node, WorkerFailed, gather
from tests.workers import Echo, Failing, Sleeper

SECONDS = st.integers(0, 9).map(float)


class Crew:
    """Coroutines that take some seconds each; notes who began, who ended, and how many ran at once."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self.ended: list[int] = []
        self.cancelled: list[int] = []
        self.most = 0

    async def work(self, number: int, seconds: float, error: BaseException | None = None) -> int:
        self.began.append(number)
        self.most = max(self.most, len(self.began) - len(self.ended) - len(self.cancelled))
        try:
            await trio.sleep(seconds)
        except trio.Cancelled:
            self.cancelled.append(number)
            raise
        self.ended.append(number)
        if error is not None:
            raise error
        return number


@given(seconds=st.lists(SECONDS, max_size=8), batch_size=st.none() | st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_for_all_durations_results_come_in_the_order_of_the_arguments_and_no_more_run_than_the_batch_size(
    seconds: list[float], batch_size: int | None
) -> None:
    crew = Crew()

    async def scenario() -> float:
        results = await gather(*(crew.work(*item) for item in enumerate(seconds)), batch_size=batch_size)
        assert results == list(range(len(seconds)))
        return trio.current_time()

    took = trio.run(timed, scenario, clock=MockClock(autojump_threshold=0))

    assert crew.most <= (len(seconds) if batch_size is None else batch_size)
    if batch_size is None or batch_size >= len(seconds):
        assert took == pytest.approx(max(seconds, default=0.0), abs=1e-6)


async def timed(function: Callable[[], Awaitable[object]]) -> float:
    started = trio.current_time()
    await function()
    return trio.current_time() - started


async def test_the_first_failure_comes_out_bare_and_cancels_the_rest(autojump_clock: MockClock) -> None:
    crew = Crew()
    started = trio.current_time()

    with pytest.raises(ZeroDivisionError):
        await gather(crew.work(0, 9), crew.work(1, 2, ZeroDivisionError()), crew.work(2, 5, ValueError()))

    assert trio.current_time() - started == pytest.approx(2)
    assert sorted(crew.cancelled) == [0, 2]


async def test_what_was_not_begun_when_another_failed_never_begins(autojump_clock: MockClock) -> None:
    crew = Crew()

    with pytest.raises(ValueError, match="the first"):
        await gather(*(crew.work(number, 1, ValueError("the first")) for number in range(3)), batch_size=1)

    assert len(crew.began) == len(crew.ended) == 1


async def test_cancelling_cancels_all(autojump_clock: MockClock) -> None:
    crew = Crew()

    with trio.move_on_after(1) as scope:
        await gather(crew.work(0, 5), crew.work(1, 5))

    assert scope.cancelled_caught
    assert sorted(crew.cancelled) == [0, 1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_what_is_no_exception_comes_out_as_it_is(error: type[BaseException], autojump_clock: MockClock) -> None:
    crew = Crew()

    with pytest.raises(error):
        await gather(crew.work(0, 5), crew.work(1, 1, error()))

    assert crew.cancelled == [0]


async def test_what_is_no_exception_is_not_lost_when_gather_is_cancelled_meanwhile(autojump_clock: MockClock) -> None:
    async def interrupted() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyboardInterrupt

    async def cancelled_gather() -> None:
        with trio.move_on_after(1):
            await gather(interrupted(), Crew().work(1, 5))

    with pytest.RaisesGroup(KeyboardInterrupt, allow_unwrapped=True, flatten_subgroups=True):
        await cancelled_gather()


async def test_requests_can_be_gathered(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())
    await node.start_worker("sleeper", Sleeper())
    await node.start_worker("failing", Failing())

    answers = await gather(node.send_and_receive("sleeper", "3"), node.send_and_receive("echo", "x"), batch_size=5)

    assert answers == ["3", "x"]
    with pytest.raises(WorkerFailed):
        await gather(node.send_and_receive("sleeper", "3"), node.send_and_receive("failing", "x"))
    assert node.statistics().waiting_requests == 0


async def test_nothing_to_gather_is_an_empty_list() -> None:
    assert await gather() == []


async def test_whatever_can_be_awaited_can_be_gathered(autojump_clock: MockClock) -> None:
    class Later:
        def __await__(self) -> Any:
            return Crew().work(7, 1).__await__()

    assert await gather(Later(), Crew().work(8, 1)) == [7, 8]


@pytest.mark.parametrize("wrong", [5, None, trio.sleep, "x"])
async def test_what_cannot_be_awaited_is_a_type_error_and_nothing_is_begun(wrong: Any) -> None:
    crew = Crew()

    with pytest.raises(TypeError, match=r"gather: argument 1 cannot be awaited: .* gather\(f\(1\), g\(2\)\)"):
        await gather(crew.work(0, 0), wrong)

    gc.collect()
    assert crew.began == []


@pytest.mark.parametrize("spread", [list, tuple, iter])
async def test_calls_in_one_list_are_a_type_error_that_says_how_to_spread_them(spread: Any) -> None:
    crew = Crew()
    calls: Any = [crew.work(0, 0), crew.work(1, 0)]

    with pytest.raises(TypeError, match=r"gather: argument 0 cannot be awaited: .* gather\(\*calls\)"):
        await gather(spread(calls))

    for call in calls:
        call.close()
    assert crew.began == []


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "2", True])
async def test_a_batch_size_that_cannot_be_is_refused_and_nothing_is_begun_or_left_behind(batch_size: Any) -> None:
    crew = Crew()
    coroutine: Any = crew.work(0, 0)

    with pytest.raises((TypeError, ValueError), match=r"batch_size must be (an int|at least 1)"):
        await gather(coroutine, batch_size=batch_size)

    assert crew.began == []
    state = inspect.getcoroutinestate(coroutine)
    coroutine.close()
    assert state == inspect.CORO_CLOSED
