"""Promised places in a mailbox, whatever senders here and there, links and the worker do (B1, B2, D4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, Node, open_node
from autonomy._actors.mailbox import Mailbox
from autonomy._actors.queue import Queue
from autonomy._actors.reserved import Reserved
from autonomy._sansio.envelope import Envelope

from .far import Far, target_of


@dataclass(frozen=True)
class Step:
    """Something happens `times` times, to one of three far senders if it is about them; then all act, or not yet."""

    what: str
    number: int
    times: int
    rests: bool


WHAT = ["far sends", "here sends", "to here", "to there", "handled", "cancelled", "flow ends"]
STEPS = st.lists(
    st.builds(Step, st.sampled_from(WHAT), st.integers(0, 2), st.integers(1, 4), st.booleans()),
    min_size=25,
    max_size=60,
)


class Here:
    """One who sends on this node, message after message."""

    def __init__(self, number: int, messages: int) -> None:
        self.messages = [f"here{number} {message}" for message in range(messages)]
        self.sent: list[str] = []
        self.scope = trio.CancelScope()

    async def run(self, node: Node) -> None:
        with self.scope:
            for message in self.messages:
                await node.send_message("target", message, timeout=1e9)
                self.sent.append(message)


class World:
    """A worker or a `Mailbox` of a program, which takes a message when it is let, and all who send to it."""

    def __init__(self, node: Node, nursery: trio.Nursery) -> None:
        self.node = node
        self.nursery = nursery
        self.received: list[str] = []
        self.leave = trio.Semaphore(0)
        self.here: list[Here] = []

    async def open(self, *, as_worker: bool, capacity: int) -> None:
        if as_worker:
            await self.node.start_worker("target", self, mailbox_capacity=capacity)
        else:
            self.nursery.start_soon(self.read, self.node._system.mailboxes.open("target", capacity))
        self.target = target_of(self.node, "target")
        self.far = [Far(self.target, f"far{number}") for number in range(3)]
        self.counts = [0, 0, 0]

    async def handle_message(self, context: Context, message: str) -> None:
        await self.leave.acquire()
        self.received.append(message)

    async def read(self, mailbox: Mailbox) -> None:
        while True:
            await self.leave.acquire()
            self.received.append(await mailbox.receive(timeout=1e9))

    async def take(self, step: Step) -> None:
        far = self.far[step.number]
        match step.what:
            case "far sends":
                first = self.counts[step.number]
                self.counts[step.number] += step.times
                far.send(*[f"{far.name} {first + more}" for more in range(step.times)])
            case "here sends":
                self.here.append(Here(len(self.here), step.times))
                self.nursery.start_soon(self.here[-1].run, self.node)
            case "to here":
                for _ in range(step.times):
                    far.step_here()
            case "to there":
                for _ in range(step.times):
                    far.step_there()
            case "handled":
                for _ in range(step.times):
                    self.leave.release()
            case "cancelled" if step.number < len(self.here):
                self.here[-1 - step.number].scope.cancel()
            case "flow ends":
                far.end()
        if step.rests:
            await wait_all_tasks_blocked()
        self.check()

    def check(self) -> None:
        promised = self.target.reserve()._room.ahead
        assert self.target.used() + promised <= self.target.capacity, "more is promised than there is room for"
        assert not any(far.refused for far in self.far), "a message came for which there was credit, and no place"

    async def finish(self) -> None:
        """Let everybody do what they can; then nobody waits, and everything was received once and in order."""
        for _ in range(1000):
            self.leave.release()
        idle = 0
        while idle < 3:
            before = len(self.received)
            for far in self.far:
                far.settle()
            await wait_all_tasks_blocked()
            self.check()
            idle = idle + 1 if before == len(self.received) else 0
        for here in self.here:
            assert here.scope.cancelled_caught or here.sent == here.messages, f"{here.messages} never got a place"
            assert [one for one in self.received if one in here.messages] == here.sent
        for far in self.far:
            assert not far.waiting, f"{far.waiting} never got a place"
            assert [one for one in self.received if one.startswith(far.name)] == far.arrived
            far.end()
        assert self.target.reserved is None

    async def close(self) -> None:
        """End it while flows are there; they are told."""
        for far in self.far:
            far.send("last")
            far.settle()
        if isinstance(self.target, Queue):
            await self.node.stop_worker("target")
        else:
            self.target.close()
        assert [far.reason is not None for far in self.far] == [True, True, True], "a flow was not told of the end"


def run(steps: Sequence[Step], *, as_worker: bool, capacity: int) -> None:
    """Play the steps, and check all laws."""

    async def play() -> None:
        async with open_node("n", stall_warning=None) as node, trio.open_nursery() as nursery:
            world = World(node, nursery)
            await world.open(as_worker=as_worker, capacity=capacity)
            for step in steps:
                await world.take(step)
            await world.finish()
            await world.close()
            nursery.cancel_scope.cancel()

    trio.run(play, clock=MockClock(autojump_threshold=0))


PLANS = settings(max_examples=150, deadline=None)


@pytest.mark.slow
@pytest.mark.parametrize("as_worker", [True, False])
def test_for_all_plans_promised_places_are_there_and_everybody_gets_a_place(as_worker: object) -> None:
    @PLANS
    @given(STEPS, st.integers(1, 5))
    def check(steps: list[Step], capacity: int) -> None:
        run(steps, as_worker=bool(as_worker), capacity=capacity)

    check()


def gives_away_what_is_promised(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reserved, "check", lambda self: None)


def forgets_that_one_has_left(patch: pytest.MonkeyPatch) -> None:
    plain = Reserved._wait_in_line

    async def broken(self: Reserved, envelope: Envelope) -> None:
        try:
            await plain(self, envelope)
        except trio.Cancelled:
            self._places.add(envelope)
            raise

    patch.setattr(Reserved, "_wait_in_line", broken)


def shares_out_nothing_later(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reserved, "serve", lambda self: None)


def tells_nobody_of_the_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reserved, "close", lambda self, reason: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "break_it",
    [
        gives_away_what_is_promised,
        forgets_that_one_has_left,
        shares_out_nothing_later,
        tells_nobody_of_the_end,
    ],
)
def test_the_laws_notice_a_broken_part(
    monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None]
) -> None:
    break_it(monkeypatch)

    @settings(PLANS, phases=[Phase.generate], report_multiple_bugs=False, database=None, max_examples=300)
    @given(STEPS, st.integers(1, 3))
    def broken(steps: list[Step], capacity: int) -> None:
        run(steps, as_worker=True, capacity=capacity)

    with pytest.raises(BaseExceptionGroup):
        broken()
