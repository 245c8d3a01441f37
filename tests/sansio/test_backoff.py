"""How long to wait before the next try."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autonomy import Backoff

seconds = st.just(0.0) | st.floats(1e-6, 1e9)


@given(seconds, seconds)
def test_waits_begin_with_the_first_double_and_end_at_the_longest(first: float, more: float) -> None:
    backoff = Backoff(first, first + more)
    waits = [backoff.delay(attempt) for attempt in range(1, 100)]

    assert waits[0] == first
    for wait, following in pairwise(waits):
        assert following == min(2 * wait, backoff.longest)


@given(st.floats(1e-6, 1e9), st.integers(1, 10**12))
@example(5e-324, 10**9)
def test_however_many_tries_a_wait_is_a_number_no_longer_than_the_longest(first: float, attempt: int) -> None:
    wait = Backoff(first, 1e9).delay(attempt)

    assert first <= wait <= 1e9


def test_no_wait_stays_none() -> None:
    assert [Backoff(0, 5).delay(attempt) for attempt in (1, 2, 100)] == [0, 0, 0]


def test_the_default_begins_with_a_tenth_of_a_second_and_ends_at_five() -> None:
    assert [Backoff().delay(attempt) for attempt in range(1, 9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


@pytest.mark.parametrize(
    ("first", "longest", "error"),
    [
        (-1, 5, ValueError),
        (2, 1, ValueError),
        (math.nan, 5, ValueError),
        (1, math.inf, ValueError),
        ("1", 5, TypeError),
        (True, 5, TypeError),
    ],
)
def test_waits_that_cannot_be_are_refused(first: Any, longest: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="Backoff: "):
        Backoff(first, longest)
