"""Programs that fail, started again as the supervisor of a deployed zone would; see `_deploy/containers.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from .._deploy.containers import Patience
from .._sansio.restarts import RestartWindow


class Restarting:
    """Runs one program, again and again if it fails.

    Args:
        told: Called with each failure after which it is started again.
    """

    def __init__(self, told: Callable[[Exception], object]) -> None:
        self._told = told
        self._patience = Patience()
        self._window = RestartWindow(self._patience.crashes, self._patience.within)
        self._attempt = 0

    def anew(self) -> Restarting:
        """Return one that knows of no failure yet."""
        return Restarting(self._told)

    async def run(self, program: Callable[[], Awaitable[None]]) -> None:
        """Run it until it ends in good order.

        Raises:
            Exception: What it failed with when it had failed too often.
        """
        while True:
            began = trio.current_time()
            try:
                await program()
            except Exception as error:
                if not self._window.allow(trio.current_time()):
                    raise
                self._told(error)
            else:
                return
            self._attempt = 1 if trio.current_time() - began > self._patience.ready else self._attempt + 1
            await trio.sleep(self._patience.backoff.delay(self._attempt))
