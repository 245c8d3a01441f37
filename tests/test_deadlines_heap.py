"""The one reaper of all deadlines: every entry at its time, in order, once; none that left; no heap without bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from heapq import heappop

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from autonomy._actors import deadlines
from autonomy._actors.deadlines import Deadlines

Step = tuple[float, float, bool]
"""Seconds to wait, then seconds until the new entry expires, and whether the oldest entry that is pending leaves."""


def check_expiry(steps: Sequence[Step]) -> None:
    """Raise AssertionError unless what expires is what should, when it should."""

    async def scenario() -> None:
        expired: list[tuple[float, int]] = []
        due: dict[int, float] = {}
        heap: Deadlines[int] = Deadlines(
            trio.current_time, lambda number: expired.append((trio.current_time(), number))
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(heap.run)
            for number, (pause, seconds, leaves) in enumerate(steps):
                await trio.sleep(pause)
                if leaves and heap.pending:
                    oldest = next(iter(heap.pending))
                    heap.pending.pop(oldest)
                    due.pop(oldest)
                due[number] = trio.current_time() + seconds
                heap.add(number, number, due[number])
            await trio.sleep(1000)
            nursery.cancel_scope.cancel()
        forever = {number for number, when in due.items() if when == math.inf}
        assert expired == sorted((when, number) for number, when in due.items() if number not in forever)
        assert set(heap.pending) == forever

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


whole = st.integers(0, 20).map(float)
steps = st.lists(
    st.tuples(whole, whole.map(lambda tenths: tenths + 0.5) | st.just(math.inf), st.booleans()), max_size=50
)


@settings(max_examples=200, deadline=None)
@given(steps)
@example([(0, 5.5, False), (0, 1.5, False), (0, 3.5, True)])
def test_entries_expire_at_their_time_in_order_and_those_that_left_never(steps: Sequence[Step]) -> None:
    check_expiry(steps)


@settings(max_examples=50, deadline=None)
@given(steps)
def test_that_holds_while_the_heap_is_compacted_all_the_time(steps: Sequence[Step]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deadlines, "_SLACK", 0)
        check_expiry(steps)


class ForgetsToWake(Deadlines[int]):
    """Does not notice an entry that is due before the one it sleeps for."""

    def add(self, number: int, entry: int, when: float) -> None:
        later, self._next = self._next, -math.inf
        super().add(number, entry, when)
        self._next = later


class ExpiresWhatLeft(Deadlines[int]):
    """Expires entries that have left already."""

    def _expire_due(self) -> None:
        while self._heap and self._heap[0][0] <= self._clock():
            number = heappop(self._heap)[1]
            self.pending.pop(number, None)
            self._expire(number)


class ExpiresOneAtATime(Deadlines[int]):
    """Forgets those that are due together with another one."""

    def _expire_due(self) -> None:
        super()._expire_due()
        self._heap = self._heap[:1]


@pytest.mark.parametrize("mutant", [ForgetsToWake, ExpiresWhatLeft, ExpiresOneAtATime])
def test_the_property_catches_a_reaper_that(monkeypatch: pytest.MonkeyPatch, mutant: type[Deadlines[int]]) -> None:
    monkeypatch.setattr(f"{__name__}.Deadlines", mutant)
    steps = [(0.0, 5.5, False), (1.0, 1.5, False), (0.0, 1.5, False), (0.0, 9.5, True), (0.0, 12.5, False)]

    with pytest.raises(AssertionError):
        check_expiry(steps)


# ---- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["later and later", "earlier and earlier", "all at once"])
async def test_the_heap_stays_bounded_when_entries_leave_before_their_time(
    autojump_clock: MockClock, order: str
) -> None:
    heap: Deadlines[int] = Deadlines(trio.current_time, lambda number: None)
    seconds = {"later and later": 1, "earlier and earlier": -1, "all at once": 0}[order]
    longest = 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(heap.run)
        await trio.sleep(1)
        for number in range(20_000):
            heap.add(number, number, 1e6 + seconds * number)
            heap.pending.pop(number - 10, None)
            longest = max(longest, len(heap._heap))
        nursery.cancel_scope.cancel()

    assert longest <= 2 * 11 + deadlines._SLACK + 1
