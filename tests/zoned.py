"""Nodes of one zone, with a directory, within one Trio run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from autonomy import Node
from autonomy._sansio.rights import Rights
from autonomy.abc import Directory
from autonomy.directory import EmbeddedDirectory
from autonomy.testing.network import Network
from tests.zone import FaultyNetwork, on

ALL = Rights(manage="*", ship="*")
"""Every node of the zone may do everything."""


@asynccontextmanager
async def zone(
    *names: str, network: Network | None = None, directory: Directory | None = None, **options: Any
) -> AsyncGenerator[list[Node]]:
    """Open nodes of one zone. The first one keeps the directory, unless there is another; the last is closed first."""
    network = network or FaultyNetwork()
    directory = directory or EmbeddedDirectory(names[0], f"wss://{names[0]}:1")
    async with AsyncExitStack() as stack:
        options = {"directory": directory, "rights": ALL} | options
        yield [await stack.enter_async_context(on(network, name, **options)) for name in names]
