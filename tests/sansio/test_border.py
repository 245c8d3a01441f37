"""What callers may pass in: messages, seconds, counts (M1, M2, Q1)."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from autonomy._sansio.border import MAX_MESSAGE_BYTES, check_count, check_delay, check_message, check_seconds

no_texts = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.binary(), st.lists(st.text()))
no_numbers = st.one_of(st.none(), st.booleans(), st.text(), st.binary(), st.just(Decimal(1)), st.just(Fraction(1, 2)))
any_text = st.text(st.characters())  # lone surrogates among them


# ---- messages


@given(any_text, st.integers(1, 40))
@example("é" * 10, 20)
@example("é" * 10, 19)
@example("\ud800", 40)
def test_a_text_is_a_message_if_it_can_be_encoded_and_is_short_enough(text: str, limit: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        with pytest.raises(ValueError, match="lone surrogate"):
            check_message(text, limit)
        return

    if size <= limit:
        assert check_message(text, limit) == text
    else:
        with pytest.raises(ValueError, match=f"{size:,} bytes once encoded; this node takes at most {limit:,}"):
            check_message(text, limit)


@given(no_texts)
def test_what_is_no_text_is_no_message_and_the_error_names_its_type_and_json(thing: object) -> None:
    with pytest.raises(TypeError, match=rf"must be a str, got {type(thing).__name__}: .*json\.dumps"):
        check_message(thing, 1000)


def test_a_lone_surrogate_is_named_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"'\\ud800' at index 2"):
        check_message("ab\ud800", 1000)


def test_a_message_may_have_16_mib() -> None:
    assert MAX_MESSAGE_BYTES == 16 * 1024 * 1024
    assert check_message("x" * MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES)
    with pytest.raises(ValueError, match="max_message_bytes"):
        check_message("x" * (MAX_MESSAGE_BYTES + 1), MAX_MESSAGE_BYTES)


# ---- seconds


@given(st.one_of(st.integers(-(10**300), 10**300), st.floats(allow_nan=False)))
def test_every_number_but_nan_is_a_number_of_seconds(value: float) -> None:
    seconds = check_seconds(value, "timeout")

    assert type(seconds) is float
    assert seconds == float(value)


@given(no_numbers)
def test_what_is_no_int_or_float_is_no_number_of_seconds(thing: object) -> None:
    with pytest.raises(TypeError, match=f"^timeout must be a number of seconds, got {type(thing).__name__}"):
        check_seconds(thing, "timeout")


def test_nan_is_no_number_of_seconds() -> None:
    with pytest.raises(ValueError, match=r"^timeout must be a number of seconds, got NaN"):
        check_seconds(math.nan, "timeout")


@pytest.mark.parametrize("digits", [400, 5000])
def test_an_int_too_large_for_seconds_is_refused_by_name(digits: int) -> None:
    with pytest.raises(ValueError, match=r"^timeout is too large"):
        check_seconds(10**digits, "timeout")


@given(st.one_of(st.integers(0, 10**300), st.floats(0, allow_infinity=False)))
def test_a_delay_is_finite_and_not_negative(value: float) -> None:
    assert check_delay(value, "delay") == float(value)


@pytest.mark.parametrize("value", [-1, -0.001, math.inf, -math.inf])
def test_these_are_no_delays(value: float) -> None:
    with pytest.raises(ValueError, match=r"^delay must be 0 or more and finite seconds, got"):
        check_delay(value, "delay")


@pytest.mark.parametrize("value", [0, 0.0, -0.0])
def test_a_delay_may_be_zero_only_where_that_makes_sense(value: float) -> None:
    assert check_delay(value, "delay") == 0
    with pytest.raises(ValueError, match=r"^period must be more than 0 and finite seconds, got"):
        check_delay(value, "period", zero=False)


# ---- counts


@given(st.integers(), st.integers(-5, 5))
def test_a_count_is_an_int_of_at_least_so_much(value: int, least: int) -> None:
    if value >= least:
        assert check_count(value, "capacity", least) == value
    else:
        with pytest.raises(ValueError, match=f"^capacity must be at least {least}, got {value}$"):
            check_count(value, "capacity", least)


@given(st.one_of(no_numbers, st.floats()))
def test_what_is_no_int_is_no_count(thing: object) -> None:
    with pytest.raises(TypeError, match=f"^capacity must be an int, got {type(thing).__name__}"):
        check_count(thing, "capacity")


@given(st.lists(st.text(), min_size=1), st.integers(100, 1000))
def test_an_error_about_a_huge_value_is_short(thing: list[str], times: int) -> None:
    for check in (check_seconds, check_delay, check_count):
        with pytest.raises(TypeError, match="what") as caught:
            check(thing * times, "what")

        assert len(str(caught.value)) < 200
