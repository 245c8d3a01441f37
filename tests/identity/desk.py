"""A zone's authority that takes strangers, over streams in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.testing import memory_stream_pair

from autonomy._sansio.enrollment import Place, Ticket, encode_ticket
from autonomy.identity import Enrolled, ZoneAuthority, enroll
from autonomy.identity.admitting import Admission
from autonomy.identity.asking import Nonsense
from autonomy.identity.enrolling import digest_of
from autonomy.identity.tickets import TicketBook

from .forge import Clock

AUTHORITY = "local-shop-authority"


def place_of(short_name: str) -> Place:
    return Place(
        name=f"local-shop-{short_name}",
        zone="shop",
        cluster="local",
        directory="embedded://x@10.0.0.1:7400",
        authority=AUTHORITY,
        authority_address="wss://10.0.0.1:7400",
        enrollment="10.0.0.1:7401",
    )


class Desk:
    """Such an authority.

    Attributes:
        met: How many strangers have come.
        nursery: Where each is met.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self.clock = clock
        self.authority = ZoneAuthority.create(folder, "shop", clock=clock)
        self.book = TicketBook(folder, clock)
        self.credentials = self.authority.credentials(AUTHORITY)
        self.admission = Admission(self.authority, self.book, self.credentials, place_of)
        self.met = 0
        self.nursery: trio.Nursery | None = None

    def lend(self, names: str = "runner-*", *, ttl: float = 600, uses: int = 1, replaces: bool = False) -> Ticket:
        ca = tuple(digest_of(each) for each in self.authority.ca)
        return self.book.lend(
            zone="shop",
            cluster="local",
            at="10.0.0.1:7401",
            ca=ca,
            names=names,
            ttl=ttl,
            uses=uses,
            replaces=replaces,
        )

    async def connect(self, host: str, port: int) -> trio.abc.Stream:
        assert (host, port) == ("10.0.0.1", 7401)
        here, there = memory_stream_pair()
        assert self.nursery is not None
        self.nursery.start_soon(self._meet, there)
        return here

    async def _meet(self, stream: trio.abc.Stream) -> None:
        self.met += 1
        try:
            await self.admission.meet(stream, "192.0.2.1")
        except (Nonsense, trio.BrokenResourceError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        async with trio.open_nursery() as self.nursery:
            yield
            self.nursery.cancel_scope.cancel()

    async def enroll(self, ticket: Ticket, name: str = "runner-1", folder: Path | None = None) -> Enrolled:
        return await enroll(encode_ticket(ticket), name, folder, clock=self.clock, connect=self.connect)
