"""Plays: a planted bug is found, its story shortened until nothing can be left out, saved, and replayed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from autonomy.testing import Fault, Simulation, SimulationFailed, Story, perform, replay, search, shrink

from .leases import checked_leases, leases


@pytest.mark.slow
def test_a_planted_bug_is_found_shrunk_saved_and_replayed(tmp_path: Path) -> None:
    found = search(leases, range(50))
    assert found is not None

    shortest = shrink(leases, found)
    shortest.story.save(tmp_path / "too-late.story")

    assert 1 <= len(shortest.story) <= 5 < len(found.story)
    assert str(shortest.story) in str(shortest.error)
    with pytest.raises(SimulationFailed, match="nobody_writes_too_late"):
        replay(leases, tmp_path / "too-late.story")
    assert replay(checked_leases, tmp_path / "too-late.story").seed == found.story.seed


@dataclass
class BreaksIf:
    """A play that fails if its story is enough; says how often it was performed."""

    needs: tuple[Fault, ...]
    ran: list[Story] = field(default_factory=list)

    def __call__(self, sim: Simulation) -> None:
        self.ran.append(sim.story)
        sim.node("a")
        sim.node("b")
        sim.run(self.scenario)

    async def scenario(self, sim: Simulation) -> None:
        assert not all(any(self.is_enough(fault, need) for fault in sim.story) for need in self.needs)

    def is_enough(self, fault: Fault, need: Fault) -> bool:
        return (fault.kind, fault.hosts) == (need.kind, need.hosts) and fault.for_seconds >= need.for_seconds


NEEDS = (Fault("partition", ("a", "b"), 0, 2), Fault("crash", ("b",), 0, 1))


def many(seed: int) -> Story:
    sim = Simulation(seed)
    sim.node("a")
    sim.node("b")
    return sim.chaos(rate=1 / 10)


def test_nothing_can_be_left_out_of_a_shrunk_story_and_nothing_made_smaller() -> None:
    story = Story((*many(1), replace_at(NEEDS[0], 7.77, 9.31), *many(2), replace_at(NEEDS[1], 50, 3)), 1)
    play = BreaksIf(NEEDS)
    shortest = shrink(play, perform(play, story=story))

    assert len(story) > 15
    assert sorted(shortest.story, key=str) == sorted(NEEDS, key=str)
    assert f"shrunk from {len(story)} faults to 2 in {len(play.ran) - 1} runs" in str(shortest.error)


def replace_at(fault: Fault, at: float, for_seconds: float) -> Fault:
    return Fault(fault.kind, fault.hosts, at, for_seconds)


def test_the_same_failure_is_shrunk_to_the_same_story_in_as_many_runs() -> None:
    plays = [BreaksIf(NEEDS), BreaksIf(NEEDS)]
    story = Story((*many(3), *NEEDS), 3)
    shortest = [shrink(play, perform(play, story=story)).story for play in plays]

    assert shortest[0] == shortest[1]
    assert plays[0].ran == plays[1].ran


def test_shrinking_keeps_to_its_budget() -> None:
    play = BreaksIf(NEEDS)
    failed = perform(play, story=Story((*many(3), *NEEDS), 3))
    shortest = shrink(play, failed, budget=4)

    assert len(play.ran) == 1 + 4
    assert shortest.error is not None


def test_a_failure_without_faults_is_shrunk_to_nothing() -> None:
    play = BreaksIf(())
    shortest = shrink(play, perform(play, story=many(1), seed=1))

    assert shortest.story == Story((), 1)
    assert "(nothing breaks)" in str(shortest.error)


def test_shrinking_does_not_slip_to_another_failure() -> None:
    def play(sim: Simulation) -> None:

        sim.node("a")
        sim.run(partial(raise_by_story))

    async def raise_by_story(sim: Simulation) -> None:
        if not len(sim.story):
            raise ZeroDivisionError("another one")
        raise LookupError("the one that was found")

    story = Story((Fault("crash", ("a",), 1, 1), Fault("crash", ("a",), 3, 1)), 1)
    shortest = shrink(play, perform(play, story=story))

    assert len(shortest.story) == 1
    assert isinstance(shortest.cause, LookupError)


def test_what_a_play_finds_after_the_run_is_a_failure_too() -> None:
    def play(sim: Simulation) -> None:
        sim.node("a")
        sim.run(Simulation.calm)
        raise AssertionError("the history is not linearizable")

    performance = perform(play, 1)

    assert str(performance) == "seed 1: AssertionError: the history is not linearizable"
    with pytest.raises(AssertionError, match="linearizable"):
        replay(play, performance.story)


def test_a_play_that_does_not_run_is_refused() -> None:
    with pytest.raises(ValueError, match="did not run the simulation"):
        perform(lambda sim: sim.node("a"), 1)


def test_a_search_that_finds_nothing_says_so() -> None:
    def play(sim: Simulation) -> None:
        sim.node("a")
        sim.run(Simulation.calm)

    assert search(play, range(5)) is None
