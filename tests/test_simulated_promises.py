"""The library's own promises in simulated zones, with every fault there is; and bugs that are planted to be found."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from time import perf_counter

import pytest

from .simulated_bugs import BUGS, Plant, dead_letter_not_reported
from .simulated_history import violations_of_short_outages
from .simulated_world import SHORT, SMALL, Outcome, Plan, World

pytestmark = pytest.mark.slow

FIRST: dict[Plant, int] = {dead_letter_not_reported: 11}
"""The first seed that finds a bug, where those before it take long."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: what goes wrong is wanted, thousands of times."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def run_all(seeds: Iterable[int], plan: Plan) -> None:
    """Run a world for each seed; fail with what was broken, and print the figures."""
    began, virtual, faults, messages, count = perf_counter(), 0.0, 0, 0, 0
    for seed in seeds:
        outcome = World(seed, plan).run()
        broken = broken_in(outcome, plan)
        assert not broken, "\n".join([f"seed {seed}:", *broken, outcome.report.story()])
        virtual += outcome.report.ended_at
        faults += sum(moment.kind == "fault" for moment in outcome.report.faults)
        messages += len(outcome.history.sent)
        count += 1
    speed = virtual / (perf_counter() - began)
    print(  # noqa: T201  # the figures
        f"\n{count} seeds, {virtual:.0f} virtual seconds, {faults} faults, {messages} messages, 0 violations; "
        f"{speed:.0f} virtual seconds a second"
    )


def broken_in(outcome: Outcome, plan: Plan) -> list[str]:
    """Return the promises that were broken."""
    return outcome.broken + (violations_of_short_outages(outcome.history) if plan.is_short else [])


def test_all_promises_hold_whatever_breaks() -> None:
    run_all(range(1, 4), Plan(seconds=60))


def test_outages_shorter_than_the_window_are_noticed_by_nobody() -> None:
    run_all(range(1, 3), SHORT)


def test_the_same_seed_breaks_nothing_twice_in_the_same_way() -> None:
    plan = Plan(nodes=3, clients=4, seconds=20)

    one, two = World(5, plan).run(), World(5, plan).run()

    assert one.report.trace_hash == two.report.trace_hash
    assert one.history.sent == two.history.sent
    assert one.history.handled == two.history.handled


def test_all_promises_hold_in_fifty_zones_for_three_minutes() -> None:
    run_all(range(1, 51), Plan())


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1, 1001, 100))
def test_all_promises_hold_in_a_thousand_zones(first: int) -> None:
    run_all(range(first, first + 80), Plan())
    run_all(range(first + 80, first + 100), SHORT)


@pytest.mark.parametrize("plant", BUGS)
def test_a_bug_that_is_planted_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    found = next((text for seed in range(FIRST.get(plant, 1), 51) if (text := found_by(seed))), "")

    print(f"\n{plant.__name__}: {found:.200}")  # noqa: T201  # what found it
    assert found


@pytest.mark.parametrize("seeds", [range(1, 3), pytest.param(range(4, 51), marks=pytest.mark.soak)])
def test_where_no_bug_is_planted_none_is_found(seeds: range) -> None:
    assert [text for seed in seeds if (text := found_by(seed))] == []


def found_by(seed: int) -> str:
    """Return the first promise that is seen to be broken, if there is one."""
    for plan in (SMALL, SMALL_SHORT):
        try:
            broken = broken_in(World(seed, plan).run(), plan)
        except Exception as error:  # noqa: BLE001  # it broke more than a promise
            broken = [f"{type(error).__name__}: {error}"]
        if broken:
            return f"seed {seed}: {broken[0]}"
    return ""


SMALL_SHORT = Plan(
    nodes=2,
    clients=6,
    seconds=40,
    outages=(0.1, 6.0),
    pauses=(1.0, 6.0),
    breaks=("reset", "reset", "black hole", "one way"),
    overlap=False,
    stops=False,
    is_short=True,
)
