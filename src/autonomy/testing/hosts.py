"""A simulated machine: it runs a node whenever it is on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

from .._mixed.mixture import current_mixture
from ..node import Node
from .programs import Program
from .stand_ins import here

Main = Callable[[Node], Awaitable[object]]


class Host:
    """A simulated machine, with one node on it as long as it is on.

    Attributes:
        name: Of the host, and of its node.
        node: The node that runs there now, or None.
        options: What it is opened with.
        is_on: Whether the machine is on.
    """

    def __init__(self, name: str, main: Main | None, options: dict[str, Any], program: Program | None = None) -> None:
        self.name = name
        self.node: Node | None = None
        self._main = main
        self._program = program
        self.options = options
        self._scope = trio.CancelScope()
        self.is_on = True
        self._changed = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<Host {self.name!r}, {'up' if self.node is not None else 'down'}>"

    def twin(self) -> Host:
        """Return another machine that does the same under the same name."""
        return Host(self.name, self._main, self.options, self._program)

    async def up(self) -> Node:
        """Wait until there is a node; return it."""
        while self.node is None:
            await self._changed.park()
        return self.node

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
        while True:
            while not self.is_on:
                await self._changed.park()
            here.set(self.name)
            with trio.CancelScope() as self._scope:
                if self._program is None:
                    await self._run_main(self._held(open_one(self), greet))
                else:
                    await self._program.run(self, lambda: self._held(open_one(self), greet))
                await trio.sleep_forever()

    async def _run_main(self, opening: AbstractAsyncContextManager[Node]) -> None:
        async with opening as node:
            if self._main is not None:
                await current_mixture().run_program("main", self._main, node)
            await trio.sleep_forever()

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
