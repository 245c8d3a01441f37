"""Whole nodes of a zone whose directory is in etcd: real sockets, real TLS, real time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import trio

from autonomy import Node, Rights, Zone, ZoneInfo, open_node
from autonomy.directory import EtcdDirectory
from autonomy.errors import DirectoryUnavailable, NoReply
from autonomy.identity import ZoneAuthority

LEASE = 8.0
"""Seconds: shorter than what nodes ask for, and longer than what they renew it after."""


class EtcdZoneOfNodes:
    """A zone of a name of its own, whose nodes find each other in an etcd.

    Args:
        folder: For its CA.
        url: Of the etcd.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.name = f"z{uuid4().hex[:12]}"
        self._url = url
        self._authority = ZoneAuthority.create(folder / self.name, self.name)

    def open(self, name: str, **options: Any) -> AbstractAsyncContextManager[Node]:
        """Open a node of that short name."""
        directory = EtcdDirectory(self._url)
        directory.lease = LEASE
        full = f"{self.name}-{name}"
        return open_node(
            full,
            credentials=self._authority.credentials(full),
            listen="wss://127.0.0.1:0",
            zone=ZoneInfo(self.name),
            directory=options.pop("directory", directory),
            **{"stall_warning": None, "rights": Rights(manage="*"), "default_timeout": 10.0} | options,
        )

    @asynccontextmanager
    async def nodes(self, *names: str, **options: Any) -> AsyncGenerator[list[Node]]:
        """Open nodes of these short names."""
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(self.open(name, **options)) for name in names]
            for node in opened:
                await sees(node, *names)
            yield opened


async def seen(node: Node) -> list[str]:
    """Return the short names of the nodes that one sees."""
    return [each.short_name for each in await Zone.nodes(node)]


async def sees(node: Node, *names: str, within: float = 5.0) -> float:
    """Wait until a node sees these nodes and no others; return how long that took."""
    begun = trio.current_time()
    while True:
        found, took = await seen(node), trio.current_time() - begun
        if found == sorted(names):
            return took
        assert took < within, found
        await trio.sleep(0.01)


async def answered(node: Node, worker: str, within: float = 15.0) -> float:
    """Wait until a worker answers a node, and the directory too if it has to; return how long that took."""
    begun = trio.current_time()
    with trio.fail_after(within):
        while True:
            try:
                await node.send_and_receive(worker, "hello")
                return trio.current_time() - begun
            except (DirectoryUnavailable, NoReply):
                await trio.sleep(0.05)


async def is_refused(call: Callable[[], Awaitable[object]], within: float) -> float:
    """Wait until the directory is said to be away; return how long that took."""
    begun = trio.current_time()
    with trio.fail_after(within):
        while True:
            try:
                await call()
            except DirectoryUnavailable:
                return trio.current_time() - begun
            except NoReply:
                await trio.sleep(0.05)


def tell(figures: str) -> None:
    """Print the figures of a test."""
    print(f"\n[etcd] {figures}")  # noqa: T201  # what it is for
