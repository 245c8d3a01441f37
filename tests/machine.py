"""A random program on one node, and the laws that hold whatever it does.

Hypothesis picks the steps; they run in virtual time, several between two moments of rest, so that sends, stops,
restarts, full mailboxes and cancellations meet in all orders. What happened is written down by the workers and senders
themselves, and `check` holds it against the promises: order (D4), at most once (D1), one at a time (D5), isolation
(D6), one outcome a request (Q3), nothing lost in silence (D3), nothing left behind (Q8).
"""

from __future__ import annotations

import collections
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import trio
import trio.testing
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from autonomy import (
    Backoff,
    Context,
    DeadLetter,
    Node,
    NoReply,
    Restart,
    Resume,
    Stop,
    WorkerExists,
    WorkerNotFound,
    open_node,
)
from autonomy._sansio.restarts import Supervision

NAMES = ("a", "b", "c")
SENDERS = 3
POLICIES: dict[str, Supervision] = {
    "resume": Resume(),
    "stop": Stop(),
    "restart": Restart(2, 10.0, Backoff(0.3, 1.0)),
}
WAYS = ("reply", "reply", "silent", "raise", "sleep", "keep", "forward", "nested", "tell self")


@dataclass
class Note:
    """One message, as its sender and its workers saw it."""

    uid: int
    sender: str
    wants_reply: bool
    accepted: bool = False
    handled_by: list[int] = field(default_factory=list)
    dead: int = 0
    outcomes: list[object] = field(default_factory=list)
    begun_at: float = 0.0
    ended_at: float = math.nan
    timeout: float = math.inf


class History:
    """All that happened."""

    def __init__(self) -> None:
        self.notes: dict[int, Note] = {}
        self.lives = 0
        self.order: dict[tuple[str, str, int], list[int]] = collections.defaultdict(list)
        self.violations: list[str] = []

    def note(self, sender: str, *, wants_reply: bool) -> Note:
        """Begin the story of a new message."""
        note = Note(len(self.notes), sender, wants_reply)
        self.notes[note.uid] = note
        return note

    def dead_letter(self, letter: DeadLetter) -> None:
        """Write down a reported loss."""
        self.notes[int(letter.message.split("|")[0])].dead += 1


class Probe:
    """A worker that does what its messages say, and writes down what it sees."""

    def __init__(self, history: History, start: int) -> None:
        history.lives += 1
        self.history = history
        self.start = start
        self.busy = False
        self.seen: list[int] = []
        self.mine: list[int] = []
        self.kept: list[tuple[Context, int]] = []

    async def handle_message(self, context: Context, message: str) -> None:
        """Do what the message says."""
        uid, to, way = message.split("|")
        note = self.history.notes[int(uid)]
        self._look(context, note, to)
        self.busy = True
        try:
            await self._do(context, way, note)
        finally:
            self.busy = False

    def _look(self, context: Context, note: Note, to: str) -> None:
        if self.busy:
            self.history.violations.append(f"{context.name} handles two messages at a time (D5)")
        if self.seen != self.mine:
            self.history.violations.append(f"somebody changed the state of {context.name} (D6)")
        self.seen.append(note.uid)
        self.mine.append(note.uid)
        note.handled_by.append(self.start)
        if to == context.name:  # what was forwarded comes from the forwarder
            self.history.order[(note.sender, context.name, self.start)].append(note.uid)

    async def _do(self, context: Context, way: str, note: Note) -> None:
        if way == "reply":
            await context.reply(str(note.uid))
        elif way == "raise":
            raise ValueError(note.uid)
        elif way == "sleep":
            await trio.sleep(0.7)
            await context.reply(str(note.uid))
        elif way == "keep":
            self.kept = [*self.kept[-2:], (context, note.uid)]
            oldest, uid = self.kept[0]
            await oldest.reply(str(uid))
        elif way == "forward" and note.handled_by[:-1]:
            await context.reply(str(note.uid))  # once is enough
        elif way == "forward":
            await context.forward(NAMES[(NAMES.index(context.name) + 1) % len(NAMES)])
        elif way == "nested":
            await self._ask_next(context)
            await context.reply(str(note.uid))
        elif way == "tell self":
            await self._tell_self(context)

    async def _ask_next(self, context: Context) -> None:
        to = NAMES[(NAMES.index(context.name) + 1) % len(NAMES)]
        note = self.history.note(f"{context.name}/{self.start}", wants_reply=True)
        await ask(context.node.send_and_receive, note, to, "nested", 2.0)

    async def _tell_self(self, context: Context) -> None:
        note = self.history.note(f"{context.name}/{self.start}", wants_reply=False)
        try:
            await context.send_message(context.name, f"{note.uid}|{context.name}|silent")
            note.accepted = True
        except NoReply as error:
            note.outcomes.append(error)


async def ask(send: Callable[..., object], note: Note, to: str, way: str, timeout: float) -> None:
    """Send a request and write down what came of it."""
    note.begun_at, note.timeout = trio.current_time(), timeout
    try:
        reply = await send(to, f"{note.uid}|{to}|{way}", timeout=timeout)  # type: ignore[misc]
        note.outcomes.append(reply)
    except NoReply as error:
        note.outcomes.append(error)
    except trio.Cancelled:
        note.outcomes.append("cancelled")
        raise
    finally:
        note.ended_at = trio.current_time()


class World:
    """A node, some senders, and what they are told to do."""

    def __init__(self, node: Node, nursery: trio.Nursery, history: History) -> None:
        self.node = node
        self.history = history
        self._nursery = nursery
        self._starts = 0
        self._scopes: dict[int, trio.CancelScope] = {}
        self._orders: list[trio.MemorySendChannel[tuple[str, str, float]]] = []
        for index in range(SENDERS):
            orders, taken = trio.open_memory_channel[tuple[str, str, float]](math.inf)
            self._orders.append(orders)
            nursery.start_soon(self._send_as_told, index, taken)

    async def _send_as_told(self, index: int, orders: trio.MemoryReceiveChannel[tuple[str, str, float]]) -> None:
        async for to, way, timeout in orders:
            with trio.CancelScope() as self._scopes[index]:
                if timeout:
                    note = self.history.note(f"sender {index}", wants_reply=True)
                    await ask(self.node.send_and_receive, note, to, way, timeout)
                else:
                    await self._tell(f"sender {index}", to, way)
            del self._scopes[index]

    async def _tell(self, sender: str, to: str, way: str) -> None:
        note = self.history.note(sender, wants_reply=False)
        try:
            await self.node.send_message(to, f"{note.uid}|{to}|{way}", timeout=3)
            note.accepted = True
        except NoReply as error:
            note.outcomes.append(error)

    async def start(self, name: str, policy: str, capacity: int) -> None:
        """Start a worker, if its name is free."""
        self._starts += 1
        start = self._starts

        def make() -> Probe:
            return Probe(self.history, start)

        supervision = POLICIES[policy]
        worker = make if policy == "restart" else make()
        try:
            await self.node.start_worker(name, worker, supervision=supervision, mailbox_capacity=capacity)
        except WorkerExists:
            self.history.lives -= policy != "restart"

    def stop(self, name: str) -> None:
        """Stop a worker, in a task of its own."""
        self._nursery.start_soon(self._stop, name)

    async def _stop(self, name: str) -> None:
        with suppress(WorkerNotFound):
            await self.node.stop_worker(name, timeout=0.5)

    def tell(self, sender: int, to: str, way: str, timeout: float) -> None:
        """Let a sender send something, after all that it was told before."""
        self._orders[sender].send_nowait((to, way, timeout))

    def cancel(self, sender: int) -> None:
        """Cancel what a sender is waiting for."""
        if sender in self._scopes:
            self._scopes[sender].cancel()

    @staticmethod
    async def wait(seconds: float) -> None:
        """Let time pass."""
        await trio.sleep(seconds)

    def close(self) -> None:
        """Let the senders end when they have done all."""
        for orders in self._orders:
            orders.close()


Step = Callable[[World], object]


async def run_program(steps: list[Step]) -> None:
    """Run the steps on a fresh node and check the laws."""
    history = History()
    with trio.fail_after(10_000):  # virtual: a law is broken if anything hangs
        async with open_node("n", stall_warning=None, slice_clock=_Ticks().now) as node:
            node.on_dead_letter = history.dead_letter
            async with trio.open_nursery() as nursery:
                world = World(node, nursery, history)
                for step in steps:
                    result = step(world)
                    if result is not None:
                        await result  # type: ignore[misc]
                world.close()
            await trio.sleep(30)
            check_nothing_left(node)
    check(history)


class _Ticks:
    """A slice clock that knows no machine: each look at it takes a tenth of a millisecond."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        self.time += 0.0001
        return self.time


def check_nothing_left(node: Node) -> None:
    """No request, timer or task is left behind when nobody does anything."""
    figures = node.statistics()
    assert figures.waiting_requests == 0, "a request waits that nobody made (Q8)"
    assert figures.timers == 0
    tasks = len(node._nursery.child_tasks)  # workers, and the two that see to deadlines
    assert tasks == figures.workers + 2, f"{tasks} tasks for {figures.workers} workers"


def check(history: History) -> None:
    """Hold what happened against the promises."""
    assert not history.violations, history.violations
    for (sender, worker, _), uids in history.order.items():
        assert uids == sorted(uids), f"{worker} handled messages of {sender} out of order (D4): {uids}"
    for note in history.notes.values():
        check_note(note)


def check_note(note: Note) -> None:
    """Hold the story of one message against the promises."""
    assert len(set(note.handled_by)) == len(note.handled_by), f"handled twice (D1): {note}"
    if not note.wants_reply:
        if note.accepted:
            assert note.handled_by or note.dead, f"lost in silence (D3): {note}"
        elif note.outcomes:
            assert not note.handled_by, f"refused, yet handled: {note}"
        return
    assert len(note.outcomes) == 1, f"not exactly one outcome (Q3): {note}"
    outcome = note.outcomes[0]
    assert note.ended_at <= note.begun_at + note.timeout + 1e-9, f"later than its deadline (Q1): {note}"
    if isinstance(outcome, NoReply):
        assert "timeout" in str(outcome)
        if outcome.outcome == "not_sent":
            assert not note.handled_by, f"not sent, yet handled: {note}"
        if outcome.outcome == "handled":
            assert note.handled_by, f"handled, they say: {note}"
    elif outcome != "cancelled":
        assert outcome == str(note.uid), f"somebody else's reply: {note}"


class NodeMachine(RuleBasedStateMachine):
    """Collects steps; runs them at the end."""

    names = st.sampled_from(NAMES)
    senders = st.integers(0, SENDERS - 1)

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        for name in NAMES:
            self.steps.append(lambda world, name=name: world.start(name, "resume", 2))  # type: ignore[misc]

    @rule(name=names, policy=st.sampled_from(["resume", "stop", "restart"]), capacity=st.integers(1, 4))
    def start(self, name: str, policy: str, capacity: int) -> None:
        """A worker starts."""
        self.steps.append(lambda world: world.start(name, policy, capacity))

    @rule(name=names)
    def stop(self, name: str) -> None:
        """A worker is stopped."""
        self.steps.append(lambda world: world.stop(name))

    @rule(sender=senders, to=names, way=st.sampled_from(WAYS))
    def send(self, sender: int, to: str, way: str) -> None:
        """A message is sent."""
        self.steps.append(lambda world: world.tell(sender, to, way, 0.0))

    @rule(sender=senders, to=names, way=st.sampled_from(WAYS), timeout=st.sampled_from([0.1, 1.0, 5.0]))
    def ask(self, sender: int, to: str, way: str, timeout: float) -> None:
        """A request is made."""
        self.steps.append(lambda world: world.tell(sender, to, way, timeout))

    @rule(sender=senders)
    def cancel(self, sender: int) -> None:
        """A sender's call is cancelled."""
        self.steps.append(lambda world: world.cancel(sender))

    @rule(seconds=st.sampled_from([0.0, 0.2, 1.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.steps.append(lambda world: world.wait(seconds))

    def teardown(self) -> None:
        """Run all steps."""
        trio.run(run_program, self.steps, clock=trio.testing.MockClock(autojump_threshold=0))
