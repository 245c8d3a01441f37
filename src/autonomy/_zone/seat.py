"""This node, as its zone's directory needs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from .._actors.calls import Calls
from .._actors.process import current_process
from .._actors.system import ActorSystem
from .._sansio.management import WORKER


class NodeSeat:
    """One node; see `abc.Seat`.

    Args:
        name: Its full name.
        incarnation: Id of this start of it.
        zone: What tells its zone from others.
        calls: What it sends by.
        system: Where its workers are.
        introduce: Says where another node listens.
        identify: Returns which node listens at an address; see `abc.Seat`.
        down: What is in there is called with the name of each node with which a session has ended.
    """

    def __init__(
        self,
        name: str,
        incarnation: str,
        zone: str,
        calls: Calls,
        system: ActorSystem,
        introduce: Callable[[str, str], None],
        identify: Callable[[str, float], Awaitable[str]],
        down: list[Callable[[str], None]],
    ) -> None:
        self._name = name
        self._incarnation = incarnation
        self._zone = zone
        self._calls = calls
        self._system = system
        self.introduce = introduce
        self._identify = identify
        self._down = down

    @property
    def name(self) -> str:
        """Full name of the node."""
        return self._name

    @property
    def incarnation(self) -> str:
        """Id of this start of it."""
        return self._incarnation

    @property
    def zone(self) -> str:
        """What tells its zone from others that are kept in the same place."""
        return self._zone

    async def ask(self, address: str, message: str, timeout: float) -> str:
        """Send a request to another node, and return the reply; see `abc.Seat`."""
        # for all who want to know, and so not within what is left of one request; also while the node is stopping
        outer = current_process.set(self._system.registry.workers.get(WORKER))
        try:
            return await self._calls.send_and_receive(address, message, timeout=timeout)
        finally:
            current_process.reset(outer)

    async def identify(self, address: str, timeout: float) -> str:
        """Return which node listens at an address; see `abc.Seat`."""
        return await self._identify(address, timeout)

    def when_down(self, tell: Callable[[str], None]) -> None:
        """Have `tell` called with the name of each node with which a session has ended."""
        self._down.append(tell)

    async def serve(self, name: str, worker: object) -> None:
        """Start a worker that belongs to the library, which all nodes of the zone reach."""
        await self._system.start_internal(name, worker, None)
