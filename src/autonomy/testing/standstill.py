"""Notices that virtual time stands still, since somebody runs on and on without waiting for anything.

Time jumps when nobody has anything to do. A loop around ``trio.sleep(0)`` always has: without this, the run would never
end, not even when its seconds are over, and would not say why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import trio

TURNS: Final = 200_000
"""Turns of Trio's loop at one instant that nobody needs: some seconds of computing."""
_LOOKED: Final = 100
"""Turns in which it is looked who runs."""


class Standstill(trio.abc.Instrument):
    """Counts the turns of Trio's loop at one instant.

    Args:
        stop: Called once, with who runs, when they are too many.
    """

    def __init__(self, stop: Callable[[str], object]) -> None:
        self._stop = stop
        self._at = -1.0
        self._turns = 0
        self._who: _Who | None = None

    def before_io_wait(self, timeout: float) -> None:
        """Count one turn."""
        del timeout
        now = trio.current_time()
        if now != self._at:
            self._at, self._turns = now, 0
            self._look(on=False)
        self._turns += 1
        if self._turns == TURNS - _LOOKED:
            self._look(on=True)
        elif self._turns == TURNS:
            assert self._who is not None
            self._stop(self._who.most())
            self._look(on=False)

    def _look(self, *, on: bool) -> None:
        if self._who is not None:
            trio.lowlevel.remove_instrument(self._who)
            self._who = None
        if on:
            self._who = _Who()
            trio.lowlevel.add_instrument(self._who)


class _Who(trio.abc.Instrument):
    """Counts whose turn it is."""

    def __init__(self) -> None:
        self._steps: Counter[str] = Counter()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count one step."""
        self._steps[task.name] += 1

    def most(self) -> str:
        """Return the names of the tasks that ran most."""
        return ", ".join(name for name, _ in self._steps.most_common(3))
