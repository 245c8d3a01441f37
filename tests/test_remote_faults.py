"""Two or three nodes whose links are cut, refused and stalled while their senders send: nothing is handled twice, out
of order, or lost in silence."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Literal

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from autonomy import Context, DeadLetter, Node, NoReply, WorkerNotFound
from autonomy._actors.reserved import FarFlow, Reserved
from autonomy._exchange.outgoing import Outgoing
from autonomy._links.peer import Peer
from autonomy._sansio.cargo import Item
from autonomy._sansio.envelope import Envelope
from tests.workers import Echo
from tests.zone import FaultyNetwork, nodes

LARGE = 150_000
"""Characters: more than goes in one piece."""
WINDOW = 5.0
"""Seconds that a link may be away, with time to come back, so that nobody notices."""
WORKERS = ("x@a", "y@b", "z@b")

Key = tuple[str, int]
"""A sender, and the number of one of its messages."""


@dataclass(frozen=True)
class Send:
    """One sender sends to a worker, with some seconds to do so; later it may be cancelled."""

    sender: int
    worker: str
    kind: Literal["message", "request"]
    large: bool
    timeout: float


@dataclass(frozen=True)
class Cancel:
    """Cancel what a sender is at."""

    sender: int


@dataclass(frozen=True)
class Fault:
    """Something goes wrong between two nodes, for some seconds."""

    kind: Literal["cut", "stall", "part", "refuse"]
    between: tuple[str, str]
    seconds: float


@dataclass(frozen=True)
class Bounce:
    """A worker is stopped, and started again after some seconds."""

    worker: str
    seconds: float


@dataclass(frozen=True)
class Rest:
    """Time passes."""

    seconds: float


Step = Send | Cancel | Fault | Bounce | Rest


@dataclass
class Record:
    """What was seen of one run."""

    outcomes: dict[Key, str] = field(default_factory=dict)
    handled: list[tuple[str, int, Key]] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    kinds: dict[Key, str] = field(default_factory=dict)


def key_of(message: str) -> Key:
    """Return which message this is."""
    sender, number = message.rstrip(".").split()
    return sender, int(number)


class Notes:
    """A worker that notes what it handles, takes its time, and replies."""

    def __init__(self, name: str, life: int, record: Record) -> None:
        self._name, self._life, self._record = name, life, record

    async def handle_message(self, context: Context, message: str) -> None:
        sender, number = key = key_of(message)
        self._record.handled.append((self._name, self._life, key))
        await trio.sleep(0.03 * (number % 4))
        await context.reply(f"{sender} {number}")


class Sender:
    """Sends one after the other what it is told to, be it a task of the program or a worker."""

    def __init__(self, name: str, node: Node, record: Record) -> None:
        self.name, self._node, self._record = name, node, record
        self._numbers = itertools.count()
        self._orders, self._todo = trio.open_memory_channel[Send](1000)
        self._scope = trio.CancelScope()
        self.finished = trio.Event()

    def order(self, send: Send) -> None:
        """Have something sent behind what was ordered before."""
        self._orders.send_nowait(send)

    def cancel(self) -> None:
        """Cancel what is being sent."""
        self._scope.cancel()

    def finish(self) -> None:
        """Order nothing more."""
        self._orders.close()

    async def handle_message(self, context: Context, message: str) -> None:
        """Do it as a worker."""
        await self.run()

    async def run(self) -> None:
        """Send until there is nothing more to send."""
        async for send in self._todo:
            key = self.name, next(self._numbers)
            self._record.kinds[key] = send.kind
            with trio.CancelScope() as self._scope:
                self._record.outcomes[key] = await self._send(send, key)
            if self._scope.cancelled_caught:
                self._record.outcomes[key] = "cancelled"
        self.finished.set()

    async def _send(self, send: Send, key: Key) -> str:
        text = "{} {}".format(*key)
        body = text + "." * LARGE if send.large else text
        try:
            if send.kind == "message":
                await self._node.send_message(send.worker, body, timeout=send.timeout)
                return "sent"
            reply = await self._node.send_and_receive(send.worker, body, timeout=send.timeout)
        except NoReply as error:
            return f"{type(error).__name__} {error.outcome}"
        return "answered" if reply == text else f"answered wrongly: {reply}"


class Run:
    """One plan, carried out."""

    def __init__(self, names: list[str], capacity: int) -> None:
        self.names, self._capacity = names, capacity
        self.record = Record()
        self._network = FaultyNetwork()
        self._lives: Counter[str] = Counter()

    async def __call__(self, steps: list[Step]) -> None:
        async with AsyncExitStack() as stack:
            opened = await stack.enter_async_context(nodes(*self.names, network=self._network))
            self._nodes = dict(zip(self.names, opened, strict=True))
            for node in opened:
                node.on_dead_letter = self.record.letters.append
                await node.start_worker("echo", Echo())
            for worker in WORKERS:
                await self._start(worker)
            async with trio.open_nursery() as self._nursery:
                self._senders = await self._start_senders()
                for step in steps:
                    await self._do(step)
                for sender in self._senders:
                    sender.finish()
                with trio.fail_after(60 + 31 * len(steps)):  # each step waits for 30 s at most
                    for sender in self._senders:
                        await sender.finished.wait()
            await trio.sleep(60)
            await self._check_peace()
        await trio.lowlevel.checkpoint()

    async def _start(self, worker: str) -> None:
        name, _, node = worker.partition("@")
        self._lives[worker] += 1
        notes = Notes(worker, self._lives[worker], self.record)
        await self._nodes[node].start_worker(name, notes, mailbox_capacity=self._capacity, on_conflict="keep")

    async def _start_senders(self) -> list[Sender]:
        senders = [Sender(f"program-{name}", node, self.record) for name, node in self._nodes.items()]
        for sender in senders:
            self._nursery.start_soon(sender.run)
        for name, node in self._nodes.items():
            worker = Sender(f"worker-{name}", node, self.record)
            await node.start_worker("sender", worker)
            await node.send_message("sender", "go")
            senders.append(worker)
        return senders

    async def _do(self, step: Step) -> None:
        match step:
            case Send():
                self._senders[step.sender % len(self._senders)].order(step)
                await trio.lowlevel.checkpoint()
            case Cancel():
                self._senders[step.sender % len(self._senders)].cancel()
            case Fault():
                self._break(step)
                self._nursery.start_soon(self._heal_later, step)
            case Bounce():
                self._nursery.start_soon(self._bounce, step)
            case Rest():
                await trio.sleep(step.seconds)

    def _break(self, fault: Fault) -> None:
        match fault.kind:
            case "cut":
                self._network.cut(*fault.between)
            case "stall":
                self._network.silence(*fault.between)
            case "part":
                self._network.part(*fault.between)
            case "refuse":
                self._network.stop_listening(*fault.between)

    async def _heal_later(self, fault: Fault) -> None:
        await trio.sleep(fault.seconds)
        self._network.heal(*fault.between)

    async def _bounce(self, step: Bounce) -> None:
        name, _, node = step.worker.partition("@")
        try:
            await self._nodes[node].stop_worker(name, timeout=0.1)
        except WorkerNotFound:
            return
        await trio.sleep(step.seconds)
        await self._start(step.worker)

    async def _check_peace(self) -> None:
        """Check that everybody reaches everybody again, and that nobody waits or keeps anything."""
        for node in self._nodes.values():
            for other in self.names:
                assert await node.send_and_receive(f"echo@{other}", "hello", timeout=10) == "hello"
        await trio.sleep(1)
        for node in self._nodes.values():
            seen = node.statistics()
            assert (seen.queued, seen.waiting_requests) == (0, 0)
            assert seen.links == len(self.names) - 1


def check(record: Record) -> None:
    """Check what holds in every run."""
    times = Counter(key for _, _, key in record.handled)
    assert [key for key, count in times.items() if count > 1] == [], "handled twice"
    by_sender: dict[tuple[str, int, str], list[int]] = {}
    for worker, life, (sender, number) in record.handled:
        by_sender.setdefault((worker, life, sender), []).append(number)
    for numbers in by_sender.values():
        assert numbers == sorted(numbers), "handled out of order"
    reported = {key_of(letter.message) for letter in record.letters}
    assert set(record.outcomes) == set(record.kinds), "something has no outcome"
    for key, outcome in record.outcomes.items():
        match record.kinds[key], outcome:
            case "message", "sent":
                assert times[key] or key in reported, f"{key} was lost in silence"
            case "message", _:
                assert not times[key], f"{key} was handled, and its sender was told: {outcome}"
                assert key not in reported, f"{key} is a dead letter, and its sender was told: {outcome}"
            case "request", "answered":
                assert times[key], f"{key} was answered by nobody"
            case "request", "cancelled":
                pass
            case "request", _:
                assert outcome.endswith(("not_sent", "maybe_handled")), outcome
                assert not (outcome.endswith("not_sent") and times[key]), f"{key} was handled, but: {outcome}"


def check_mild(record: Record) -> None:
    """Check what holds if no link was away for longer than the window, and no worker ended."""
    check(record)
    assert record.letters == []
    assert not [outcome for outcome in record.outcomes.values() if outcome.startswith("NodeDown")]


def sends(senders: int) -> st.SearchStrategy[Step]:
    """Return what makes sends."""
    return st.builds(
        Send,
        st.integers(0, senders - 1),
        st.sampled_from(WORKERS),
        st.sampled_from(["message", "request"]),
        st.sampled_from([False, False, False, False, True]),
        st.sampled_from([0.3, 3.0, 30.0]),
    )


def plans(count: int, *, mild: bool) -> st.SearchStrategy[list[Step]]:
    """Return what makes plans for so many nodes."""
    pairs = list(itertools.permutations(["a", "b", "c"][:count], 2))
    rests = st.builds(Rest, st.sampled_from([0.0, 0.01, 0.1, 1.0, 4.0]))
    cancels = st.builds(Cancel, st.integers(0, 2 * count - 1))
    send = sends(2 * count)
    if mild:
        fault = st.builds(
            Fault,
            st.sampled_from(["cut", "stall", "part"]),
            st.sampled_from(pairs),
            st.sampled_from([0.1, 1.0, WINDOW]),
        )
        outage = st.tuples(fault, st.lists(send | cancels, max_size=4)).map(
            lambda made: [made[0], *made[1], Rest(WINDOW + 4)]
        )
        steps = st.lists(st.lists(send | cancels | rests, max_size=8) | outage, max_size=8)
        return steps.map(lambda parts: [step for part in parts for step in part])
    fault = st.builds(
        Fault,
        st.sampled_from(["cut", "cut", "stall", "part", "refuse"]),
        st.sampled_from(pairs),
        st.sampled_from([0.1, 1.0, 6.0, 15.0]),
    )
    bounce = st.builds(Bounce, st.sampled_from(WORKERS), st.sampled_from([0.0, 1.0]))
    return st.lists(send | send | send | cancels | rests | fault | bounce, max_size=50)


def run(count: int, capacity: int, steps: list[Step], verdict: Callable[[Record], None]) -> None:
    """Carry out a plan and judge what was seen."""
    logging.getLogger("autonomy").setLevel(logging.CRITICAL)
    carried_out = Run(["a", "b", "c"][:count], capacity)
    try:
        trio.run(carried_out, steps, clock=MockClock(autojump_threshold=0))
    finally:
        logging.getLogger("autonomy").setLevel(logging.NOTSET)
    verdict(carried_out.record)


FAULTS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.slow
@given(count=st.integers(2, 3), capacity=st.integers(1, 3), data=st.data())
@settings(FAULTS, max_examples=120)
def test_for_all_faults_nothing_is_handled_twice_out_of_order_or_lost_in_silence(
    count: int, capacity: int, data: st.DataObject
) -> None:
    run(count, capacity, data.draw(plans(count, mild=False)), check)


@pytest.mark.slow
@given(count=st.integers(2, 3), capacity=st.integers(1, 3), data=st.data())
@settings(FAULTS, max_examples=80)
def test_for_all_outages_within_the_window_nothing_is_lost(count: int, capacity: int, data: st.DataObject) -> None:
    run(count, capacity, data.draw(plans(count, mild=True)), check_mild)


# --- the checks notice what they are for


def arrives_twice(reserved: Reserved, flow: FarFlow, envelope: Envelope) -> bool:
    """Put what has come from afar into the mailbox twice."""
    arrived = ARRIVE(reserved, flow, envelope)
    reserved._places.add(envelope)
    return arrived


async def does_not_wait(peer: Peer, item: Item) -> None:
    """Return before a large item has gone, so that later ones overtake it."""
    await trio.lowlevel.checkpoint()
    peer.tell(item)


def says_nothing(outgoing: Outgoing, items: Iterable[Item], targets: dict[int, str], reason: str) -> None:
    """Forget what was lost."""


ARRIVE = Reserved.arrive
LARGE_AND_SMALL: list[Step] = [
    Send(0, "y@b", "message", large=False, timeout=30.0),
    Rest(1.0),
    Fault("stall", ("a", "b"), 1.0),
    *(Send(0, "y@b", "message", large=number % 4 == 0, timeout=30.0) for number in range(8)),
]
ACROSS_A_PARTITION: list[Step] = [
    Send(0, "y@b", "message", large=False, timeout=30.0),
    Rest(1.0),
    Fault("part", ("a", "b"), 15.0),
    Send(0, "y@b", "message", large=False, timeout=30.0),
    Rest(20.0),
]
ONE_BY_ONE: list[Step] = [
    step for _ in range(8) for step in (Send(0, "y@b", "message", large=False, timeout=30.0), Rest(0.1))
]


@pytest.mark.parametrize(
    ("part", "name", "broken", "steps", "noticed"),
    [
        (Reserved, "arrive", arrives_twice, ONE_BY_ONE, "handled twice"),
        (Peer, "send", does_not_wait, LARGE_AND_SMALL, "out of order"),
        (Outgoing, "_report", says_nothing, ACROSS_A_PARTITION, "lost in silence"),
    ],
)
def test_the_check_of_faults_notices_a_broken_part(
    part: type, name: str, broken: object, steps: list[Step], noticed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(2, 100, steps, check)
    monkeypatch.setattr(part, name, broken)

    with pytest.raises((AssertionError, BaseExceptionGroup), match=noticed):
        run(2, 100, steps, check)
