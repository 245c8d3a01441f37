"""The library's own promises in simulated zones, with every fault there is; and bugs that are planted to be found."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from .simulated_bugs import (
    BUGS,
    Plant,
    cancelled_handlers_have_failed,
    dead_letter_not_reported,
    duplicate_delivery,
    outcome_wrong,
    stop_waits_its_turn,
)
from .simulated_history import violations_of_deaths
from .simulated_sweep import THOUSAND, found_by, run_all
from .simulated_world import RARE, SHORT, SMALL, Plan, World

pytestmark = pytest.mark.slow

FIRST: dict[Plant, int] = {
    dead_letter_not_reported: 25,
    duplicate_delivery: 4,
    outcome_wrong: 4,
    cancelled_handlers_have_failed: 3,
    stop_waits_its_turn: 3,
}
"""The first seed that finds a bug, where those before it take long."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log nothing: what goes wrong is wanted, thousands of times."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_all_promises_hold_whatever_breaks() -> None:
    run_all((seed, Plan(seconds=60)) for seed in range(1, 4))


def test_all_promises_hold_over_the_real_tls_and_websockets() -> None:
    run_all((seed, replace(SMALL, wire="tls")) for seed in range(1, 4))


def test_all_promises_hold_where_links_are_clogged_stalled_refused_and_narrow() -> None:
    run_all((seed, RARE) for seed in range(1, 4))


def test_outages_shorter_than_the_window_are_noticed_by_nobody() -> None:
    run_all((seed, SHORT) for seed in range(1, 3))


@pytest.mark.parametrize(("kind", "noticed"), [("crash", 1.0), ("power loss", 12.0)])
def test_whoever_waits_for_a_node_that_ends_is_told_in_time(kind: str, noticed: float) -> None:
    for seed in (1, 2):
        outcome = World(seed, Plan(seconds=60, breaks=(kind,), overlap=False)).run()

        assert outcome.broken + violations_of_deaths(outcome.history, noticed) == []
        assert any(sent.error == "NodeDown" for sent in outcome.history.sent)


def test_the_same_seed_breaks_nothing_twice_in_the_same_way() -> None:
    plan = Plan(nodes=3, clients=4, seconds=20)

    one, two = World(5, plan).run(), World(5, plan).run()

    assert one.report.trace_hash == two.report.trace_hash
    assert one.history.sent == two.history.sent
    assert one.history.handled == two.history.handled


def test_all_promises_hold_in_fifty_zones_for_three_minutes() -> None:
    run_all(((seed, Plan()) for seed in range(1, 51)), jobs=2)


@pytest.mark.soak
def test_all_promises_hold_in_a_thousand_zones() -> None:
    run_all(THOUSAND, jobs=os.cpu_count() or 1)


@pytest.mark.parametrize("plant", BUGS)
def test_a_bug_that_is_planted_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    found = next((text for seed in range(FIRST.get(plant, 1), 51) if (text := found_by(seed))), "")

    print(f"\n{plant.__name__}: {found:.200}")  # noqa: T201  # what found it
    assert found


@pytest.mark.parametrize("seeds", [range(1, 3), pytest.param(range(4, 51), marks=pytest.mark.soak)])
def test_where_no_bug_is_planted_none_is_found(seeds: range) -> None:
    assert [text for seed in seeds if (text := found_by(seed))] == []
