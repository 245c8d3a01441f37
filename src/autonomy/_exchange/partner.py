"""One far node: the wire to it, what this node wants of it, and what it wants of this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._sansio import cargo
from .._sansio.cargo import Item
from .._sansio.reports import Down
from ..abc import FarMailbox, Wire
from ..errors import ProtocolError
from .here import Here
from .incoming import Incoming
from .outgoing import Outgoing


class Partner:
    """A far node, as the `abc.Route` there.

    Args:
        wire: The way to it. Whoever has made it hands what comes to `accept`, and its ends to `lost`.
        here: This node.
    """

    def __init__(self, wire: Wire, here: Here) -> None:
        self._wire = wire
        self._outgoing = outgoing = Outgoing(wire, here.runtime)
        self._incoming = incoming = Incoming(wire, here, outgoing)
        self._verbs: dict[type, Callable[[Any], None]] = {
            cargo.Open: incoming.open,
            cargo.Want: incoming.want,
            cargo.GiveBack: incoming.give_back,
            cargo.End: incoming.end,
            cargo.Message: incoming.message,
            cargo.Request: incoming.request,
            cargo.Withdraw: incoming.withdraw,
            cargo.Watch: incoming.watch,
            cargo.Unwatch: incoming.unwatch,
            cargo.Grant: outgoing.granted,
            cargo.AskBack: outgoing.asked_back,
            cargo.Shut: outgoing.shut,
            cargo.Reply: outgoing.replied,
            cargo.Failed: outgoing.failed,
            cargo.Gone: outgoing.gone,
        }

    @property
    def wire(self) -> Wire:
        """The way to it."""
        return self._wire

    def accept(self, item: Item) -> None:
        """Take what came over the wire. It never waits.

        Raises:
            ProtocolError: No honest node sends that.
        """
        verb = self._verbs.get(type(item))
        if verb is None:
            raise ProtocolError(f"{type(item).__name__} came by itself")
        verb(item)

    def lost(self, reason: str, written: Iterable[Item], unwritten: Iterable[Item]) -> None:
        """The session has ended."""
        self._incoming.lost()
        self._outgoing.lost(reason, list(written), list(unwritten))

    def mailbox(self, worker: str) -> FarMailbox:
        """Return the mailbox of a worker there, be there one or not."""
        return self._outgoing.mailbox(worker)

    def watch(self, worker: str, report: Callable[[Down], None]) -> Callable[[], None]:
        """Have `report` called once when a worker there is gone, or the node; return what ends that."""
        return self._outgoing.watch(worker, report)
