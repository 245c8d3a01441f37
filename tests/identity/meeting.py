"""Two ends of one stream of bytes in memory, each of which must be content with the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio
from trio.testing import memory_stream_pair

from autonomy.errors import IdentityError
from autonomy.identity import Credentials, PeerIdentity, accept_tls, dial_tls

Side = Callable[[trio.abc.Stream], Awaitable[tuple[trio.abc.Stream, PeerIdentity | None]]]


@dataclass
class Outcome:
    """Who each side took the other for; its first message, if one came; or why there was none."""

    peers: dict[str, PeerIdentity | None] = field(default_factory=dict)
    welcomes: dict[str, bytes] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)

    @property
    def connected(self) -> bool:
        """Only what both sides have said after they had verified each other makes a connection."""
        return self.welcomes == {"dialler": b"welcome", "listener": b"welcome"}

    @property
    def refusals(self) -> dict[str, str]:
        return {side: error.reason for side, error in self.errors.items() if isinstance(error, IdentityError)}


async def meet(dialler: Side, listener: Side) -> Outcome:
    outcome = Outcome()

    async def side(name: str, begin: Side, stream: trio.abc.Stream) -> None:
        try:
            tls, outcome.peers[name] = await begin(stream)
            await tls.send_all(b"welcome")
            first = await tls.receive_some(7)
            if first:
                outcome.welcomes[name] = bytes(first)
        except (IdentityError, trio.BrokenResourceError, trio.TooSlowError) as error:
            outcome.errors[name] = error
        finally:
            await trio.aclose_forcefully(stream)

    ours, theirs = memory_stream_pair()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(side, "dialler", dialler, ours)
            nursery.start_soon(side, "listener", listener, theirs)
    return outcome


def dials(credentials: Credentials, name: str | None) -> Side:
    async def begin(stream: trio.abc.Stream) -> tuple[trio.abc.Stream, PeerIdentity | None]:
        return await dial_tls(stream, credentials, name)

    return begin


def listens(credentials: Credentials) -> Side:
    async def begin(stream: trio.abc.Stream) -> tuple[trio.abc.Stream, PeerIdentity | None]:
        return await accept_tls(stream, credentials)

    return begin
