"""What clients asked and what they were told, in the order in which it happened: a `History` of `Call`s.

Nothing is judged here; `linearizability.py` reads what is recorded. Recording reads a clock that the caller gives and
touches nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal, final

from .._mixed.worlds import pause
from ..errors import NoReply

Ending = Literal["returned", "unknown", "never happened"]
"""What is known of a call: it returned its result; it may have happened at any time after its start, or not at all; it
did not happen and never will."""


@final
class Unseen:
    """The result of a call that nobody saw: it is equal to whatever it is compared with."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return hash(Unseen)

    def __repr__(self) -> str:
        return "?"


UNSEEN: Final = Unseen()
"""The one `Unseen`. Models compare results with ``==``, ``!=`` and ``in``, and so need no case for it."""


class Call:
    """One operation of one client, from its start to its end, if it has one.

    Attributes:
        client: Who called.
        operation: What was asked for, such as ``"read"``. The words are those of the model that judges the history.
        argument: With what.
        result: What came back; None before that.
        ending: What is known of it; ``"unknown"`` until it has ended.
        started: Seconds on the history's clock.
        ended: Likewise; None while it goes on.
    """

    def __init__(self, history: History, client: str, operation: str, argument: object) -> None:
        self.client = client
        self.operation = operation
        self.argument = argument
        self.result: object = None
        self.ending: Ending = "unknown"
        self.started = history.clock()
        self.ended: float | None = None
        self._history = history

    def ok(self, result: object = None) -> None:
        """Note that the call returned `result`, and so had its effect before now.

        A message that wants no reply has no such moment: `send_message` returns before it is handled. Leave such a call
        open, and it counts as one of unknown outcome.

        Raises:
            RuntimeError: The call has ended already.
        """
        self._end("returned")
        self.result = result

    def failed(self, error: BaseException) -> None:
        """Note that the call ended with `error`.

        A `NoReply` whose outcome is ``"not_sent"`` never happened. After any other error, cancellation included, the
        call may have had its effect, may yet have it, or may not: a handler that raised can have done half of its work,
        and can have left the rest to others.

        Raises:
            RuntimeError: The call has ended already.
        """
        never = isinstance(error, NoReply) and error.outcome == "not_sent"
        self._end("never happened" if never else "unknown")

    def _end(self, ending: Ending) -> None:
        if self.ended is not None:
            raise RuntimeError(f"this call has ended already: {self}. Each attempt of a client is a call of its own")
        self.ending = ending
        self.ended = self._history.clock()
        self._history.events.append(Event(self, "end"))

    def __str__(self) -> str:
        return f"{self.client}: {self.what()}, {self.when()}"

    __repr__ = __str__

    def what(self) -> str:
        """Return the call as text, ``write(1) -> 'ok'``, without who and when."""
        argument = "" if self.argument is None else repr(self.argument)
        told = {"returned": repr(self.result), "unknown": "?", "never happened": "not sent"}[self.ending]
        return f"{self.operation}({argument}) -> {told}"

    def when(self) -> str:
        """Return its times as text."""
        if self.ended is None:
            return f"from {self.started:.3f} s on"
        return f"{self.started:.3f} s to {self.ended:.3f} s"


@dataclass(frozen=True, slots=True)
class Event:
    """The start or the end of a call."""

    call: Call
    moment: Literal["start", "end"]


class History:
    """A recorder of operations as clients see them.

    What precedes what is the order in which it was recorded, for in virtual time much happens at one instant; times are
    for people.

    Args:
        clock: Called for the time in seconds; `trio.current_time` under Trio.

    Attributes:
        events: Starts and ends of calls, in order.

    Example:
        ```python
        history = History(clock=trio.current_time)


        async def client(name: str, node: Node) -> None:
            async with history.operation(name, "read") as call:
                call.result = await node.send_and_receive("register", "read", timeout=1)
        ```
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.events: list[Event] = []

    @property
    def calls(self) -> list[Call]:
        """All calls, in the order of their starts."""
        return [event.call for event in self.events if event.moment == "start"]

    def call(self, client: str, operation: str, argument: object = None) -> Call:
        """Note that `client` starts an operation. Whoever calls this ends it, by `Call.ok` or `Call.failed`, or leaves
        it open: then its outcome is unknown."""
        call = Call(self, client, operation, argument)
        self.events.append(Event(call, "start"))
        return call

    @asynccontextmanager
    async def operation(self, client: str, operation: str, argument: object = None) -> AsyncGenerator[Call]:
        """Record what the block does as one call: ``async with history.operation("client-1", "read") as call:``.

        Entering is a checkpoint, before the call starts, so that clients take turns. Leaving ends the call with the
        `Call.result` that the block has set, or by `Call.failed` with what it raised, which comes out.
        """
        await pause()
        call = self.call(client, operation, argument)
        try:
            yield call
        except BaseException as error:
            call.failed(error)
            raise
        call.ok(call.result)
