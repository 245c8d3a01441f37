"""A play is a function that takes a `Simulation`, puts hosts into it and runs it; it fails by raising.

The same function serves as a test with the fixture ``simulation``, as the target of ``python -m autonomy.testing``, and
here: to be performed with a seed, with a story, and with less and less of a story, until nothing can be left out.

Source: Zeller's delta debugging.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from .faults import Fault, Story
from .runs import Report, SimulationFailed
from .simulation import Simulation

Play = Callable[[Simulation], object]
BUDGET: Final = 200
"""Runs that looking for a shorter story may take."""


@dataclass(frozen=True)
class Performance:
    """What became of a play.

    Attributes:
        story: What broke, and the seed.
        report: What happened.
        error: What it raised, or None.
    """

    story: Story
    report: Report
    error: Exception | None

    @property
    def cause(self) -> BaseException | None:
        """What went wrong, without the story around it."""
        return self.error.__cause__ if isinstance(self.error, SimulationFailed) else self.error

    def fails_like(self, other: Performance) -> bool:
        """Whether both went wrong in the same way: what they raised is of one type."""
        return self.error is not None and type(self.cause) is type(other.cause)

    def __str__(self) -> str:
        if self.error is None:
            return f"seed {self.report.seed}: passed"
        return f"seed {self.report.seed}: {type(self.cause).__name__}: {self.cause}"


def perform(play: Play, seed: int | None = None, story: Story | None = None) -> Performance:
    """Perform a play once; what it raises is in what is returned.

    Args:
        play: To be performed.
        seed: None for the story's.
        story: What breaks; None for what the play draws.

    Raises:
        ValueError: It never ran the simulation.
    """
    sim = Simulation(seed, story=story)
    error: Exception | None = None
    try:
        play(sim)
    except Exception as raised:  # noqa: BLE001  # whatever a program raises is what is looked for
        error = raised
    if sim.report is None:
        why = "" if error is None else f": {type(error).__name__}: {error}"
        raise ValueError(f"{play!r} did not run the simulation that it was given{why}") from error
    return Performance(sim.story, sim.report, error)


def search(play: Play, seeds: Iterable[int]) -> Performance | None:
    """Perform a play with one seed after the other; returns the first that fails, or None."""
    performances = (perform(play, seed) for seed in seeds)
    return next((performance for performance in performances if performance.error is not None), None)


def replay(play: Play, story: Story | str | Path) -> Report:
    """Perform a play with a story, or with one from a file: a failure that was found is a test from then on.

    Raises:
        Exception: What the play raises, if it fails again.
    """
    performance = perform(play, story=story if isinstance(story, Story) else Story.load(story))
    if performance.error is not None:
        raise performance.error
    return performance.report


def shrink(play: Play, failed: Performance, *, budget: int = BUDGET) -> Performance:
    """Look for the shortest story with which a play fails in the same way.

    Faults are left out, by halves and then one by one; those that are left begin earlier, last less long and are as
    usual in all else, if they still do it. The same play and failure give the same story.

    Args:
        play: As it failed.
        failed: How it failed.
        budget: Performances that this may take.

    Returns:
        The performance with that story; the text of its error says how it was found.
    """
    shrinking = _Shrinking(play, failed, budget)
    shrinking.leave_out()
    shrinking.simplify()
    shrinking.leave_out()  # once more: what is simpler may need less beside it
    return shrinking.result()


class _Shrinking:
    """One search for a shorter story. Every step that still fails is kept."""

    def __init__(self, play: Play, failed: Performance, budget: int) -> None:
        self._play = play
        self._first = self._best = failed
        self._budget = budget
        self._runs = 0
        self._tried = {failed.story: True}

    def leave_out(self) -> None:
        """Leave out faults, first all of them, then halves and ever smaller parts."""
        if self._fails(()):
            return
        size = (len(self._best.story) + 1) // 2
        while size:
            at = 0
            while at < len(self._best.story):
                faults = self._best.story.faults
                if not self._fails((*faults[:at], *faults[at + size :])):
                    at += size
            size = 1 if 1 < size < 4 else size // 2

    def simplify(self) -> None:
        """Make the faults that are left smaller, as long as any can be."""
        while any(self._simplify(number) for number in range(len(self._best.story))):
            pass

    def _simplify(self, number: int) -> bool:
        faults = self._best.story.faults
        return any(
            self._fails((*faults[:number], simpler, *faults[number + 1 :])) for simpler in _simpler(faults[number])
        )

    def _fails(self, faults: Sequence[Fault]) -> bool:
        story = Story(tuple(faults), self._first.story.seed)
        if story in self._tried or self._runs >= self._budget:
            return False
        self._runs += 1
        performance = perform(self._play, story=story)
        self._tried[story] = performance.fails_like(self._first)
        if self._tried[story]:
            self._best = performance
        return self._tried[story]

    def result(self) -> Performance:
        """Return the best performance; its error tells of the search."""
        best, first = self._best, self._first
        counts = f"shrunk from {len(first.story)} faults to {len(best.story)} in {self._runs} runs"
        text = f"{type(best.cause).__name__}: {best.cause}\n{counts}:\n{best.story}\n{best.report.story()}"
        told = SimulationFailed(text, best.report, best.story)
        told.__cause__ = best.cause
        return replace(best, error=told)


def _simpler(fault: Fault) -> Iterator[Fault]:
    """Yield faults that are a little less, the least first."""
    if fault.parameters:
        yield replace(fault, parameters=())
    for seconds in _smaller(fault.for_seconds):
        if seconds:
            yield replace(fault, for_seconds=seconds)
    for seconds in _smaller(fault.at):
        yield replace(fault, at=seconds)


def _smaller(seconds: float) -> list[float]:
    """Return lesser times, the least first, each shorter to write."""
    tries = (0.0, float(seconds // 2), float(math.ceil(seconds) - 1), math.floor(seconds * 10) / 10)
    return [time for time in dict.fromkeys(tries) if 0 <= time < seconds]
