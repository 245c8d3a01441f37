"""Which points of `autonomy.buggify` are alive in a run, and how often they said yes."""

from __future__ import annotations

from collections.abc import Callable
from random import Random


class OddTurns:
    """The odd turns of one run.

    Args:
        chance: Gives each point a source of chance of its own.
        alive: The share of points that are alive.

    Attributes:
        taken: How often each point that the run came by said yes.
    """

    def __init__(self, chance: Callable[[str, str], Random], alive: float) -> None:
        self._chance = chance
        self._alive = alive
        self._points: dict[str, Random | None] = {}
        self.taken: dict[str, int] = {}

    def decide(self, name: str, p: float) -> bool:
        """Whether the odd turn is taken; see `points.Decide`."""
        if name not in self.taken:
            chance = self._chance("odd turn", name)
            self._points[name] = chance if chance.random() < self._alive else None
            self.taken[name] = 0
        point = self._points[name]
        if point is None or point.random() >= p:
            return False
        self.taken[name] += 1
        return True
