"""Looking out for the end of somebody: one `Down` a watch, also when there is nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from .._mixed.worlds import both
from .._sansio.reports import Down

NOT_FOUND: Final = "not found"
"""The reason of a `Down` of a worker that was not there to begin with."""


class Lookout:
    """One watch, seen from both sides: `down` waits, `report` ends the wait.

    Args:
        tell: Called with the report too, if somebody on another node waits for it.
    """

    __slots__ = ("_down", "_reported", "_tell")

    def __init__(self, tell: Callable[[Down], None] | None = None) -> None:
        self._reported = trio.Event()
        self._down: Down | None = None
        self._tell = tell

    def report(self, down: Down) -> None:
        """Tell the watcher. The first report counts."""
        if self._down is None:
            self._down = down
            self._reported.set()
            if self._tell is not None:
                self._tell(down)

    @both
    async def down(self) -> Down:
        """Wait until the watched worker is gone, at once if it was so already; return what is known of it."""
        await self._reported.wait()
        assert self._down is not None
        return self._down
