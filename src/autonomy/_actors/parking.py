"""How a task of this wing sleeps until another one wakes it.

Trio's own way, `wait_task_rescheduled` and `reschedule`, with one shared outcome instead of a new one each time:
making and unwrapping an `outcome.Value` costs more than all the rest of a wake-up. What there is to know lies where
both sides look.
"""

from __future__ import annotations

from typing import Any, NoReturn

import outcome


class Wake(outcome.Outcome[None]):
    """The outcome of a sleep that somebody ended: nothing but that. Unlike others it may be unwrapped many times."""

    __slots__ = ()

    def unwrap(self) -> None:
        """Return None."""

    def send(self, gen: Any) -> NoReturn:
        """Unused: Trio resumes a task with the outcome itself (`test_trio_resumes_a_task_with_our_outcome`)."""
        raise NotImplementedError

    async def asend(self, agen: Any) -> NoReturn:
        """Unused, as `send`."""
        raise NotImplementedError


WAKE = Wake()
