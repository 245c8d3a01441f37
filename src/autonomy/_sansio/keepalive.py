"""When to ask a silent far node for a sign of life, and when to give a connection up.

Any frame is a sign of life, so nothing is asked while there is traffic. A connection without one is suspected and
dropped, to be dialled anew; that a node is down is for `session` to say, which outlives connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from .border import check_delay


@dataclass(frozen=True, slots=True)
class Liveness:
    """How soon a silent node is noticed, in seconds. There are no other figures.

    Args:
        heartbeat: After so long without anything sent, something is sent.
        suspect: After so long without anything received, the connection is dropped and dialled anew.
        down: After so long without anything received, on whatever connection, the node is down.

    Raises:
        TypeError: A value is not a number.
        ValueError: A value is not positive, or they do not grow: heartbeat, then suspect, then down.
    """

    heartbeat: float = 2.0
    suspect: float = 4.0
    down: float = 10.0

    def __post_init__(self) -> None:
        for name in ("heartbeat", "suspect", "down"):
            check_delay(getattr(self, name), f"Liveness: {name}", zero=False)
        if not self.heartbeat < self.suspect < self.down:
            raise ValueError(
                f"Liveness: heartbeat ({self.heartbeat}), suspect ({self.suspect}) and down ({self.down}) must grow, "
                "for instance 2, 4, 10"
            )


LIVENESS: Final = Liveness()
"""The figures of D2."""


class Sign(Enum):
    """What is to be done about a connection."""

    NOTHING = "nothing"
    PING = "ping"
    """Send something that wants an answer."""
    SUSPECT = "suspect"
    """Drop it."""


class Keepalive:
    """The pulse of one connection.

    Args:
        liveness: The figures.
        now: When the connection began.
    """

    __slots__ = ("_liveness", "_pinged", "_received", "_sent")

    def __init__(self, liveness: Liveness, now: float) -> None:
        self._liveness = liveness
        self._sent = self._received = now
        self._pinged = False

    def sent(self, now: float) -> None:
        """Something was sent."""
        self._sent = now

    def received(self, now: float) -> None:
        """Something came then, and it may be known already."""
        if now > self._received:
            self._received = now
            self._pinged = False

    def look(self, now: float) -> Sign:
        """Say what is due. A ping counts as sent."""
        if now >= self._received + self._liveness.suspect:
            return Sign.SUSPECT
        silent = now >= self._received + self._liveness.heartbeat and not self._pinged
        if silent or now >= self._sent + self._liveness.heartbeat:
            self._pinged = True
            self._sent = now
            return Sign.PING
        return Sign.NOTHING

    @property
    def deadline(self) -> float:
        """When to look next."""
        beat = self._liveness.heartbeat
        due = min(self._received + self._liveness.suspect, self._sent + beat)
        return due if self._pinged else min(due, self._received + beat)
