"""A fake of DNS: one name, and the addresses that it leads to."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

import trio


class FakeDns:
    """Says where the nodes of a zone are.

    Attributes:
        addresses: What the name leads to.
        is_away: Whether it answers that it cannot say now.
        is_silent: Whether it answers nothing at all.
        asked: How often it was asked.
    """

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.is_away = self.is_silent = False
        self.asked = 0

    @contextmanager
    def knows(self, address: str) -> Generator[None]:
        """Lead to an address too while a block runs."""
        self.addresses.append(address)
        try:
            yield
        finally:
            self.addresses.remove(address)

    async def resolve(self, name: str) -> list[str]:
        """Return the addresses of a name; see `DnsDirectory`."""
        await trio.lowlevel.checkpoint()
        self.asked += 1
        if self.is_silent:
            await trio.sleep_forever()
        if self.is_away:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(dict.fromkeys(self.addresses))
