"""Each checker sees what breaks its promise, and is content with what keeps it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomy.testing import (
    Answered,
    Began,
    Died,
    Ended,
    Record,
    Reported,
    Sent,
    Violation,
    check_no_duplicates,
    check_no_silent_loss,
    check_one_at_a_time,
    check_order,
    check_replies_match,
    check_sequential_counter,
)

W = "w@b"


def sent(*messages: str, sender: str = "s@a", worker: str = W) -> list[Record]:
    return [Sent(1.0, message, sender, worker) for message in messages]


def handled(*messages: str, worker: str = W, life: str = "") -> list[Record]:
    return [
        record
        for message in messages
        for record in (Began(2.0, message, worker, life), Ended(2.0, message, worker, life))
    ]


def texts(violations: Sequence[Violation]) -> list[str]:
    return [str(violation) for violation in violations]


# ---- order


@pytest.mark.parametrize("seen", ["", "1", "12", "123"])
def test_any_beginning_of_what_was_sent_is_in_order(seen: str) -> None:
    assert check_order([*sent(*"123"), *handled(*seen)]) == []


def test_messages_handled_in_another_order_are_found() -> None:
    journal = [*sent(*"123"), *handled(*"132")]

    assert texts(check_order(journal)) == [
        "'3' was handled at 2.000 s, before '2' at 2.000 s, which was sent first: sent at 1.000 s from s@a to w@b"
    ]


def test_a_message_that_was_skipped_is_found_unless_it_was_reported() -> None:
    journal = [*sent(*"123"), *handled(*"13")]

    assert texts(check_order(journal)) == [
        "'3', sent later, was handled, and '2' was skipped: sent at 1.000 s from s@a to w@b"
    ]
    assert check_order([*journal, Reported(3.0, "2", "mailbox full")]) == []


def test_order_is_for_each_sender_and_worker_alone() -> None:
    journal = [
        *sent("1"),
        *sent("2", sender="t@a"),
        *sent("3", worker="v@b"),
        *handled("2"),
        *handled("3", worker="v@b"),
    ]

    assert check_order(journal) == []


# ---- duplicates


def test_a_message_handled_twice_is_found() -> None:
    journal = [*sent("1"), *handled("1"), *handled("1", life="second")]

    assert texts(check_no_duplicates(journal)) == [
        "'1' was handled 2 times: at 2.000 s by w@b, at 2.000 s by w@b; sent at 1.000 s from s@a to w@b"
    ]


def test_a_message_that_nobody_sent_is_found() -> None:
    assert texts(check_no_duplicates(handled("1"))) == ["'1' was handled at 2.000 s by w@b, and nobody sent it"]


def test_a_journal_in_which_messages_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="number them"):
        check_no_duplicates(sent("1", "1"))


# ---- silent loss


@pytest.mark.parametrize(
    "end",
    [
        [Began(2.0, "1", W)],
        [Reported(2.0, "1", "node down")],
        [Answered(2.0, "1", "yes")],
        [Died(2.0, "s@a")],
        [Died(2.0, "a")],
    ],
)
def test_a_message_that_was_handled_or_reported_or_whose_sender_died_is_not_lost(end: list[Record]) -> None:
    assert check_no_silent_loss([*sent("1"), *end]) == []


def test_a_message_that_is_lost_in_silence_is_found() -> None:
    journal = [Died(0.5, "a"), *sent("1"), Died(2.0, "b")]

    assert texts(check_no_silent_loss(journal)) == [
        "'1' was lost in silence: sent at 1.000 s from s@a to w@b, neither handled nor reported"
    ]


# ---- one at a time


def test_a_worker_that_begins_while_it_handles_is_found() -> None:
    journal: list[Record] = [Began(1.0, "1", W), Began(1.0, "2", W), Ended(2.0, "2", W), Ended(3.0, "1", W)]

    assert texts(check_one_at_a_time(journal)) == [
        "w@b began '2' at 1.000 s, while it handled '1', begun at 1.000 s",
        "w@b ended '1' at 3.000 s, which it was not handling",
    ]


def test_another_life_and_another_worker_may_begin_meanwhile() -> None:
    journal: list[Record] = [Began(1.0, "1", W, "x"), Began(1.0, "2", "v@b"), *handled("3", life="y")]

    assert check_one_at_a_time(journal) == []


# ---- replies


def test_every_reply_is_the_one_to_its_message() -> None:
    journal = [*sent(*"12"), *handled(*"12"), Answered(3.0, "1", "re 1"), Answered(3.0, "2", "re 1")]

    assert texts(check_replies_match(journal, lambda message: f"re {message}")) == [
        "'2' got the reply 're 1' instead of 're 2', at 3.000 s"
    ]


@pytest.mark.parametrize(
    ("journal", "text"),
    [
        ([Answered(3.0, "1", "1")], "'1' got a reply, and nobody sent it, at 3.000 s"),
        ([*sent("1"), Answered(3.0, "1", "1")], "'1' got a reply before any handler began it, at 3.000 s"),
        (
            [*sent("1"), *handled("1"), Answered(3.0, "1", "1"), Answered(4.0, "1", "1")],
            "'1' got a second reply: first '1', then '1', at 4.000 s",
        ),
    ],
)
def test_replies_out_of_nothing_are_found(journal: list[Record], text: str) -> None:
    assert texts(check_replies_match(journal, str)) == [text]


# ---- the counter


def test_a_counter_may_count_messages_that_got_no_reply() -> None:
    journal = [*sent(*"abc"), Answered(2.0, "c", "3"), Answered(2.0, "a", "1")]

    assert check_sequential_counter(journal) == []


@pytest.mark.parametrize(
    ("journal", "text"),
    [
        (
            [*sent(*"ab"), Answered(2.0, "a", "1"), Answered(3.0, "b", "1")],
            "'b' got 1 at 3.000 s, as 'a' had at 2.000 s",
        ),
        (
            [*sent("a"), Answered(2.0, "a", "2")],
            "'a' got 2 at 2.000 s, after 1 messages had been sent to a counter that began with 0",
        ),
        (
            [*sent(*"ab"), Answered(2.0, "a", "2"), *sent("c"), Answered(3.0, "c", "1")],
            "'c' got 1 at 3.000 s, and was sent after 'a' had got 2 at 2.000 s",
        ),
    ],
)
def test_a_counter_that_forgets_or_counts_twice_is_found(journal: list[Record], text: str) -> None:
    assert texts(check_sequential_counter(journal)) == [text]


# ---- for all runs of a zone that keeps its promises


CHECKS: dict[str, Callable[[list[Record]], list[Violation]]] = {
    "order": check_order,
    "duplicates": check_no_duplicates,
    "loss": check_no_silent_loss,
    "one at a time": check_one_at_a_time,
    "replies": lambda journal: check_replies_match(journal, lambda message: message),
}


def run(random: Random, *, many: int) -> list[Record]:
    """Return the journal of two senders and two workers that keep every promise; some messages are refused."""
    journal: list[Record] = []
    under_way: dict[tuple[str, str], list[str]] = {}
    busy: dict[str, str] = {}
    number = 0
    while number < many or any(under_way.values()) or busy:
        sender, worker = random.choice(["s@a", "t@a"]), random.choice(["w@b", "v@b"])
        waiting = under_way.setdefault((sender, worker), [])
        if number < many and random.random() < 0.4:
            number += 1
            journal.append(Sent(0.0, str(number), sender, worker))
            if random.random() < 0.1:
                journal.append(Reported(0.0, str(number), "mailbox full"))
            else:
                waiting.append(str(number))
        elif worker in busy:
            message = busy.pop(worker)
            journal.append(Ended(0.0, message, worker))
            journal.append(Answered(0.0, message, message))
        elif waiting:
            busy[worker] = waiting.pop(0)
            journal.append(Began(0.0, busy[worker], worker))
    return journal


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 30))
def test_for_all_good_runs_no_checker_complains(seed: int, many: int) -> None:
    journal = run(Random(seed), many=many)

    assert {name: check(journal) for name, check in CHECKS.items()} == {name: [] for name in CHECKS}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(10, 30))
def test_for_all_good_runs_one_record_too_few_or_too_many_is_noticed(seed: int, many: int) -> None:
    random = Random(seed)
    journal = run(random, many=many)
    begun = [(place, record) for place, record in enumerate(journal) if isinstance(record, Began)]
    if not begun:
        return
    place, began = random.choice(begun)

    twice = [*journal[:place], began, *journal[place:]]
    kept = [record for record in journal if isinstance(record, Sent) or f"'{began.message}'" not in repr(record)]

    assert check_no_duplicates(twice)
    assert check_one_at_a_time(twice)
    assert check_no_silent_loss(kept)
