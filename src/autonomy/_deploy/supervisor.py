"""The process that runs a zone: ``python -m autonomy._deploy.supervisor FOLDER``.

The rule of this file: it does what ``wanted.json`` says and tells in ``state.json`` what has become of it; nobody talks
to it otherwise. It is in a session of its own and holds nothing of whoever started it, so that it lives on when that
has ended. SIGTERM stops the zone in good order, and a second one at once. `deploying.py` starts it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from ..errors import DeployFailed
from ..logs import get_logger, start_logging
from .containers import Patience
from .home import ZonePlace, wait_for_lock
from .local import LocalZone, running_zone
from .state import Deployment, Wanted, read_json, write_json

_log = get_logger("zone")
UP = b"up\n"
"""What it says on its standard output, once, when it has taken charge of the zone."""
_LOOK_EVERY = 0.05
_ALREADY = 3


def main(argv: list[str]) -> int:
    """Run the zone in a folder until it is deleted; return the exit code."""
    place = ZonePlace(Path(argv[0]))
    start_logging()
    return trio.run(_main, place)


async def _main(place: ZonePlace) -> int:
    lock = await wait_for_lock(place.supervisor_lock, 2)
    if lock is None:
        _log.error("zone has a supervisor already", folder=place.folder)
        return _ALREADY
    _say_up()
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            supervisor = Supervisor(place)
            nursery.start_soon(_stop_at_signal, signals, supervisor, nursery.cancel_scope)
            await supervisor.run()
            nursery.cancel_scope.cancel()
    return 0


def _say_up() -> None:
    """Tell who has started this process that it runs, and let go of the pipe to it: it is waiting for that."""
    os.write(1, UP)
    os.dup2(2, 1)


async def _stop_at_signal(signals: AsyncIterator[int], supervisor: Supervisor, scope: trio.CancelScope) -> None:
    async for _ in signals:
        if supervisor.is_ending:  # whoever asks twice is in a hurry: the programs are killed
            scope.cancel()
        supervisor.is_ending = True


class Supervisor:
    """Does what commands want, one thing after another.

    Args:
        place: The zone.
        patience: How long things may take.

    Attributes:
        is_ending: Set it, and an end is wanted, whatever commands say.
    """

    def __init__(self, place: ZonePlace, patience: Patience | None = None) -> None:
        self.is_ending = False
        self._place = place
        self._patience = patience
        self._generation = 0
        self._zone: LocalZone | None = None

    async def run(self) -> None:
        """Do so until an end is wanted; nothing of the zone is left on return."""
        try:
            async with running_zone(self._place, self._patience) as zone, trio.open_nursery() as nursery:
                self._zone = zone
                nursery.start_soon(self._keep_writing)
                wanted = await self._next_wanted()
                while wanted.deployment is not None:
                    async with trio.open_nursery() as applying:
                        applying.start_soon(self._apply, wanted.deployment)
                        wanted = await self._next_wanted()
                        applying.cancel_scope.cancel()
                await zone.stop()
                nursery.cancel_scope.cancel()
        finally:
            self._write()

    # ---- within

    async def _apply(self, deployment: Deployment) -> None:
        assert self._zone is not None
        state = self._zone.state
        # At once: whoever reads the new generation must not take the old one's outcome for its own.
        state.generation, state.state, state.reason = self._generation, "deploying", ""
        _log.info("deploying", zone=deployment.spec.name, generation=self._generation)
        try:
            await self._zone.apply(deployment)
        except DeployFailed as error:
            _log.error("deploying failed", zone=deployment.spec.name, reason=error)
        else:
            _log.info("deployed", zone=deployment.spec.name, generation=self._generation)

    async def _next_wanted(self) -> Wanted:
        """Wait until something is wanted that was not before."""
        seen = None
        while not self.is_ending:
            identity = _identity(self._place.wanted)
            if identity is not None and identity != seen:
                seen = identity
                wanted = read_json(self._place.wanted, Wanted)
                if wanted is not None and wanted.generation > self._generation:
                    self._generation = wanted.generation
                    return wanted
            await trio.sleep(_LOOK_EVERY)
        return Wanted(self._generation, None)

    async def _keep_writing(self) -> None:
        assert self._zone is not None
        while True:
            await self._zone.wait_change()
            await trio.sleep(_LOOK_EVERY)  # much changes at once
            self._write()

    def _write(self) -> None:
        if self._zone and self._zone.state.zone:
            write_json(self._place.state, self._zone.state)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced."""
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_mtime_ns


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
