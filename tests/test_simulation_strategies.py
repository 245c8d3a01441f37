"""Strategies: Hypothesis finds a planted bug, and shrinks its story."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio
from hypothesis import HealthCheck, find, given, settings

from autonomy.testing import Simulation, Story, perform
from autonomy.testing.faults import KINDS
from autonomy.testing.strategies import seeds, stories

from .simulated import bank

HOSTS = ["lock", "store", "client-0", "client-1"]
DERANDOMIZED = settings(derandomize=True, database=None, deadline=None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["partition", "slow", "reset", "crash"])
def test_the_smallest_story_with_a_fault_is_one_that_is_there_at_once_and_short(kind: str) -> None:
    story = find(stories(HOSTS, kinds=[kind]), lambda story: len(story) > 0, settings=DERANDOMIZED)

    (fault,) = story
    assert fault.hosts == tuple(HOSTS[: KINDS[kind].hosts])
    assert (fault.at, fault.for_seconds) == (0.0, 0.1 if KINDS[kind].lasts else 0.0)


async def impatient(sim: Simulation) -> None:
    shop = await sim.host("shop").up()
    await sim.host("bank").up()
    with trio.move_on_after(sim.story.ends_at):
        while True:
            await shop.send_and_receive("counter@bank", "hello", timeout=2)
            await trio.sleep(0.2)


@pytest.mark.slow
def test_a_failing_run_is_shrunk_to_a_story_of_few_faults() -> None:
    def play(sim: Simulation) -> None:
        sim.node("bank", bank)
        sim.node("shop")
        sim.run(impatient)

    quick = settings(DERANDOMIZED, max_examples=100, suppress_health_check=list(HealthCheck))
    strategy = stories(["bank", "shop"], kinds=["partition", "slow"], for_=6, at_most=4)

    story = find(strategy, lambda story: perform(play, 1, story).error is not None, settings=quick)

    assert len(story) == 1
    assert 1 < story.faults[0].for_seconds < 3


@given(seed=seeds(), story=stories(["a", "b"], for_=2, at_most=3))
@settings(DERANDOMIZED, max_examples=10)
def test_a_seed_and_a_story_make_a_run(seed: int, story: Story) -> None:
    sim = Simulation(seed, story=story)
    sim.node("a")
    sim.node("b")
    report = sim.run(Simulation.calm)

    assert len(report.faults) >= len(story)


def test_hosts_too_few_for_a_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        stories(["a"], kinds=["partition"])


def test_hypothesis_is_not_imported_before_it_is_needed() -> None:
    program = "import sys, autonomy.testing; sys.exit('hypothesis' in sys.modules)"

    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)
