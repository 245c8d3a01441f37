"""What this node wants of one far node: its messages, its requests, its watches.

Each ends once: by an answer, by the far node's end, or because nobody here wants it any more. Only what was asked of a
far node may be answered by it: numbers that it makes up mean nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import Final

import msgspec

from .. import errors
from .._actors.inbox import Inbox
from .._actors.runtime import Runtime
from .._sansio import cargo
from .._sansio.cargo import Item
from .._sansio.envelope import CONVERSATION, FAILURE, MESSAGE, REPLY, REQUEST, Envelope, Failure
from .._sansio.reports import Down
from ..abc import Wire
from ..errors import NoReply
from .outflow import Outflow

_FLOWS: Final = 4096
"""Workers of one far node that this one sends to at a time; those that wait for nothing make way for others."""
_KINDS: Final = frozenset(
    name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, NoReply)
)


class Outgoing:
    """The wants of one node, as far as another one is to fulfil them.

    Args:
        wire: The way there.
        runtime: What the workers here share.
    """

    def __init__(self, wire: Wire, runtime: Runtime) -> None:
        self.wire = wire
        self.runtime = runtime
        self._flows: dict[str, Outflow] = {}
        self._by_number: dict[int, Outflow] = {}
        self._numbers = count(1)
        self._asked: dict[int, str] = {}
        self._conversations: dict[int, str] = {}
        self._handed_on: set[int] = set()
        """Numbers of those that a worker here has handled already."""
        self._watches: dict[int, tuple[str, Callable[[Down], None]]] = {}

    # --- what is wanted

    def mailbox(self, worker: str) -> Outflow:
        """Return the mailbox of a worker there."""
        flow = self._flows.get(worker)
        if flow is None:
            flow = self._flows[worker] = Outflow(self, worker)
        return flow

    def open(self, flow: Outflow) -> int:
        """Return a number for a flow, which the far node is told."""
        if len(self._by_number) >= _FLOWS:
            self._make_way()
        number = next(number for number in self._numbers if number % cargo.FLOWS not in self._by_number) % cargo.FLOWS
        self._by_number[number] = flow
        self.wire.tell(cargo.Open(number, flow.worker))
        return number

    def _make_way(self) -> None:
        for number, flow in self._by_number.items():
            if flow.is_idle:
                self._forget(number, flow)
                self.wire.tell(cargo.End(number))
                return

    def _forget(self, number: int, flow: Outflow) -> None:
        del self._by_number[number]
        flow.is_over = True
        if self._flows.get(flow.worker) is flow:
            del self._flows[flow.worker]

    def let_go(self, flow: Outflow) -> None:
        """Have the far node forget a flow that takes nothing more, once nothing is under way on it."""
        number = flow.number
        if number is not None and self._by_number.get(number) is flow and flow.is_idle:
            self._forget(number, flow)
            self.wire.tell(cargo.End(number))

    def asks(self, envelope: Envelope) -> None:
        """Expect what answers an envelope that is about to be sent, if somebody still waits for it."""
        number = envelope.id
        if envelope.kind == REQUEST:
            slot = self.runtime.replies.pending.get(number)
            if slot is None:
                return
            self._asked[number] = envelope.to
            slot.route = self.withdraw
        elif envelope.kind == CONVERSATION and number not in self._conversations:
            inbox = self.runtime.replies.conversations.get(number)
            if inbox is None or inbox.closed:
                return
            self._conversations[number] = envelope.to
            inbox.when_closed(lambda: self.withdraw(number))
        if envelope.forwarded and envelope.kind != MESSAGE:
            self._handed_on.add(number)

    def has_asked(self, envelope: Envelope) -> None:
        """Withdraw what has just been sent, if nobody waits for an answer any more."""
        if envelope.kind != REPLY and envelope.id not in self._asked and envelope.id not in self._conversations:
            self.wire.tell(cargo.Withdraw(envelope.id))

    def asks_not(self, envelope: Envelope) -> None:
        """Expect nothing: it was not sent after all."""
        self._asked.pop(envelope.id, None)
        self._tidy(envelope.id)

    def withdraw(self, number: int) -> None:
        """Nobody waits for the answer to a request, or to a conversation, any more."""
        if self._asked.pop(number, None) is not None or self._conversations.pop(number, None) is not None:
            self._tidy(number)
            self.wire.tell(cargo.Withdraw(number))

    def _tidy(self, number: int) -> None:
        if number not in self._asked and number not in self._conversations:
            self._handed_on.discard(number)

    def converses(self, number: int) -> bool:
        """Whether the far node may have something to say in a conversation."""
        return number in self._conversations

    def mailbox_of(self, number: int) -> str:
        """Return the name of the mailbox of a conversation, if it is one of this node."""
        inbox = self.runtime.replies.conversations.get(number)
        return inbox.name if isinstance(inbox, Inbox) else ""

    def watch(self, worker: str, report: Callable[[Down], None]) -> Callable[[], None]:
        """Have `report` called when a worker there is gone; return what ends that."""
        number = self.runtime.replies.next_id()
        self._watches[number] = worker, report
        self.wire.tell(cargo.Watch(number, worker))

        def end() -> None:
            if self._watches.pop(number, None) is not None:
                self.wire.tell(cargo.Unwatch(number))

        return end

    # --- what comes of it

    def granted(self, item: cargo.Grant) -> None:
        """More may be sent on a flow."""
        flow = self._by_number.get(item.flow)
        if flow is not None:
            flow.granted(item.total)

    def asked_back(self, item: cargo.AskBack) -> None:
        """What is not used of a flow is wanted back."""
        flow = self._by_number.get(item.flow)
        if flow is not None:
            flow.give_back()

    def shut(self, item: cargo.Shut) -> None:
        """Nothing more is taken on a flow."""
        flow = self._by_number.get(item.flow)
        if flow is not None:
            if self._flows.get(flow.worker) is flow:
                del self._flows[flow.worker]
            flow.end(_checked(item.failure))
            self.let_go(flow)

    def replied(self, item: cargo.Reply) -> None:
        """A request has its reply, or a conversation another one."""
        worker = self._asked.pop(item.id, None) or self._conversations.get(item.id)
        if worker is None:
            self.runtime.replies.dropped += 1
        else:
            if self._handed_on:
                self._tidy(item.id)
            self.runtime.replies.accept(Envelope(REPLY, worker, item.body, item.id))

    def failed(self, item: cargo.Failed) -> None:
        """A request will have no reply; or a message in a conversation has ended badly."""
        worker = self._asked.pop(item.id, None) or self._conversations.get(item.id)
        if worker is None:
            self.runtime.replies.dropped += 1
        else:
            self._fail(item.id, worker, _checked(item.failure))
            self._tidy(item.id)

    def gone(self, item: cargo.Gone) -> None:
        """A watched worker is gone."""
        worker, report = self._watches.pop(item.id, ("", None))
        if report is not None:
            report(Down(f"{worker}@{self.wire.node}", item.incarnation, item.reason))

    def lost(self, reason: str, written: Iterable[Item], unwritten: Iterable[Item]) -> None:
        """The session has ended: tell everybody who waits, and report what is lost."""
        not_sent = {item.id for item in unwritten if isinstance(item, cargo.Request)}
        reason = f"node {self.wire.node!r} is down: {reason}"
        targets = {number: flow.worker for number, flow in self._by_number.items()}
        targets |= {item.flow: item.target for item in (*written, *unwritten) if isinstance(item, cargo.Open)}
        for flow in self._flows.values():
            flow.is_over = True  # also those that were never opened: whoever holds one asks for another
        flows, self._flows, self._by_number = self._by_number, {}, {}
        for flow in flows.values():
            flow.end(Failure("NodeDown", reason, "not_sent"))
        asked, self._asked = self._asked, {}
        conversations, self._conversations = self._conversations, {}
        for number, worker in (asked | conversations).items():
            outcome: errors.Outcome = "not_sent" if number in not_sent else "maybe_handled"
            self._fail(number, worker, Failure("NodeDown", reason, outcome))
        self._handed_on.clear()
        watches, self._watches = self._watches, {}
        for worker, report in watches.values():
            report(Down(f"{worker}@{self.wire.node}", "", reason))
        self._report(written, targets, f"{reason}; it may have arrived")
        self._report(unwritten, targets, reason)

    def _report(self, items: Iterable[Item], targets: dict[int, str], reason: str) -> None:
        here = self.runtime.name
        for item in items:
            if isinstance(item, cargo.Message) and not item.answers:
                to = f"{targets.get(item.flow, '')}@{self.wire.node}"
                sender = f"{item.sender}@{here}" if item.sender else ""
                self.runtime.dead_letters.report(Envelope(MESSAGE, to, item.body, 0, sender), reason)

    def _fail(self, number: int, worker: str, failure: Failure) -> None:
        if number in self._handed_on and failure.outcome == "not_sent":  # there it was not, but here it was handled
            failure = msgspec.structs.replace(failure, outcome="maybe_handled")
        self.runtime.replies.accept(Envelope(FAILURE, f"{worker}@{self.wire.node}", "", number, failure=failure))


def _checked(failure: Failure) -> Failure:
    """Return a failure of a kind that is known here: far nodes may be newer, or lie."""
    if failure.kind in _KINDS:
        return failure
    return Failure("NoReply", f"{failure.kind:.80}: {failure.text}", failure.outcome)
