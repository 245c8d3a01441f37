"""All far nodes that this one knows, by name, and the door through which they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from .. import logs
from .._sansio.frames import CloseCode
from .._sansio.spiffe import PeerIdentity
from ..abc import Link, LinkLost
from ..errors import IdentityError, Unreachable
from .addresses import parse_address
from .peer import Peer, PeerSettings

_log = logs.get_logger("links")
_security = logs.get_logger("security")
_FAREWELL = 1.0
"""Seconds for saying goodbye to all of them."""
_AT_A_TIME = 4
"""Certificates that are judged again before others may run: about half a millisecond each."""

Judge = Callable[[Iterable[PeerIdentity]], list[tuple[PeerIdentity, IdentityError]]]
"""Says who is not who it was any more, and why."""


class Peers:
    """Far nodes by name.

    Args:
        settings: What all have in common.
        meet: Called once with each new one; it sets `Peer.accept` and `Peer.lost`.
    """

    def __init__(self, settings: PeerSettings, meet: Callable[[Peer], None]) -> None:
        self._settings = settings
        self._meet = meet
        self._peers: dict[str, Peer] = {}
        self._addresses: dict[str, str] = {}
        """Of those with whom nobody has had anything to do: in a large zone these are most, and a peer is 10 KB."""
        self._leaving = False

    def get(self, name: str) -> Peer | None:
        """Return the node of that name, if there is a way to it."""
        peer = self._named(name) if name in self._addresses else self._peers.get(name)
        return peer if peer is not None and peer.may_be_reached else None

    @property
    def linked(self) -> int:
        """To how many nodes there is a link at this moment."""
        return sum(peer.is_up for peer in self._peers.values())

    def introduce(self, name: str, address: str) -> None:
        """Say where a node listens; it is dialled when there is something for it."""
        peer = self._peers.get(name)
        if peer is not None:
            peer.reach_at(address)
        elif name != self._settings.me:
            self._addresses[name] = address

    def dismiss(self, name: str, reason: str) -> None:
        """Dial a node no more, for it is gone; a link that there is stays as long as it works."""
        self._addresses.pop(name, None)
        peer = self._peers.get(name)
        if peer is not None:
            peer.dismiss(reason)

    async def serve(self, address: str, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        """Take links at an address, for ever; see `abc.Transport.serve`."""
        await self._settings.transport.serve(address, self._welcome, task_status=task_status)

    async def connect(self, address: str, name: str | None, timeout: float) -> Peer:
        """Return the node that listens at an address, once there is a session with it; try until the time is up.

        Raises:
            TypeError, ValueError: It is no address, or that of this node.
            IdentityError: It is not a node of this zone, or another one than `name`.
            Unreachable: Nobody answered in time.
        """
        parse_address(address)
        failure: LinkLost | None = None
        with trio.move_on_after(timeout):
            attempt = 0
            while True:
                attempt += 1
                try:
                    peer = await self._introduce(address, name)
                    try:
                        if await peer.wait_up():
                            peer.keep()
                            return peer
                        failure = peer.failure or failure
                    finally:
                        peer.forget(address)
                except LinkLost as error:
                    failure = error
                if failure is not None and isinstance(failure.__cause__, IdentityError):
                    raise failure.__cause__
                if attempt == 1:
                    _log.info("no link yet, and tried again", address=address, reason=failure, seconds=timeout)
                await trio.sleep(self._settings.backoff.delay(attempt))
        why = f"it did not answer within {timeout:g} s" if failure is None else str(failure)
        raise Unreachable(f"no node could be reached at {address}: {why}", outcome="not_sent", node=name)

    async def identify(self, address: str, timeout: float) -> str:
        """Return which node listens at an address, as it has proven; no session comes of that.

        Raises:
            TypeError, ValueError: It is no address.
            IdentityError: It is not a node of this zone.
            Unreachable: Nobody answered in time.
        """
        parse_address(address)
        why = f"it did not answer within {timeout:g} s"
        with trio.move_on_after(timeout):
            try:
                return await self._ask_name(address)
            except LinkLost as error:
                if isinstance(error.__cause__, IdentityError):
                    raise error.__cause__ from None
                why = str(error)
        raise Unreachable(f"no node could be reached at {address}: {why}", outcome="not_sent", node=None)

    async def _introduce(self, address: str, name: str | None) -> Peer:
        """Return the node at an address, with a link to it in use or on its way."""
        if name is None:
            known = [peer for peer in self._peers.values() if peer.address == address and peer.is_up]
            name = known[0].node if known else await self._ask_name(address)
        if name == self._settings.me:
            raise ValueError(f"{address} is the address of this node itself")
        peer = self._named(name)
        if not peer.is_up or peer.address is None:
            peer.address = address
            peer.want()
        return peer

    async def _ask_name(self, address: str) -> str:
        async with self._settings.transport.dial(address, None) as link:
            return link.peer.name

    def _named(self, name: str) -> Peer:
        peer = self._peers.get(name)
        if peer is None:
            peer = self._peers[name] = Peer(name, self._settings)
            peer.address = self._addresses.pop(name, None)
            self._meet(peer)
        return peer

    async def _welcome(self, link: Link) -> None:
        name = link.peer.name
        if name == self._settings.me:
            _security.warning("node refused", reason="it has this node's own name", peer=name)
            return
        if not self._leaving:
            await self._named(name).use(link, dialled=False)

    async def review(self, no_longer_trusted: Judge) -> None:
        """Ask about each link whether it is still believed, and let go of those that are not."""
        linked = [(peer, identity) for peer in self._peers.values() for identity in peer.identities()]
        for start in range(0, len(linked), _AT_A_TIME):
            some = linked[start : start + _AT_A_TIME]
            for refused, error in no_longer_trusted([identity for _, identity in some]):
                for peer, identity in some:
                    if identity is refused:
                        peer.distrust(identity, error)
            await trio.lowlevel.checkpoint()

    def redial(self, reason: str) -> None:
        """Let all sessions go on with other links, on which this node proves who it is by what it has now."""
        for peer in self._peers.values():
            peer.redial(reason)

    async def close(self) -> None:
        """Take leave of all, within a second or so."""
        self._leaving = True
        with trio.move_on_after(_FAREWELL):
            async with trio.open_nursery() as nursery:
                for peer in self._peers.values():
                    nursery.start_soon(peer.close, CloseCode.GOODBYE)
        for peer in self._peers.values():
            peer.give_up("this node has ended")  # so that what could not be brought over is reported

    def abandon(self) -> None:
        """Have nothing done any more, for the node has ended."""
        for peer in self._peers.values():
            peer.abandon()
