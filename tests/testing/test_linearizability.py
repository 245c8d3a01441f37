"""Histories from the literature, and for all histories: what ran is accepted, and what cannot be is not."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomy import MailboxFull
from autonomy.testing import Call, Counter, History, KeyedRegister, Model, Queue, Register, Set, check_linearizable

from .scripts import OPERATIONS, Operation, executed, new_history, oracle, scrambled, told

# ---- small ones that are known


def test_an_empty_history_is_linearizable() -> None:
    assert check_linearizable(new_history(), Register()).holds


def test_a_read_during_a_write_may_see_the_old_value_or_the_new_one() -> None:
    for seen in (0, 1):
        history = told("w r r w", w=("write", 1, "ok"), r=("read", None, seen))

        assert check_linearizable(history, Register(0)).holds


def test_a_stale_read_is_refused() -> None:
    history = told("w w r r", w=("write", 1, "ok"), r=("read", None, 0))

    verdict = check_linearizable(history, Register(0))

    assert verdict.answer == "not linearizable"
    assert [call.client for call in verdict.conflict] == ["w", "r"]
    assert verdict.text.splitlines() == [
        "not linearizable as Register(value=0): these 2 calls cannot all be true.",
        "  w  write(1) -> 'ok'  0.000 s to 1.000 s",
        "  r  read() -> 0       2.000 s to 3.000 s  <- this one",
        "When r got 0, the state could only be 1.",
        "By then 2 of 2 calls had started. The longest order that explains what was seen before has 1 of them:",
        "  w  write(1) -> 'ok'  0.000 s to 1.000 s",
    ]


def test_two_reads_during_a_write_see_it_in_one_order() -> None:
    # Herlihy and Wing 1990: a register that is merely regular may answer new and then old; an atomic one may not.
    history = told("w r r s s w", w=("write", 1, "ok"), r=("read", None, 1), s=("read", None, 0))

    assert not check_linearizable(history, Register(0)).holds


def test_a_lost_update_is_refused() -> None:
    history = told("a b a b r r", a=("add", 1, None), b=("add", 1, None), r=("read", None, 1))

    verdict = check_linearizable(history, Counter())

    assert [call.client for call in verdict.conflict] == ["a", "b", "r"]
    assert "When r got 1, the state could only be 2." in verdict.text


def test_a_queue_that_skips_is_refused() -> None:
    # Herlihy and Wing 1990, figure 1 (H2): x is put first, and y comes out first.
    history = told("x x y y t t", x=("put", "x", "ok"), y=("put", "y", "ok"), t=("take", None, "y"))

    verdict = check_linearizable(history, Queue())

    assert [call.client for call in verdict.conflict] == ["x", "t"]
    assert check_linearizable(told("x y x y t t", **calls_of_queue("y")), Queue()).holds


def calls_of_queue(taken: str) -> dict[str, tuple[object, ...]]:
    return {"x": ("put", "x", "ok"), "y": ("put", "y", "ok"), "t": ("take", None, taken)}


def test_a_queue_that_gives_twice_is_refused() -> None:
    history = told("x x s t s t", x=("put", "x", "ok"), s=("take", None, "x"), t=("take", None, "x"))

    assert not check_linearizable(history, Queue()).holds


def test_two_that_both_win_a_compare_and_set_are_refused() -> None:
    history = told("a b a b", a=("cas", (0, 1), True), b=("cas", (0, 2), True))

    verdict = check_linearizable(history, Register(0))

    assert [call.client for call in verdict.conflict] == ["a", "b"]


def test_a_write_of_the_value_that_is_there_may_be_needed_later() -> None:
    # b writes 1 while it is 1 already, and takes effect only after c wrote 2.
    history = told(
        "a a b c c r r b",
        a=("write", 1, "ok"),
        b=("write", 1, "ok"),
        c=("write", 2, "ok"),
        r=("read", None, 1),
    )

    assert check_linearizable(history, Register(0)).holds


# ---- calls of unknown outcome


@pytest.mark.parametrize("seen", [(0, 0), (0, 1), (1, 1)])
def test_a_call_that_never_returned_may_happen_late_or_never(seen: tuple[int, int]) -> None:
    history = told("w r r s s", w=("write", 1), r=("read", None, seen[0]), s=("read", None, seen[1]))

    assert check_linearizable(history, Register(0)).holds


def test_a_call_that_never_returned_happens_once_at_most() -> None:
    history = told("w r r s s", w=("write", 1), r=("read", None, 1), s=("read", None, 0))

    verdict = check_linearizable(history, Register(0))

    assert not verdict.holds
    assert "Calls of unknown outcome (1) were allowed to have happened at any time, or never." in verdict.text


def test_a_call_that_never_returned_does_not_happen_before_it_started() -> None:
    history = told("r r w", r=("read", None, 1), w=("write", 1))

    assert not check_linearizable(history, Register(0)).holds


def test_a_call_that_was_not_sent_never_happened() -> None:
    history = new_history()
    history.call("w", "write", 1).failed(MailboxFull("full", outcome="not_sent"))
    history.call("r", "read").ok(1)

    assert not check_linearizable(history, Register(0)).holds


def test_many_calls_of_unknown_outcome_that_are_alike_cost_little() -> None:
    history = new_history()
    for _ in range(200):
        history.call("a", "add", 1)
    history.call("b", "read").ok(150)

    verdict = check_linearizable(history, Counter())

    assert verdict.holds
    assert verdict.steps < 100_000


# ---- verdicts


def test_the_verdict_names_the_shortest_beginning_that_cannot_be() -> None:
    history = told(
        "w w r r x x y y",
        w=("write", 1, "ok"),
        r=("read", None, 0),
        x=("read", None, 5),
        y=("write", 2, "ok"),
    )

    verdict = check_linearizable(history, Register(0))

    assert [call.client for call in verdict.prefix] == ["w", "r"]
    assert [call.client for call in verdict.longest] == ["w"]


def test_keys_are_judged_alone_and_the_verdict_names_the_one_that_failed_first() -> None:
    history = told(
        "a a b b c c d d",
        a=("write", ("x", 1), "ok"),
        b=("write", ("y", 1), "ok"),
        c=("read", "y", 0),
        d=("read", "x", 0),
    )

    verdict = check_linearizable(history, KeyedRegister(0))

    assert verdict.key == "y"
    assert [call.client for call in verdict.conflict] == ["b", "c"]
    assert "key 'y'" in verdict.text


def test_a_search_that_takes_too_long_is_undecided() -> None:
    history = new_history()
    calls = [history.call("a", "write", number) for number in range(14)]
    for call in calls:
        call.ok("ok")
    history.call("b", "read").ok(99)

    verdict = check_linearizable(history, Register(), budget=2_000)

    assert verdict.answer == "undecided"
    assert not verdict.holds
    assert verdict.steps <= 2_100
    assert str(verdict).startswith("undecided after 2,00")


def test_a_thousand_calls_of_ten_clients_are_affordable() -> None:
    model, operations = OPERATIONS["register"]
    random = Random(1)

    history = executed(model, random.choices(operations, k=1000), 10, random)
    verdict = check_linearizable(history, model, budget=100_000)

    assert verdict.holds, verdict.text


@pytest.mark.parametrize(("count", "clients"), [(50, 3), (300, 3), (800, 3)])
def test_a_long_history_too_is_told_by_a_few_calls(count: int, clients: int) -> None:
    history = new_history()
    going: list[Call] = []
    for number in range(1, count + clients):
        if number <= count:
            going.append(history.call(f"c{number % clients}", "add", 1))
        if number >= clients:
            total = number - clients + 1
            going.pop(0).ok(total - 9 if total == count else total)

    verdict = check_linearizable(history, Counter())

    assert not verdict.holds
    assert 2 <= len(verdict.conflict) <= 6, verdict.text
    assert verdict.conflict[-1].result == count - 9


# ---- models of one's own


class Lock(Model[str]):
    def initial(self) -> str:
        return "free"

    def step(self, state: str, operation: str, argument: object, result: object) -> str | None:
        match operation, state:
            case "acquire", "free":
                return str(argument)
            case "release", owner if owner == argument:
                return "free"
        return None


def test_a_model_of_ones_own_judges_a_lock_that_two_have() -> None:
    twice = told("a a b b", a=("acquire", "a", "ok"), b=("acquire", "b", "ok"))
    in_turn = told("a b a c c b", a=("acquire", "a", "ok"), b=("acquire", "b", "ok"), c=("release", "a", "ok"))

    assert not check_linearizable(twice, Lock()).holds
    assert check_linearizable(in_turn, Lock()).holds


class Careless(Model[list[int]]):  # type: ignore[type-var]  # that is the mistake
    def initial(self) -> list[int]:
        return []

    def step(self, state: list[int], operation: str, argument: object, result: object) -> list[int] | None:
        return state


def test_a_state_that_cannot_be_hashed_is_refused_with_a_sentence() -> None:
    with pytest.raises(TypeError, match=r"a state that cannot be hashed: \[\]"):
        check_linearizable(told("a a", a=("add", 1, None)), Careless())  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("model", "operation"),
    [(Register(), "raed"), (KeyedRegister(), "x"), (Set(), "x"), (Queue(), "x"), (Counter(), "x")],
)
def test_an_operation_that_a_model_does_not_know_is_refused(model: Model[Any], operation: str) -> None:
    with pytest.raises(ValueError, match=rf"{type(model).__name__} knows .*; got {operation}\('k'\)"):
        check_linearizable(told("a a", a=(operation, "k", None)), model)


# ---- for all histories


@pytest.mark.parametrize("name", OPERATIONS)
def test_for_all_executions_what_ran_is_linearizable(name: str) -> None:
    model, operations = OPERATIONS[name]

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(operations), max_size=25), st.integers(1, 5), st.integers(0, 2**32))
    def promise(chosen: list[Operation], clients: int, seed: int) -> None:
        history = executed(model, chosen, clients, Random(seed))

        verdict = check_linearizable(history, model)

        assert verdict.holds, verdict.text

    promise()


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_for_all_small_histories_the_verdict_is_that_of_trying_every_order(name: str) -> None:
    model, operations = OPERATIONS[name]
    answers = {True: 0, False: 0}
    for seed in range(250):
        history = scrambled(operations, Random(seed))
        expected = oracle(history, model)
        verdict = check_linearizable(history, model)
        answers[expected] += 1

        assert verdict.holds == expected, f"seed {seed}: {history.calls}\n{verdict}"

    assert min(answers.values()) > 25  # both kinds were among them


@pytest.mark.parametrize("name", OPERATIONS)
def test_for_all_histories_that_fail_one_event_less_would_not(name: str) -> None:
    model, operations = OPERATIONS[name]
    failed = 0
    for seed in range(60):
        history = scrambled(operations, Random(seed))
        verdict = check_linearizable(history, model)
        if verdict.holds:
            continue
        failed += 1
        many = next(n for n in range(len(history.events) + 1) if not oracle(beginning(history, n), model))

        last = history.events[many - 1].call
        assert last in verdict.conflict
        assert list(verdict.prefix) == [
            event.call
            for event in history.events[:many]
            if event.moment == "start" and event.call.ending != "never happened" and same_key(model, event.call, last)
        ]

    assert failed > 10


@pytest.mark.parametrize("name", OPERATIONS)
def test_for_all_histories_that_fail_none_of_the_calls_in_conflict_can_be_spared(name: str) -> None:
    model, operations = OPERATIONS[name]
    for seed in range(60):
        history = scrambled(operations, Random(seed))
        conflict = check_linearizable(history, model).conflict
        if not conflict:
            continue

        assert not oracle(weakened(history, except_for=conflict), model)
        for spared in conflict:
            assert oracle(weakened(history, except_for=[call for call in conflict if call is not spared]), model)


def same_key(model: Model[Any], one: Call, other: Call) -> bool:
    return model.key(one.operation, one.argument) == model.key(other.operation, other.argument)


def beginning(history: History, many: int) -> History:
    """Return the first events of a history; calls that have not ended by then go on."""
    copy = new_history()
    copies: dict[Call, Call] = {}
    for event in history.events[:many]:
        call = event.call
        if call.ending == "never happened":
            continue
        if event.moment == "start":
            copies[call] = copy.call(call.client, call.operation, call.argument)
        elif call.ending == "returned":
            copies[call].ok(call.result)
    return copy


def weakened(history: History, except_for: Sequence[Call]) -> History:
    """Return the same calls, of which only some have returned."""
    copy = new_history()
    copies: dict[Call, Call] = {}
    for event in history.events:
        call = event.call
        if call.ending == "never happened":
            continue
        if event.moment == "start":
            copies[call] = copy.call(call.client, call.operation, call.argument)
        elif call in except_for:
            copies[call].ok(call.result)
    return copy
