"""Supervision as decisions: windows, strategies, kinds of children (L3, L4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._sansio.restarts import (
    ChildRestart,
    ChildSpec,
    Ending,
    Restart,
    RestartWindow,
    Strategy,
    affected,
    check_children,
    check_strategy,
)

MakeWindow = Callable[[int, float], RestartWindow]


def check_window(make_window: MakeWindow, max_restarts: int, within: int, pauses: Sequence[int]) -> None:
    """Raise AssertionError unless a window allows what a count over all restarts allows."""
    window = make_window(max_restarts, within)
    restarts: list[int] = []
    now = 0
    for pause in pauses:
        now += pause
        recent = sum(time > now - within for time in restarts)
        allowed = window.allow(now)
        assert allowed == (recent + 1 if recent < max_restarts else 0)
        if allowed:
            restarts.append(now)


class NeverForgets(RestartWindow):
    def allow(self, now: float) -> int:
        return super().allow(0)


class OneTooMany(RestartWindow):
    def __init__(self, max_restarts: int, within: float) -> None:
        super().__init__(max_restarts + 1, within)


class ForgetsTooLate(RestartWindow):
    def __init__(self, max_restarts: int, within: float) -> None:
        super().__init__(max_restarts, within + 0.5)


@given(st.integers(0, 5), st.integers(1, 20), st.lists(st.integers(0, 10)))
def test_a_window_allows_max_restarts_within_its_time_and_counts_them(
    max_restarts: int, within: int, pauses: list[int]
) -> None:
    check_window(RestartWindow, max_restarts, within, pauses)


@pytest.mark.parametrize("mutant", [NeverForgets, OneTooMany, ForgetsTooLate])
def test_the_property_catches_a_window_that(mutant: MakeWindow) -> None:
    with pytest.raises(AssertionError):
        check_window(mutant, 2, 10, [0, 5, 5, 5, 0, 10])


def test_a_window_says_what_is_more_than_it_allows() -> None:
    assert str(RestartWindow(3, 30.0)) == "more than 3 restarts within 30 s"


@given(st.lists(st.text("abcdef", min_size=1), min_size=1, unique=True), st.data())
def test_who_is_restarted_with_whom(children: list[str], data: st.DataObject) -> None:
    failed = data.draw(st.sampled_from(children))

    assert affected("one_for_one", children, failed) == [failed]
    assert affected("one_for_all", children, failed) == children
    rest = affected("rest_for_one", children, failed)
    assert rest[0] == failed
    assert children[: children.index(failed)] + rest == children


@pytest.mark.parametrize(
    ("restart", "wanted"),
    [("permanent", {"failed", "finished", "recycled"}), ("transient", {"failed"}), ("temporary", set())],
)
def test_which_endings_a_child_is_restarted_after(restart: ChildRestart, wanted: set[str]) -> None:
    endings: list[Ending] = ["stopped", "finished", "failed", "recycled"]
    child = ChildSpec("child", object, restart)

    assert {ending for ending in endings if child.wants_restart(ending)} == wanted


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
def test_the_three_strategies_are_known(strategy: Strategy) -> None:
    assert check_strategy(strategy) == strategy


@pytest.mark.parametrize("strategy", ["", "all", "ONE_FOR_ALL", None, 7])
def test_other_strategies_are_refused_and_the_text_names_the_three(strategy: object) -> None:
    with pytest.raises(ValueError, match="one_for_one, one_for_all or rest_for_one"):
        check_strategy(strategy)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_restarts": -1}, ValueError),
        ({"max_restarts": 1.0}, TypeError),
        ({"max_restarts": True}, TypeError),
        ({"within": 0}, ValueError),
        ({"within": -1}, ValueError),
        ({"within": math.inf}, ValueError),
        ({"within": math.nan}, ValueError),
        ({"within": "30"}, TypeError),
        ({"backoff": 0.1}, TypeError),
    ],
)
def test_a_restart_policy_that_cannot_be_is_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match="Restart: "):
        Restart(**arguments)


@pytest.mark.parametrize("restart", ["always", "", None])
def test_a_kind_of_child_that_cannot_be_is_refused(restart: Any) -> None:
    with pytest.raises(ValueError, match="permanent, transient or temporary"):
        ChildSpec("child", object, restart)


@pytest.mark.parametrize("restart", ["permanent", "transient"])
def test_a_child_that_may_be_restarted_needs_a_class_or_a_factory(restart: Any) -> None:
    class Worker:
        def handle_message(self, context: object, message: str) -> None:
            return

    for wrong in (Worker(), 5, None):
        with pytest.raises(TypeError, match="'child' is to be restarted with fresh objects"):
            ChildSpec("child", wrong, restart)

    for right in (Worker, lambda: Worker()):
        ChildSpec("child", right, restart)
    ChildSpec("child", Worker(), "temporary")


def test_the_names_of_a_group_and_its_children_are_all_different() -> None:
    with pytest.raises(ValueError, match="all have different names"):
        check_children("group", [ChildSpec("a", object), ChildSpec("a", object)])
    with pytest.raises(ValueError, match="all have different names"):
        check_children("a", [ChildSpec("a", object)])

    check_children("group", [ChildSpec("a", object), ChildSpec("b", object)])
