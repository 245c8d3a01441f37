"""The mailbox of one worker on a far node, as senders here see it: a flow of messages, with places granted ahead.

A message is sent only when it has its place in the far mailbox, so one that waits for a place holds up no other flow.
Those who wait stand in a line; when places are granted, their messages are sent for them, all at once.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import outcome
import trio
from trio.lowlevel import (
    Abort,
    RaiseCancelT,
    Task,
    cancel_shielded_checkpoint,
    checkpoint_if_cancelled,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

from .. import errors
from .._sansio import cargo
from .._sansio.border import MAX_MESSAGE_BYTES, check_message
from .._sansio.credit import Flow
from .._sansio.envelope import CONVERSATION, MESSAGE, REPLY, Envelope, Failure
from ..abc import WireDown
from ..errors import NodeDown, NoReply

if TYPE_CHECKING:
    from .outgoing import Outgoing


class _Step(Enum):
    """What has become of the first message in the line."""

    SENT = "sent"
    TURN = "it is large: its sender sends it by himself, while the others wait"
    WAIT = "there is no place for it, or no room on the way"


class Outflow:
    """One far worker; see `abc.FarMailbox`.

    Attributes:
        worker: Its name.
        number: What the flow is called on the wire, once it was opened.
        is_over: Whether it takes nothing more.
    """

    __slots__ = (
        "_account",
        "_failure",
        "_is_asked_back",
        "_line",
        "_outgoing",
        "_sends_large",
        "_wire",
        "is_over",
        "number",
        "worker",
    )

    def __init__(self, outgoing: Outgoing, worker: str) -> None:
        self._outgoing = outgoing
        self._wire = outgoing.wire
        self._account = Flow()
        self._line: dict[Task, Envelope] = {}
        self._sends_large = False
        self._is_asked_back = False
        self._failure: Failure | None = None
        self.worker = worker
        self.is_over = False
        self.number: int | None = None

    @property
    def node(self) -> str:
        """Full name of the far node."""
        return self._wire.node

    @property
    def is_linked(self) -> bool:
        """Whether there is a link there at this moment."""
        return self._wire.is_up

    @property
    def is_idle(self) -> bool:
        """Whether nobody sends on it just now."""
        return not self._line and not self._sends_large

    # --- senders

    def put_nowait(self, envelope: Envelope) -> None:
        """Send an envelope; see `abc.FarMailbox`."""
        if self.is_over:
            self._elsewhere().put_nowait(envelope)
            return
        account = self._account
        if self._line or self._sends_large or self.number is None or account.sent >= account.total:
            raise trio.WouldBlock
        if self._wire.is_large(envelope.body) or not self._offer(self.number, envelope):
            raise trio.WouldBlock
        if account.sent >= account.speak_at:
            self._say_want()

    async def put(self, envelope: Envelope) -> None:
        """Send an envelope as soon as it has a place; see `abc.FarMailbox`."""
        await checkpoint_if_cancelled()
        if self.is_over:
            await self._elsewhere().put(envelope)
            return
        if len(envelope.body) > MAX_MESSAGE_BYTES // 4:
            check_message(envelope.body, MAX_MESSAGE_BYTES)  # whatever this node's own limit is
        step = self._attempt(envelope) if self.is_idle else _Step.WAIT
        if step is _Step.WAIT:
            step = await self._wait_in_line(envelope)
        elif step is _Step.SENT:
            self._say_want()
            await cancel_shielded_checkpoint()
        if step is _Step.TURN:
            await self._send_large(envelope)

    def _elsewhere(self) -> Outflow:
        """Return the flow in place of this one, which made way for others, or raise why there is none."""
        self._check()
        return self._outgoing.mailbox(self.worker)

    async def _wait_in_line(self, envelope: Envelope) -> _Step:
        task = current_task()
        self._line[task] = envelope
        self._say_want()

        def leave(_: RaiseCancelT) -> Abort:
            del self._line[task]
            return Abort.SUCCEEDED

        step: _Step = await wait_task_rescheduled(leave)
        return step

    def serve(self) -> None:
        """Send what is first in the line, as long as there are places and room."""
        while self._line and not self._sends_large:
            task, envelope = next(iter(self._line.items()))
            step = self._attempt(envelope)
            if step is _Step.WAIT:
                break
            del self._line[task]
            reschedule(task, outcome.Value(step))
        self._say_want()

    def _attempt(self, envelope: Envelope) -> _Step:
        if self.number is None:
            self.number = self._outgoing.open(self)
        if self._account.credit <= 0:
            self._account.stalled()
            return _Step.WAIT
        if self._wire.is_large(envelope.body):
            self._sends_large = True
            self._account.send()  # at once: its sender may have to be woken first
            return _Step.TURN
        if self._offer(self.number, envelope):
            return _Step.SENT
        self._wire.when_room(self.serve)
        return _Step.WAIT

    def _offer(self, number: int, envelope: Envelope) -> bool:
        if not self._wire.offer(self._item(number, envelope)):
            return False
        if envelope.kind != MESSAGE:
            self._outgoing.asks(envelope)
            if envelope.forwarded or envelope.kind == CONVERSATION:
                self._outgoing.has_asked(envelope)
        self._account.sent += 1
        return True

    async def _send_large(self, envelope: Envelope) -> None:
        assert self.number is not None
        self._outgoing.asks(envelope)
        try:
            self._check()
            await self._wire.send(self._item(self.number, envelope))
            if envelope.kind != MESSAGE:
                self._outgoing.has_asked(envelope)
        except BaseException as error:
            self._outgoing.asks_not(envelope)
            self._account.take_back()
            if isinstance(error, WireDown):
                raise self._down(str(error)) from None
            raise
        finally:
            self._sends_large = False
            if self.is_over:
                self._outgoing.let_go(self)
            elif self._is_asked_back:
                self.give_back()
            else:
                self.serve()

    def _say_want(self) -> None:
        wanted = self._account.want(len(self._line))
        if wanted is not None and self.number is not None and not self.is_over:
            self._wire.tell(cargo.Want(self.number, wanted))

    def _item(self, flow: int, envelope: Envelope) -> cargo.Message | cargo.Request:
        sender = envelope.sender and envelope.sender.partition("@")[0]
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
        self.serve()

    def give_back(self) -> None:
        """Give back what is not used; who waits will want more."""
        self._is_asked_back = self._sends_large  # whether that one uses its place shows when it has gone
        if self._is_asked_back:
            return
        assert self.number is not None
        self._wire.tell(cargo.GiveBack(self.number, self._account.give_back()))
        self.serve()

    def end(self, failure: Failure) -> None:
        """Nothing more is taken: who waits, or comes yet, is told why."""
        self._failure = failure
        self.is_over = True
        line, self._line = self._line, {}
        for task in line:
            reschedule(task, outcome.Error(self._error(failure)))

    def _check(self) -> None:
        if self._failure is not None:
            raise self._error(self._failure)

    def _error(self, failure: Failure) -> NoReply:
        kind: type[NoReply] = getattr(errors, failure.kind)
        return kind(failure.text, outcome=failure.outcome, worker=self.worker, node=self.node)

    def _down(self, reason: str) -> NodeDown:
        text = f"node {self.node!r} is down: {reason}"
        return NodeDown(text, outcome="not_sent", worker=self.worker, node=self.node)
