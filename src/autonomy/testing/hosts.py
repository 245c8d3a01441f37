"""A simulated machine: it runs a node whenever it is on, or the program that opens one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

import trio

from .._mixed.mixture import current_mixture
from .._sansio.border import check_awaitable
from .._sansio.members import STARTING, ZoneInfo
from ..node import Node
from .programs import Program
from .restarting import Restarting
from .stand_ins import here

Main = Callable[[Node], Awaitable[object]]


class Host:
    """A simulated machine, with one node on it as long as it is on.

    Attributes:
        name: Of the host, and of its node.
        node: The node that runs there now, or None.
        options: What it is opened with.
        place: Where in the zone it is, if that is its own; see `ZoneInfo`.
        program: What runs there, if that is a file.
        restarting: What starts the program again when it fails; None if that is a failure of the run.
        begin: Waits for what must be there before it starts for the first time.
        is_on: Whether the machine is on.
    """

    def __init__(self, name: str, main: Main | None, options: dict[str, Any], program: Program | None = None) -> None:
        self.name = name
        self.node: Node | None = None
        self._main = main
        self.program = program
        self.options = options
        self.place: ZoneInfo | None = None
        self.restarting: Restarting | None = None
        self.begin: Callable[[], Awaitable[object]] | None = None
        self._scope = trio.CancelScope()
        self.is_on = True
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Host {self.name!r}, {'up' if self.node is not None else 'down'}>"

    def twin(self) -> Host:
        """Return another machine that does the same under the same name."""
        twin = Host(self.name, self._main, self.options, self.program)
        twin.place, twin.restarting = self.place, self.restarting
        return twin

    @property
    def is_ready_at_once(self) -> bool:
        """Whether its node has all its names from the start, for nothing runs there that would start workers."""
        return self._main is None and self.program is None

    async def up(self) -> Node:
        """Wait until there is a node; return it."""
        while self.node is None:
            await self._changed.park()
        return self.node

    async def ready(self) -> None:
        """Wait until its node has said that it is ready, or until it would count as such."""
        with trio.move_on_after(STARTING):
            node = await self.up()
            if not node._options.ready:
                await node._ready.wait()

    async def down(self) -> None:
        """Wait until there is none."""
        while self.node is not None:
            await self._changed.park()

    def switch(self, *, on: bool) -> None:
        """Turn it on or off; what runs there is cancelled."""
        self.is_on = on
        if not on:
            self._scope.cancel()
        self._changed.unpark_all()

    async def live(self, open_one: Callable[[Host], Any], greet: Callable[[Node], None]) -> None:
        """Run a node, or the program that opens one, whenever the host is on."""
        here.set(self.name)
        if self.begin is not None:
            await self.begin()
        restarting = self.restarting and self.restarting.anew()
        while True:
            while not self.is_on:
                await self._changed.park()
            with trio.CancelScope() as self._scope:
                if self.program is None:
                    await self._run_main(self._held(open_one(self), greet))
                else:
                    run = partial(self.program.run, self, lambda: self._held(open_one(self), greet))
                    await (run() if restarting is None else restarting.run(run))
                await trio.sleep_forever()

    async def _run_main(self, opening: AbstractAsyncContextManager[Node]) -> None:
        async with opening as node:
            if self._main is not None:
                await current_mixture().run_program("main", self._awaited, self._main, node)
            await node.ready()
            await trio.sleep_forever()

    async def _awaited(self, main: Main, node: Node) -> None:
        await check_awaitable(main(node), f"main of host {self.name!r}", main)

    @asynccontextmanager
    async def _held(
        self, opening: AbstractAsyncContextManager[Node], greet: Callable[[Node], None]
    ) -> AsyncGenerator[Node]:
        try:
            async with opening as node:
                self.node = node
                greet(node)
                self._changed.unpark_all()
                yield node
        finally:
            self.node = None
            self._changed.unpark_all()
