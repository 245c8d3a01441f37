"""Nodes of one zone, with a directory, within one Trio run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from autonomy import Node
from autonomy._sansio.rights import Rights
from autonomy.abc import Directory
from autonomy.directory import EmbeddedDirectory
from tests.links.memory import MemoryNetwork
from tests.zone import on

ALL = Rights(manage="*", ship="*")
"""Every node of the zone may do everything."""


@asynccontextmanager
async def zone(
    *names: str, network: MemoryNetwork | None = None, directory: Directory | None = None, **options: Any
) -> AsyncGenerator[list[Node]]:
    """Open nodes of one zone. The first one keeps the directory, unless there is another; the last is closed first."""
    network = network or MemoryNetwork()
    directory = directory or EmbeddedDirectory(names[0], f"wss://{names[0]}:1")
    async with AsyncExitStack() as stack:
        options = {"directory": directory, "rights": ALL} | options
        yield [await stack.enter_async_context(on(network, name, **options)) for name in names]
