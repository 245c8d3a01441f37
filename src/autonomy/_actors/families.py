"""Stopping several workers that belong together: children of one worker, members of one group.

All of them have one patience, not one each: whoever stops the head of a family waits no longer for a large one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import trio

P = TypeVar("P", bound=Any)
"""A process; it imports this file, not the other way round."""
LAST_SECOND = 1.0
"""Seconds that ``on_stop`` has when the worker was cancelled rather than stopped, or its turn to stop came late."""


async def stop_in_order(processes: Sequence[P], patience: float, reason: str = "stopped") -> None:
    """Stop workers, the last one first. Returns when their names are free.

    All together have `patience` seconds, and what is below them too; those whose turn comes later are cut short. A
    second after that, if ``on_stop`` of one or the other hangs, those that are left stop all at once.
    """
    if not processes:
        return
    ends = processes[0].runtime.clock() + patience
    with trio.move_on_at(ends + LAST_SECOND):
        for process in reversed(processes):
            process.begin_stop(patience, reason, ends)
            await process.gone.wait()
    for process in processes:
        process.begin_stop(0.0, reason)
    late = list(processes)
    for process in late:  # which grows meanwhile
        process.hurry()
        late += (process.children or {}).values()
    for process in processes:
        await process.gone.wait()
