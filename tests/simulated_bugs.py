"""Bugs to plant in the library, each of another kind: a simulation that does not find them proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from inspect import iscoroutinefunction
from itertools import count
from typing import Any

import pytest
import trio

from autonomy._actors.debts import Debts
from autonomy._actors.process import Process, current_process
from autonomy._actors.replies import Replies
from autonomy._actors.router import Router
from autonomy._exchange.answers import FarConversation
from autonomy._exchange.incoming import Incoming
from autonomy._exchange.outgoing import Outgoing
from autonomy._sansio import cargo
from autonomy._sansio.credit import Room
from autonomy._sansio.envelope import MESSAGE, REPLY, Envelope
from autonomy._sansio.reports import Down
from autonomy._sansio.session import Deliver, Session
from autonomy._sansio.session_life import Life

Plant = Callable[[pytest.MonkeyPatch], None]


def duplicate_delivery(patch: pytest.MonkeyPatch) -> None:
    """Forget, with a connection, the last frame that came on it."""
    original = Life.detach

    def detach(self: Life) -> None:
        if self.expects > max(self.acknowledged, 1):
            self.expects -= 1
        original(self)

    patch.setattr(Life, "detach", detach)


def lost_on_resume(patch: pytest.MonkeyPatch) -> None:
    """Take the first frame of a new connection for delivered before it is."""
    attach, data = Life.attach, Session._data
    resumed: dict[int, Life] = {}

    def note(self: Life, *args: Any) -> None:
        if self.expects > 1:
            resumed[id(self)] = self
        attach(self, *args)

    def lose(self: Session, life: Life, *args: Any) -> Any:
        events = data(self, life, *args)
        if id(life) in resumed and any(isinstance(event, Deliver) for event in events):
            del resumed[id(life)]
            return [event for event in events if not isinstance(event, Deliver)]
        return events

    patch.setattr(Life, "attach", note)
    patch.setattr(Session, "_data", lose)


def order_swapped(patch: pytest.MonkeyPatch) -> None:
    """Let a message pass the one before it, now and then."""
    original = Incoming.message
    held: list[tuple[Incoming, cargo.Message]] = []
    turns = count(1)

    def message(self: Incoming, item: cargo.Message) -> None:
        if not held and next(turns) % 10 == 0:
            held.append((self, item))
            return
        original(self, item)
        if held:
            receiver, late = held.pop()
            if late.flow in receiver._flows:
                original(receiver, late)

    patch.setattr(Incoming, "message", message)


def two_handlers_at_once(patch: pytest.MonkeyPatch) -> None:
    """Take up the next message while the last one is still being handled, now and then: else circles ask for ever."""
    original = Process._handler_of
    turns = count(1)

    def handler_of(self: Process, worker: Any) -> Any:
        handle = original(self, worker)

        async def handled(context: Any, message: str) -> None:
            with trio.move_on_after(5):
                with suppress(Exception):  # it is the overlap that counts
                    await handle(context, message)

        async def begin(context: Any, message: str) -> None:
            if next(turns) % 10:
                await handle(context, message)
                return
            trio.lowlevel.spawn_system_task(handled, type(context)(self, context.envelope), message)
            await trio.sleep(0.01)

        return begin

    patch.setattr(Process, "_handler_of", handler_of)


def reply_to_the_wrong_request(patch: pytest.MonkeyPatch) -> None:
    """Give a reply to somebody else who waits, now and then."""
    original = Replies.accept
    turns = count(1)

    def accept(self: Replies, answer: Envelope) -> None:
        if answer.kind == REPLY and len(self.pending) > 1 and next(turns) % 5 == 0:
            answer.id = next(number for number in self.pending if number != answer.id)
        original(self, answer)

    patch.setattr(Replies, "accept", accept)


def outcome_wrong(patch: pytest.MonkeyPatch) -> None:
    """Say of what was under way that it was not sent."""
    original = Outgoing.lost

    def lost(self: Outgoing, reason: str, written: Iterable[Any], unwritten: Iterable[Any]) -> None:
        asked = [cargo.Request(0, number, "", "", False, 0.0, (), "") for number in self._asked]
        original(self, reason, written, [*unwritten, *asked])

    patch.setattr(Outgoing, "lost", lost)


def watch_never_fires(patch: pytest.MonkeyPatch) -> None:
    """Do not pass on that a far worker is gone."""
    patch.setattr(Outgoing, "gone", lambda *_: None)


def credit_exceeded(patch: pytest.MonkeyPatch) -> None:
    """Grant one place more than there is."""
    original = Room._give

    def give(self: Any, flow: Any, account: Any, amount: int, granted: Any) -> None:
        original(self, flow, account, amount + 1, granted)

    patch.setattr(Room, "_give", give)


def old_incarnation_accepted(patch: pytest.MonkeyPatch) -> None:
    """Send again, to whoever comes, what was on its way to a node that was lost."""
    original = Outgoing.lost

    async def again(self: Outgoing, worker: str, item: cargo.Message) -> None:
        sender = f"{item.sender}@{self.runtime.name}" if item.sender else ""
        with suppress(Exception), trio.move_on_after(20):
            await self.mailbox(worker).put(Envelope(MESSAGE, worker, item.body, 0, sender))

    def lost(self: Outgoing, reason: str, written: list[Any], unwritten: list[Any]) -> None:
        flows = {number: flow.worker for number, flow in self._by_number.items()}
        original(self, reason, written, unwritten)
        for item in (*written, *unwritten):
            if isinstance(item, cargo.Message) and item.flow in flows:
                trio.lowlevel.spawn_system_task(again, self, flows[item.flow], item)

    patch.setattr(Outgoing, "lost", lost)


def dead_letter_not_reported(patch: pytest.MonkeyPatch) -> None:
    """Say nothing of messages that are lost with a session."""
    patch.setattr(Outgoing, "_report", lambda *_: None)


def request_not_withdrawn(patch: pytest.MonkeyPatch) -> None:
    """Keep what a far node was asked when nobody waits any more."""
    patch.setattr(Outgoing, "withdraw", lambda *_: None)


def deadline_does_not_travel(patch: pytest.MonkeyPatch) -> None:
    """Give a request made for another one all the time that it asks for."""
    original = Router.inherited

    def inherited(self: Router, deadline: float) -> Any:
        sender, chain, _ = original(self, deadline)
        return sender, chain, deadline

    patch.setattr(Router, "inherited", inherited)


def handed_on_conversation_never_ends(patch: pytest.MonkeyPatch) -> None:
    """Do not tell a third node that a conversation is over. This one was there."""

    def close(self: FarConversation) -> None:
        self.closed = True

    patch.setattr(FarConversation, "close", close)


def circle_not_seen(patch: pytest.MonkeyPatch) -> None:
    """Let a request come back to a worker that waits for it."""
    patch.setattr(Router, "check_cycle", lambda *_: None)


def same_object_restarted(patch: pytest.MonkeyPatch) -> None:
    """Go on with the object that has failed."""
    original = Process._make_worker
    made: dict[str, object] = {}

    def make(self: Process) -> object:
        if self.incarnation not in made:
            made[self.incarnation] = original(self)
        return made[self.incarnation]

    patch.setattr(Process, "_make_worker", make)


def failed_message_tried_again(patch: pytest.MonkeyPatch) -> None:
    """Give the message that failed to the next object, too."""
    original = Process._handler_failed

    def failed(self: Process, envelope: Envelope, error: Exception, *, answered: bool) -> None:
        original(self, envelope, error, answered=answered)
        if not self._resumes and envelope.kind == MESSAGE and self.queue.used() < self.queue.capacity:
            self.queue.add(envelope)

    patch.setattr(Process, "_handler_failed", failed)


def forgotten_request_not_answered(patch: pytest.MonkeyPatch) -> None:
    """Say nothing when a handler returns without replying."""
    patch.setattr(Debts, "unanswered", lambda *_: None)


def sender_without_its_node(patch: pytest.MonkeyPatch) -> None:
    """Take a sender on another node for one of this."""
    patch.setattr(Incoming, "_sender", lambda self, name: f"{name}@{self._runtime.name}")


def watch_fires_at_a_restart(patch: pytest.MonkeyPatch) -> None:
    """Tell of an end that is none: another object goes on."""
    original = Process._leave_nothing

    def leave_nothing(self: Process) -> None:
        original(self)
        watchers, self.watchers = self.watchers or [], None
        for lookout in watchers:
            lookout.report(Down(self.address, self.incarnation, "failed"))

    patch.setattr(Process, "_leave_nothing", leave_nothing)


def slow_worker_holds_up_its_node(patch: pytest.MonkeyPatch) -> None:
    """Let workers of a node take turns: one handler at a time."""
    original = Process._handler_of
    turns: dict[Any, trio.Lock] = {}

    def handler_of(self: Process, worker: Any) -> Any:
        handle = original(self, worker)

        async def in_turn(context: Any, message: str) -> None:
            lock = turns.setdefault(self.runtime, trio.Lock())
            with trio.move_on_after(2):
                await lock.acquire()
            try:
                await handle(context, message)
            finally:
                with suppress(RuntimeError):
                    lock.release()

        return in_turn

    patch.setattr(Process, "_handler_of", handler_of)


def two_ways_to_a_worker(patch: pytest.MonkeyPatch) -> None:
    """Forget a mailbox that somebody holds, when a session ends. This one was there."""
    original = Outgoing.lost

    def lost(self: Outgoing, *args: Any) -> None:
        flows = [flow for flow in self._flows.values() if flow.number is not None]
        original(self, *args)
        for flow in flows:
            flow.is_over, flow.number, flow._account = False, None, type(flow._account)()

    patch.setattr(Outgoing, "lost", lost)


def plain_handlers_are_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """Take up the next message while a thread is busy with the last one (D8)."""
    original = Process._handler_of

    def handler_of(self: Process, worker: Any) -> Any:
        handle = original(self, worker)
        if iscoroutinefunction(worker.handle_message):
            return handle

        async def alone(context: Any, message: str) -> None:
            with trio.move_on_after(5):
                await handle(context, message)

        async def begin(context: Any, message: str) -> None:
            trio.lowlevel.spawn_system_task(alone, type(context)(self, context.envelope), message)
            await trio.sleep(0.01)

        return begin

    patch.setattr(Process, "_handler_of", handler_of)


def one_object_is_two_workers(patch: pytest.MonkeyPatch) -> None:
    """Do not note which objects run (D6)."""
    patch.setattr("autonomy._actors.process.claim", lambda *_: None)
    patch.setattr("autonomy._actors.system.claim", lambda *_: None)


def messages_before_the_start(patch: pytest.MonkeyPatch) -> None:
    """Handle messages although a worker's start goes on (L1)."""
    original = Process._call_hook

    async def call_hook(self: Process, name: str) -> None:
        if name == "on_start":
            trio.lowlevel.spawn_system_task(suppressed, original, self, name)
        else:
            await original(self, name)

    async def suppressed(function: Any, *args: Any) -> None:
        with suppress(Exception):
            await function(*args)

    patch.setattr(Process, "_call_hook", call_hook)


def cancelled_handlers_have_failed(patch: pytest.MonkeyPatch) -> None:
    """Take a cancellation for a failure of the handler (L5)."""

    def cut_off(self: Debts, envelope: Envelope, *, answered: bool) -> None:
        self.failed(envelope, RuntimeError("cancelled"), answered=answered)

    patch.setattr(Debts, "cut_off", cut_off)


def nobody_waits_for_a_place(patch: pytest.MonkeyPatch) -> None:
    """Give up at once where a mailbox is full (B1)."""
    original = Router.put_within

    async def put_within(self: Router, name: str, target: Any, envelope: Envelope, seconds: float) -> None:
        await original(self, name, target, envelope, min(seconds, 0.001))

    patch.setattr(Router, "put_within", put_within)


def one_waits_for_oneself(patch: pytest.MonkeyPatch) -> None:
    """Wait for a place in one's own mailbox, which nobody makes meanwhile (B3)."""
    original = Router.put_within

    async def put_within(self: Router, name: str, target: Any, envelope: Envelope, seconds: float) -> None:
        process = current_process.set(None)
        try:
            await original(self, name, target, envelope, seconds)
        finally:
            current_process.reset(process)

    patch.setattr(Router, "put_within", put_within)


def stop_waits_its_turn(patch: pytest.MonkeyPatch) -> None:
    """Stop a worker when it has handled what waits for it (B3)."""
    original = Process.stop

    async def stop(self: Process, *args: Any) -> None:
        await self.wait_idle()
        await original(self, *args)

    patch.setattr(Process, "stop", stop)


BUGS: tuple[Plant, ...] = (
    duplicate_delivery,
    lost_on_resume,
    order_swapped,
    two_handlers_at_once,
    reply_to_the_wrong_request,
    outcome_wrong,
    watch_never_fires,
    credit_exceeded,
    old_incarnation_accepted,
    dead_letter_not_reported,
    request_not_withdrawn,
    deadline_does_not_travel,
    handed_on_conversation_never_ends,
    circle_not_seen,
    same_object_restarted,
    failed_message_tried_again,
    forgotten_request_not_answered,
    sender_without_its_node,
    watch_fires_at_a_restart,
    slow_worker_holds_up_its_node,
    two_ways_to_a_worker,
    plain_handlers_are_not_waited_for,
    one_object_is_two_workers,
    messages_before_the_start,
    cancelled_handlers_have_failed,
    nobody_waits_for_a_place,
    one_waits_for_oneself,
    stop_waits_its_turn,
)
