"""What makes a stream of bytes secure, for transports, which know nothing of certificates."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from .._sansio.spiffe import PeerIdentity

Secured = Awaitable[tuple[trio.abc.Stream, PeerIdentity]]
"""A stream that nobody else can read or forge, and who was proven to be at its other end."""


@dataclass(frozen=True, slots=True)
class Security:
    """Who a node is, and whom it trusts: `identity.handshake.both_ways` returns the two functions.

    Either raises IdentityError for a far side that is refused and trio.BrokenResourceError for a stream that breaks,
    and tells a stranger nothing. The caller has a deadline and closes the stream.

    Attributes:
        dial: Secures a stream that this side has opened to the node of that name, or, if that is None, to any of the
            zone; ValueError if no node can have the name.
        accept: Secures a stream that a far side has opened.
    """

    dial: Callable[[trio.abc.Stream, str | None], Secured]
    accept: Callable[[trio.abc.Stream], Secured]
