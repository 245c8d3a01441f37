"""The places of one mailbox that are promised to senders on other nodes, and the line of those here who wait.

`Room` decides what is promised; here that meets a mailbox, whose own waiting knows nothing of promises. So while there
are flows, whoever sends on this node asks `check` first and, without a place, waits in the line here. Who was waiting
inside the mailbox before the first flow came is served there: until the last of them has a place the mailbox is full,
and nothing is promised.

Nothing here waits but `put`, so a link's reader may call everything else.
"""

from __future__ import annotations

from typing import Protocol

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

from .._sansio.credit import Room
from .._sansio.envelope import Envelope
from .._sansio.points import buggify
from .parking import WAKE


class FarFlow(Protocol):
    """One sender on another node, to one mailbox here. Each is itself alone: hashed and compared by identity."""

    def __hash__(self) -> int:
        """As every object's that is equal to itself alone."""

    def grant(self, total: int) -> None:
        """Tell the far sender how many messages it may send, counted from its beginning."""

    def ask_back(self) -> None:
        """Ask the far sender to give back what it does not use; `Reserved.give_back` has its answer."""

    def closed(self, reason: str) -> None:
        """The mailbox is gone, and nothing more is taken. The flow is forgotten already."""


class Places(Protocol):
    """A mailbox, as far as it has places."""

    capacity: int

    def used(self) -> int:
        """Return how many places have a message in them, exactly."""

    def add(self, envelope: Envelope) -> None:
        """Put a message into a place, of which there is one, and wake the reader."""

    def look_again(self) -> None:
        """Let the reader look again, if it waits."""

    def begin(self) -> None:
        """There are flows now: nobody here may put a message unasked."""

    def end(self) -> None:
        """There are no flows any more."""


class Reserved:
    """The promised places of one mailbox, for all its life; without flows it has nothing to do with it.

    Args:
        places: The mailbox.
    """

    __slots__ = ("_is_on", "_line", "_places", "_reason", "_room", "_someone_waits")

    def __init__(self, places: Places) -> None:
        self._places = places
        self._room: Room[FarFlow] = Room(places.capacity)
        self._line: dict[Task, Envelope] = {}
        self._someone_waits = False
        """Whether there is somebody in the line, or a flow that wants something and has nothing."""
        self._is_on = False
        self._reason: str | None = None

    # --- for senders on other nodes

    def want(self, flow: FarFlow, total: int) -> None:
        """A flow, new or not, would send so many messages, counted from its beginning. It is granted what can be.

        A mailbox that is gone tells the flow so.
        """
        if self._reason is not None:
            flow.closed(self._reason)
            return
        if not self._is_on:
            self._is_on = True
            self._places.begin()
        self._room.want(flow, total)
        self.serve()

    def arrive(self, flow: FarFlow, envelope: Envelope) -> bool:
        """Put a flow's message into its place. Return whether it had one; if not, its sender broke the rule.

        After `FarFlow.closed` no message has a place, and nobody broke a rule.
        """
        if not self._room.arrive(flow):
            return False
        self._places.add(envelope)
        if self._room.starves(flow):
            self.serve()
        return True

    def pass_over(self, flow: FarFlow) -> bool:
        """Let a flow's message have had its place, though it is not taken; return whether it had one."""
        had_place = self._room.arrive(flow)
        self.serve()
        return had_place

    def give_back(self, flow: FarFlow, sent: int) -> None:
        """A flow gives back what it has not used: it has sent so many messages. If it wants more, it says so anew."""
        self._room.give_back(flow, sent)
        self.serve()

    def close_flow(self, flow: FarFlow) -> None:
        """A flow has ended, or was never known: it holds no places, and is told nothing more."""
        self._room.close(flow)
        self.serve()

    # --- for senders on this node

    def check(self) -> None:
        """Claim a place for a message that is put at once.

        Raises:
            trio.WouldBlock: There is none that is not promised, or others wait for one. Flows were asked for what they
                do not use.
        """
        if self._someone_waits or not self._room.is_free(self._places.used()):
            self._share_out(1)
            if self._line or not self._room.is_free(self._places.used()):
                raise trio.WouldBlock
        self._room.taken_here()

    async def put(self, envelope: Envelope) -> None:
        """Add a message, waiting for a place behind those who wait already. Cancelled, it was not added.

        Raises:
            trio.ClosedResourceError: The mailbox was closed meanwhile. The message was not added.
        """
        await checkpoint_if_cancelled()
        try:
            self.check()
        except trio.WouldBlock:
            await self._wait_in_line(envelope)
        else:
            self._places.add(envelope)
            await cancel_shielded_checkpoint()

    async def _wait_in_line(self, envelope: Envelope) -> None:
        task = current_task()
        self._line[task] = envelope
        self._someone_waits = True

        def leave(_: RaiseCancelT) -> Abort:
            del self._line[task]
            return Abort.SUCCEEDED

        try:
            await wait_task_rescheduled(leave)
        except BaseException:  # not in `leave`: of those that are cancelled at once, Trio's order is nobody's
            self.serve()
            self._places.look_again()  # it is idle now, if this one was all that it had to wait for
            raise

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody on this node waits for a place."""
        return bool(self._line)

    # --- for the mailbox

    def taken(self) -> None:
        """A message was taken. Many free places are shared out better than one, so nothing is done until half are."""
        if self._someone_waits and (2 * self._places.used() <= self._places.capacity or buggify("few places")):
            self.serve()

    def serve(self) -> None:
        """Share out what is free, and have done with it if there is nobody left to share with."""
        if self._is_on:
            self._share_out(0)
            if not self._line and not self._room.flows:
                self._is_on = False
                self._places.end()

    def _share_out(self, more_here: int) -> None:
        """Grant places, let those in the line in, ask for what is unused; `more_here` are about to join the line."""
        used = self._places.used()
        granted = self._room.grant(used, len(self._line) + more_here)
        while self._line and self._room.is_free(used):
            task = next(iter(self._line))
            self._places.add(self._line.pop(task))
            self._room.taken_here()
            used += 1
            reschedule(task, WAKE)
        asked = self._room.ask_back(used, len(self._line) + more_here)
        self._someone_waits = bool(self._line) or self._room.starving > 0
        for flow, total in granted.items():  # last, as nobody knows what they call
            flow.grant(total)
        for flow in asked:
            flow.ask_back()

    def empty_line(self) -> list[Envelope]:
        """Let those in the line go on as if they had got a place; return their messages."""
        left = list(self._line.values())
        for task in self._line:
            reschedule(task, WAKE)
        self._line.clear()
        return left

    def close(self, reason: str) -> None:
        """The mailbox is gone: tell every flow, and whoever is in the line."""
        flows = self._room.flows
        self._room = Room(self._places.capacity)
        self._reason = reason
        if self._is_on:
            self._is_on = False
            self._places.end()
        for task in self._line:
            reschedule(task, outcome.Error(trio.ClosedResourceError("the mailbox was closed")))
        self._line.clear()
        for flow in flows:
            flow.closed(reason)
