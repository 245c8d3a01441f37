"""What one far node wants of this one: its messages, its requests, its watches.

The sender of a message is the node that its link has proven; what a far node says of itself counts for nothing. It has
been granted a place for each message, so nothing here waits. What it may not do is refused with an answer, and a line
of the logger ``security``; what no honest node does is a `ProtocolError`, and ends the session.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from .._actors.inbox import Inbox
from .._actors.reserved import Reserved
from .._sansio import cargo
from .._sansio.address import check_name
from .._sansio.border import MAX_MESSAGE_BYTES, check_message
from .._sansio.cargo import Item
from .._sansio.envelope import CONVERSATION, MESSAGE, REPLY, REQUEST, Envelope, Failure
from .._sansio.reports import Down
from ..abc import Wire
from ..errors import ProtocolError
from .answers import FarInbox, FarRequest, Relay
from .here import Here
from .outgoing import Outgoing

_TRACEBACK: Final = 2**16
"""Characters of a traceback that travel: its end says most; and of the text of an exception, which may be anything."""
_REASON: Final = 2**12
"""Characters that say why somebody is gone."""
_WATCHES: Final = 65_536
_ASKED: Final = 2**20


class Inflow:
    """Messages of one far node for one worker here; see `reserved.FarFlow`.

    Attributes:
        worker: Its name.
        places: The places of its mailbox; None once nothing more is taken.
        failure: Why nothing is.
        no_reply: Why it takes no requests, if it takes messages.
    """

    __slots__ = ("_here", "_number", "_wire", "failure", "no_reply", "places", "worker")

    def __init__(self, wire: Wire, here: str, number: int, worker: str) -> None:
        self._wire = wire
        self._here = here
        self._number = number
        self.worker = worker
        self.places: Reserved | None = None
        self.failure: Failure | None = None
        self.no_reply: Failure | None = None

    def grant(self, total: int) -> None:
        """Let the far node send so many in all."""
        self._wire.tell(cargo.Grant(self._number, total))

    def ask_back(self) -> None:
        """Ask for what it does not use."""
        self._wire.tell(cargo.AskBack(self._number))

    def closed(self, reason: str) -> None:
        """The mailbox is gone."""
        text = f"worker {self.worker!r} on node {self._here!r} is gone: {reason[:_REASON]}"
        self.shut(Failure("WorkerNotFound", text, "not_sent"))

    def shut(self, failure: Failure) -> None:
        """Take nothing more, and say why."""
        self.places, self.failure = None, failure
        self._wire.tell(cargo.Shut(self._number, failure))


class Incoming:
    """The wants of one far node, as far as this one is to fulfil them.

    Args:
        wire: The way there.
        here: What there is on this node.
        outgoing: What this node wants of that one.
    """

    def __init__(self, wire: Wire, here: Here, outgoing: Outgoing) -> None:
        self._wire = wire
        self._here = here
        self._runtime = here.runtime
        self._outgoing = outgoing
        self._flows: dict[int, Inflow] = {}
        self._targets: set[str] = set()
        self._asked: dict[int, FarRequest] = {}
        self._conversations: dict[int, FarInbox | Relay] = {}
        self._watches: dict[int, Callable[[], object]] = {}
        self._senders: set[str] = {""}

    # --- flows

    def open(self, item: cargo.Open) -> None:
        """The far node will send to a worker."""
        if item.flow in self._flows or item.target in self._targets:
            raise ProtocolError(f"flow {item.flow}, to worker {item.target!r}, was opened twice")
        name = _name(item.target)
        self._targets.add(name)
        flow = self._flows[item.flow] = Inflow(self._wire, self._runtime.name, item.flow, name)
        failure, target = self._here.admit(flow.worker, self._wire, self._outgoing.converses)
        if target is None:
            flow.shut(failure)
        else:
            flow.places = target.reserve()
            if isinstance(target, Inbox):
                text = (
                    f"{flow.worker!r} on node {self._runtime.name!r} is a mailbox, which cannot reply. Use send_message"
                )
                flow.no_reply = Failure("WorkerNotFound", text, "not_sent")

    def want(self, item: cargo.Want) -> None:
        """It has messages to send."""
        flow = self._flow(item.flow)
        if flow.places is not None:
            flow.places.want(flow, item.wanted)

    def give_back(self, item: cargo.GiveBack) -> None:
        """It does not need all that it was granted."""
        flow = self._flow(item.flow)
        if flow.places is not None:
            flow.places.give_back(flow, item.sent)

    def end(self, item: cargo.End) -> None:
        """It will send no more on a flow."""
        flow = self._flow(item.flow)
        del self._flows[item.flow]
        self._targets.discard(flow.worker)
        if flow.places is not None:
            flow.places.close_flow(flow)

    def _flow(self, number: int) -> Inflow:
        flow = self._flows.get(number)
        if flow is None:
            raise ProtocolError(f"flow {number} is not open")
        return flow

    # --- messages

    def message(self, item: cargo.Message) -> None:
        """A message, or a reply in a conversation that this node has begun."""
        flow = self._flow(item.flow)
        kind = REPLY if item.answers and self._outgoing.converses(item.answers) else MESSAGE
        envelope = Envelope(kind, flow.worker, item.body, item.answers, self._sender(item.sender))
        failure = flow.failure if kind == REPLY else self._failure(flow)  # what was asked for is taken to the last
        if failure is None:
            self._arrive(flow, envelope)
        elif item.answers:  # too late for whoever has asked
            self._leave_place(flow, None, failure)
            self._runtime.replies.dropped += 1
        else:
            self._leave_place(flow, envelope, failure)

    def request(self, item: cargo.Request) -> None:
        """A message that wants an answer."""
        flow, runtime = self._flow(item.flow), self._runtime
        kind = CONVERSATION if item.conversation else REQUEST
        if item.id in self._asked or len(self._asked) + len(self._conversations) >= _ASKED:
            raise ProtocolError(f"request {item.id} was made twice, or {_ASKED} others wait")
        sender = self._sender(item.sender)
        failure = self._failure(flow) or flow.no_reply or self._here.cycle(flow.worker, item.chain)
        if failure is not None:
            self._leave_place(flow, None, failure)
            self._wire.tell(cargo.Failed(item.id, failure))
            return
        number = runtime.replies.next_id()
        deadline = runtime.clock() + item.seconds
        if kind == REQUEST:
            request = FarRequest(runtime.replies.pending, number, item.id, self._answer)
            self._asked[item.id] = request
            runtime.replies.deadlines.add(number, request, deadline)
        else:
            number = self._converse(item, number)
        self._arrive(flow, Envelope(kind, flow.worker, item.body, number, sender, deadline, item.chain))

    def _converse(self, item: cargo.Request, number: int) -> int:
        """Return the number, here, of a conversation that may have been going on for some time."""
        known = self._conversations.get(item.id)
        if known is not None:
            return known.number
        relay = Relay(self._wire, number, item.id, self._send_home, self._here.start_soon)
        conversation: FarInbox | Relay = relay
        if item.mailbox:
            conversation = FarInbox(self._outgoing.mailbox, _name(item.mailbox), item.id, relay)
        self._conversations[item.id] = conversation
        self._runtime.replies.conversations[number] = conversation
        return number

    def _arrive(self, flow: Inflow, envelope: Envelope) -> None:
        assert flow.places is not None
        if not flow.places.arrive(flow, envelope):
            raise ProtocolError(f"more was sent to worker {flow.worker!r} than was granted")

    def _failure(self, flow: Inflow) -> Failure | None:
        return flow.failure or self._here.refusal

    def _leave_place(self, flow: Inflow, envelope: Envelope | None, failure: Failure) -> None:
        """See to a message that is not taken, though it may have had a place."""
        if flow.places is not None and not flow.places.pass_over(flow):
            raise ProtocolError(f"more was sent to worker {flow.worker!r} than was granted")
        if envelope is not None:
            self._runtime.dead_letters.report(envelope, failure.text)

    def _sender(self, name: str) -> str:
        if name not in self._senders:
            if len(self._senders) > 1024:
                self._senders = {""}
            self._senders.add(_name(name))
        return f"{name}@{self._wire.node}"

    # --- answers

    def _answer(self, number: int, answer: Envelope | None) -> None:
        """Send home what has become of a request."""
        if self._asked.pop(number, None) is not None and answer is not None:  # else nobody waits there any more
            self._send_home(number, answer)

    def _send_home(self, number: int, answer: Envelope) -> None:
        if answer.failure is None:
            self._wire.tell(_reply(number, answer.body))
        else:
            self._wire.tell(cargo.Failed(number, _cut(answer.failure)))

    def withdraw(self, item: cargo.Withdraw) -> None:
        """Nobody there waits for an answer any more."""
        request = self._asked.pop(item.id, None)
        if request is not None:
            request.withdraw()
        conversation = self._conversations.pop(item.id, None)
        if conversation is not None:
            conversation.close()

    # --- watches

    def watch(self, item: cargo.Watch) -> None:
        """Somebody there wants to know of a worker's end."""
        if item.id in self._watches or len(self._watches) >= _WATCHES:
            raise ProtocolError(f"watch {item.id} was begun twice")

        def report(down: Down) -> None:
            self._watches.pop(item.id, None)
            self._wire.tell(cargo.Gone(item.id, down.incarnation, down.reason[:_REASON]))

        self._watches[item.id] = lambda: None
        end = self._here.watch(_name(item.target), self._wire, report)
        if item.id in self._watches:
            self._watches[item.id] = end

    def unwatch(self, item: cargo.Unwatch) -> None:
        """Nobody there wants to know any more."""
        end = self._watches.pop(item.id, None)
        if end is not None:
            end()

    # --- the end

    def lost(self) -> None:
        """The session has ended: nothing more will come, and nobody waits there."""
        flows, self._flows = self._flows, {}
        self._targets.clear()
        for flow in flows.values():
            if flow.places is not None:
                flow.places.close_flow(flow)
        asked, self._asked = self._asked, {}
        for request in asked.values():
            request.withdraw()
        conversations, self._conversations = self._conversations, {}
        for conversation in conversations.values():
            conversation.close()
        watches, self._watches = self._watches, {}
        for end in watches.values():
            end()


def _cut(failure: Failure) -> Failure:
    """Return a failure that can travel: an exception may have been given all of a message as its text."""
    return msgspec.structs.replace(
        failure,
        text=failure.text[:_TRACEBACK],
        remote_type=failure.remote_type[:_REASON],
        remote_message=failure.remote_message[:_TRACEBACK],
        remote_traceback=failure.remote_traceback[-_TRACEBACK:],
        cause=failure.cause[:_REASON],
    )


def _name(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise ProtocolError(str(error)) from None


def _reply(number: int, body: str) -> Item:
    """Return a reply, or if it is larger than what travels between nodes, the news that it is."""
    try:
        if len(body) > MAX_MESSAGE_BYTES // 4:
            check_message(body, MAX_MESSAGE_BYTES)
    except ValueError as error:
        return cargo.Failed(number, Failure("WorkerFailed", f"its reply cannot travel: {error}", "handled"))
    return cargo.Reply(number, body)
