"""What happened in a simulated zone, as a list of moments: for people to read, and to tell one run from another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened.

    Attributes:
        at: Virtual seconds since the beginning.
        kind: ``"send"``, ``"receive"``, ``"link"``, ``"fault"``, ``"heal"``, ``"start"``, ``"stop"``,
            ``"print"``, ``"note"``.
        node: Where.
        peer: The other node, if there is one.
        number: The same for the sending and the receiving of one thing, and for the begin and the end of one fault.
        text: For people.
    """

    at: float
    kind: str
    node: str
    peer: str = ""
    number: int = 0
    text: str = ""

    def __str__(self) -> str:
        between = f"{self.node} → {self.peer}" if self.peer else self.node
        return f"{self.at:10.4f} {self.kind:8} {between} {self.text}".rstrip()


class Moments:
    """The moments of one run, in order.

    Args:
        clock: Virtual time.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.all: list[Moment] = []

    def note(self, kind: str, node: str, peer: str = "", number: int = 0, text: str = "") -> None:
        """Note that something happened now."""
        self.all.append(Moment(self._clock(), kind, node, peer, number, text))

    def hash(self) -> str:
        """Return what tells this run from others: the same for two runs if they were the same, moment by moment.

        How much was sent does not count: the traceback of a worker that failed names the files of this machine, and
        another Python draws it differently.
        """
        digest = hashlib.sha256()
        for moment in self.all:
            text = "" if moment.kind == "send" else moment.text
            digest.update(f"{moment.at!r} {moment.kind} {moment.node} {moment.peer} {moment.number} {text}\n".encode())
        return digest.hexdigest()[:16]
