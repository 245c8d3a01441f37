"""Messages that are sent later, once or again and again.

Nobody waits behind a timer: a message that finds its mailbox full is carried on by a task of its own, and a periodic
timer leaves out the rounds that come due meanwhile instead of piling them up.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .._sansio.envelope import MESSAGE, Envelope
from .deadlines import Deadlines


class PendingTimer:
    """The handle of one timer; see `abc.Timer`."""

    __slots__ = ("_active", "_timers", "address", "body", "busy", "due", "forget", "number", "period", "sender")

    def __init__(self, timers: Timers, address: str, body: str, sender: str, period: float | None) -> None:
        self._timers = timers
        self._active = True
        self.address = address
        self.body = body
        self.sender = sender
        self.period = period
        self.number = 0
        self.due = 0.0
        self.busy = False
        self.forget: Callable[[PendingTimer], None] | None = None

    def __repr__(self) -> str:
        state = f"due at {self.due:g}" if self._active else "ended"
        every = "" if self.period is None else f" every {self.period:g} s"
        return f"<Timer to {self.address!r}{every}, {state}>"

    def cancel(self) -> bool:
        """Send nothing more. Return whether anything was still to be sent; cancelling twice does no harm."""
        was_active = self._active
        self._timers.deadlines.pending.pop(self.number, None)
        self._end()
        return was_active

    def _end(self) -> None:
        self._active = False
        if self.forget is not None:
            self.forget(self)

    def fire(self) -> None:
        """Send the message that is due, and think of the next."""
        if self.period is None:
            self._end()
        else:
            self._timers.schedule(self, self.due + self.period)
        if not self.busy:
            self._timers.send(self)


class Timers:
    """The timers of one node.

    Args:
        clock: Seconds.
        send: Brings a message to its worker without waiting; returns False if a task had to be left with it, and calls
            the function it is given once that is done.
    """

    def __init__(self, clock: Callable[[], float], send: Callable[[Envelope, Callable[[], None]], bool]) -> None:
        self._clock = clock
        self._send = send
        self._last = 0
        self.deadlines: Deadlines[PendingTimer] = Deadlines(clock, PendingTimer.fire)

    def start(self, delay: float, period: float | None, address: str, body: str, sender: str) -> PendingTimer:
        """Send ``body`` to ``address`` in `delay` seconds, and then every `period` seconds if that is not None."""
        timer = PendingTimer(self, address, body, sender, period)
        self.schedule(timer, self._clock() + delay)
        return timer

    def schedule(self, timer: PendingTimer, due: float) -> None:
        """Let a timer fire at `due`; rounds of a periodic one that are past already are left out."""
        late = self._clock() - due
        if late > 0 and timer.period is not None:
            due += math.ceil(late / timer.period) * timer.period
        self._last = timer.number = self._last + 1
        timer.due = due
        self.deadlines.add(timer.number, timer, due)

    def send(self, timer: PendingTimer) -> None:
        """Send a timer's message now."""

        def done() -> None:
            timer.busy = False

        envelope = Envelope(MESSAGE, timer.address, timer.body, 0, timer.sender)
        timer.busy = not self._send(envelope, done)

    def cancel_all(self) -> None:
        """Send nothing more."""
        for timer in list(self.deadlines.pending.values()):
            timer.cancel()
