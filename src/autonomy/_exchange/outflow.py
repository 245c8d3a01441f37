"""The mailbox of one worker on a far node, as senders here see it: a flow of messages, with places granted ahead.

A message is numbered by the session only when it has its place in the far mailbox, so one that waits for a place holds
up no other flow. Those who wait have their turns in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .. import errors
from .._sansio import cargo
from .._sansio.border import MAX_MESSAGE_BYTES, check_message
from .._sansio.credit import Flow
from .._sansio.envelope import CONVERSATION, MESSAGE, REPLY, Envelope, Failure
from ..abc import WireDown
from ..errors import NodeDown, NoReply

if TYPE_CHECKING:
    from .outgoing import Outgoing


class Outflow:
    """One far worker; see `abc.FarMailbox`.

    Attributes:
        worker: Its name.
        number: What the flow is called on the wire, once it was opened.
        is_over: Whether it takes nothing more.
    """

    __slots__ = (
        "_account",
        "_changed",
        "_failure",
        "_outgoing",
        "_turn",
        "_waiting",
        "_wire",
        "is_over",
        "number",
        "worker",
    )

    def __init__(self, outgoing: Outgoing, worker: str) -> None:
        self._outgoing = outgoing
        self._wire = outgoing.wire
        self._account = Flow()
        self._turn = trio.Lock()
        self._changed = trio.lowlevel.ParkingLot()
        self._failure: Failure | None = None
        self._waiting = 0
        self.worker = worker
        self.is_over = False
        self.number: int | None = None

    @property
    def node(self) -> str:
        """Full name of the far node."""
        return self._wire.node

    @property
    def is_idle(self) -> bool:
        """Whether nobody sends on it just now."""
        return not self._waiting

    # --- senders

    def put_nowait(self, envelope: Envelope) -> None:
        """Send an envelope; see `abc.FarMailbox`."""
        self._check(envelope)
        account = self._account
        if self._waiting or self.number is None or account.credit <= 0:
            raise trio.WouldBlock
        if envelope.kind != MESSAGE:
            self._outgoing.asks(envelope)
        if not self._wire.offer(self._item(self.number, envelope)):
            self._outgoing.asks_not(envelope)
            raise trio.WouldBlock
        account.send()
        self._say_want()

    async def put(self, envelope: Envelope) -> None:
        """Send an envelope as soon as it has a place; see `abc.FarMailbox`."""
        self._waiting += 1
        try:
            async with self._turn:
                await self._put(envelope)
        finally:
            self._waiting -= 1

    async def _put(self, envelope: Envelope) -> None:
        number = await self._wait_for_credit(envelope)
        self._account.send()
        if envelope.kind != MESSAGE:
            self._outgoing.asks(envelope)
        try:
            await self._wire.send(self._item(number, envelope))
        except BaseException as error:
            self._outgoing.asks_not(envelope)
            self._account.take_back()
            if isinstance(error, WireDown):
                raise self._down(str(error)) from None
            raise
        self._say_want()

    async def _wait_for_credit(self, envelope: Envelope) -> int:
        """Return the number of the flow, once a message may be sent on it."""
        while True:
            self._check(envelope)
            if self.number is None:
                self.number = self._outgoing.open(self)
            if self._account.credit > 0:
                return self.number
            self._account.stalled()
            self._say_want()
            await self._changed.park()

    def _check(self, envelope: Envelope) -> None:
        if self._failure is not None:
            raise self._error(self._failure)
        if len(envelope.body) > MAX_MESSAGE_BYTES // 4:
            check_message(envelope.body, MAX_MESSAGE_BYTES)  # whatever this node's own limit is

    def _say_want(self) -> None:
        wanted = self._account.want(self._waiting)
        if wanted is not None and self.number is not None:
            self._wire.tell(cargo.Want(self.number, wanted))

    def _item(self, flow: int, envelope: Envelope) -> cargo.Message | cargo.Request:
        sender = envelope.sender.partition("@")[0]
        if envelope.kind == MESSAGE:
            return cargo.Message(flow, envelope.body, sender)
        if envelope.kind == REPLY:
            return cargo.Message(flow, envelope.body, sender, envelope.id)
        conversation = envelope.kind == CONVERSATION
        left = 0.0 if conversation else max(envelope.deadline - self._outgoing.runtime.clock(), 0.0)
        mailbox = self._outgoing.mailbox_of(envelope.id) if conversation else ""
        return cargo.Request(flow, envelope.id, envelope.body, sender, conversation, left, envelope.chain, mailbox)

    # --- the far node

    def granted(self, total: int) -> None:
        """More may be sent."""
        self._account.granted(total)
        self._changed.unpark_all()

    def give_back(self) -> None:
        """Give back what is not used; who waits will want more."""
        assert self.number is not None
        self._wire.tell(cargo.GiveBack(self.number, self._account.give_back()))
        self._changed.unpark_all()

    def end(self, failure: Failure) -> None:
        """Nothing more is taken: who waits, or comes yet, is told why."""
        self._failure = failure
        self.is_over = True
        self._changed.unpark_all()

    def _error(self, failure: Failure) -> NoReply:
        kind: type[NoReply] = getattr(errors, failure.kind)
        return kind(failure.text, outcome=failure.outcome, worker=self.worker, node=self.node)

    def _down(self, reason: str) -> NodeDown:
        text = f"node {self.node!r} is down: {reason}"
        return NodeDown(text, outcome="not_sent", worker=self.worker, node=self.node)
