"""A node among others: its links, what goes over them, and when they are judged anew.

Joins the wings that know nothing of each other: `_links` brings bytes to far nodes, `_exchange` says what they mean to
workers, `identity` who is at the other end. The name is Akka's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from random import Random

import trio

from ._actors.runtime import Runtime
from ._actors.system import ActorSystem
from ._exchange.here import Here
from ._exchange.partner import Partner
from ._links.peer import Peer, PeerSettings
from ._links.peers import Peers
from ._links.security import Security
from ._links.websocket import WebSocketTransport
from ._mixed.worlds import both
from ._sansio.border import MAX_MESSAGE_BYTES
from ._sansio.cargo import Item
from ._sansio.keepalive import Liveness
from ._sansio.rights import Rights
from ._sansio.session_terms import Limits
from .abc import Transport
from .identity import Credentials
from .identity.handshake import both_ways

_REVIEW = 60.0
"""Seconds after which all links are judged anew, for certificates end while links live."""


class Remoting:
    """The other nodes, as one of them sees them.

    Args:
        runtime: What its workers share.
        system: Its workers.
        nursery: Where links live.
        transport: How links come about.
        credentials: Who it is, and whom it trusts; None for a transport that needs none.
        liveness: How soon a silent node is noticed.
        rights: What others may do here.
        short_name: Returns the node's short name.

    Attributes:
        down: Called with the name of each node with which a session has ended.
    """

    def __init__(
        self,
        runtime: Runtime,
        system: ActorSystem,
        nursery: trio.Nursery,
        transport: Transport,
        credentials: Credentials | None,
        liveness: Liveness,
        rights: Rights,
        short_name: Callable[[], str],
    ) -> None:
        self._runtime = runtime
        self._nursery = nursery
        self._credentials = credentials
        self._here = Here(runtime, system, rights, lambda: runtime.name.removesuffix(short_name()), nursery.start_soon)
        self._partners: dict[str, Partner] = {}
        self.down: list[Callable[[str], None]] = []
        self.resumed: list[Callable[[], None]] = []
        self._changed = trio.Event()
        settings = PeerSettings(
            me=runtime.name,
            incarnation=runtime.incarnation,
            transport=transport,
            limits=Limits(liveness=liveness),
            largest=MAX_MESSAGE_BYTES,
            clock=runtime.clock,
            chance=Random(runtime.incarnation),
            start_soon=nursery.start_soon,
        )
        self._peers = Peers(settings, self._meet)
        system.router.route_to = self.route_to

    def _meet(self, peer: Peer) -> None:
        partner = self._partners[peer.node] = Partner(peer, self._here)

        def lost(reason: str, written: list[Item], unwritten: list[Item]) -> None:
            partner.lost(reason, written, unwritten)
            for tell in self.down:
                tell(peer.node)

        def resumed() -> None:
            for tell in self.resumed:
                tell()

        peer.accept, peer.resumed, peer.lost = partner.accept, resumed, lost

    def route_to(self, name: str) -> Partner | None:
        """Return the way to a node; None if there is none."""
        peer = self._peers.get(name)
        return None if peer is None else self._partners[name]

    def introduce(self, name: str, address: str) -> None:
        """Say where another node listens; it is dialled when there is something for it."""
        self._peers.introduce(name, address)

    def dismiss(self, name: str, reason: str) -> None:
        """Dial a node no more, for it is gone from the zone."""
        self._peers.dismiss(name, reason)

    def redial(self, reason: str) -> None:
        """Let all sessions go on with other links."""
        self._peers.redial(reason)

    @property
    def links(self) -> int:
        """To how many nodes there is a link at this moment."""
        return self._peers.linked

    async def open(self, listen: str | None) -> str | None:
        """Listen, if that is wanted; return the address at which others reach this node.

        Raises:
            OSError: It cannot listen there.
        """
        if self._credentials is not None:
            self._nursery.start_soon(self._judge, self._credentials)
        if listen is None:
            return None
        address: str = await self._nursery.start(self._peers.serve, listen)
        return address

    @both
    async def connect(self, address: str, name: str | None, timeout: float) -> str:
        """Have a session with the node at an address; return its name. Errors as `Peers.connect`."""
        return (await self._peers.connect(address, name, timeout)).node

    async def identify(self, address: str, timeout: float) -> str:
        """Return which node listens at an address. Errors as `Peers.identify`."""
        return await self._peers.identify(address, timeout)

    def identity_of(self, name: str) -> str:
        """Return the identity that a connected node has proven."""
        partner = self._partners.get(name)
        if partner is None:
            return ""
        peer = partner.wire
        return "" if peer.identity is None else peer.identity.uri

    async def _judge(self, credentials: Credentials) -> None:
        """Let no link outlive what it was trusted for, and let each show what this node has now."""
        soon = self._runtime.token.run_sync_soon
        with ExitStack() as stack:
            stack.callback(credentials.trust.on_change(lambda: soon(self._look_now)))
            stack.callback(credentials.on_change(lambda: soon(self._peers.redial, "this node has a new certificate")))
            while True:
                with trio.move_on_after(_REVIEW):
                    await self._changed.wait()
                self._changed = trio.Event()
                await self._peers.review(credentials.trust.no_longer_trusted)

    def _look_now(self) -> None:
        self._changed.set()

    async def close(self) -> None:
        """Take leave of all other nodes, within a second."""
        await self._peers.close()

    def abandon(self) -> None:
        """Have nothing done any more, for the node has ended."""
        self._peers.abandon()


def secure_transport(credentials: Credentials) -> WebSocketTransport:
    """Return what links nodes of a zone by websockets over mutual TLS."""
    return WebSocketTransport(Security(*both_ways(credentials)))


def check_credentials(credentials: object, name: str | None, *, needed: bool) -> None:
    """Check that a node may be called `name` (None for whatever they say) with these credentials, or with none."""
    if credentials is None:
        if needed:
            raise ValueError("a node that listens, or is in a zone, needs credentials=…")
        return
    if not isinstance(credentials, Credentials):
        raise TypeError(f"credentials must be autonomy.identity.Credentials, got {credentials!r:.80}")
    if name not in (None, credentials.name):
        raise ValueError(f"the node is to be called {name!r:.300}, but its certificate is that of {credentials.name!r}")
