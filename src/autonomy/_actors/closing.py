"""How all that lives on a node comes to rest when the node leaves, and who is told of what is left over.

In good order: refuse what is new, wait until workers have nothing to do, stop them. If there is no time for that,
`hurry`; in either case `abandon` comes last.
"""

from __future__ import annotations

import trio

from .._sansio.envelope import FAILURE, Envelope, Failure
from .process import Process
from .registry import Registry
from .router import Router
from .runtime import Runtime

_PATIENCE = 5.0
"""Seconds for a message at hand, and again for ``on_stop``."""


class Closing:
    """The end of one node, which comes once."""

    def __init__(self, runtime: Runtime, registry: Registry, router: Router) -> None:
        self._runtime = runtime
        self._registry = registry
        self._router = router

    async def close(self, drain_timeout: float, total: float) -> None:
        """Let workers finish what waits for them within `drain_timeout`, then stop all; all within `total` seconds.

        Cancelled or out of time, it leaves workers behind, for the nursery to cancel.
        """
        self._router.refusal = "is stopping"
        self._runtime.timers.cancel_all()
        with trio.move_on_after(total) as scope:
            with trio.move_on_after(drain_timeout):
                await self._until_idle()
            await self._stop_all()
        if scope.cancelled_caught:
            self.hurry()

    def hurry(self) -> None:
        """Cut short whatever runs; an ``on_stop`` has a second left."""
        for process in self._registry.workers.values():
            process.hurry()

    async def _until_idle(self) -> None:
        found_busy = True
        while found_busy:
            found_busy = False
            for process in list(self._registry.workers.values()):
                found_busy |= not await process.wait_idle()

    async def _stop_all(self) -> None:
        """Stop what still works, all at once; then the others, in reverse start order."""
        tops = [process for process in self._registry.workers.values() if process.parent is None]
        async with trio.open_nursery() as nursery:
            for process in tops:
                if not process.at_rest():
                    nursery.start_soon(process.stop, _PATIENCE)
        for group in reversed(list(self._registry.groups.values())):
            await group.stop(_PATIENCE)
        told: list[Process] = []
        for process in reversed(tops):
            process.end("stopped")
            told.append(process)
            if not process.stops_at_once():
                await process.stop(_PATIENCE)
        for process in told:
            if not process.gone.is_set():
                await process.stop(_PATIENCE)

    def abandon(self, reason: str) -> None:
        """Tell everybody who still waits for an answer that there will be none. The last thing a node does."""
        self._router.refusal = reason
        here = self._runtime.name

        def failure(number: int) -> Envelope:
            return Envelope(
                FAILURE, "", "", number, failure=Failure("NodeDown", f"node {here!r} {reason}", "maybe_handled")
            )

        self._runtime.timers.cancel_all()
        self._runtime.replies.fail_all(failure)
        for inbox in list(self._registry.inboxes.values()):
            left = inbox.close(f"node {here!r} {reason}")
            self._runtime.dead_letters.report_messages(left, f"node {here!r} {reason}")
