"""Room in a mailbox for those who send from other nodes: granted ahead, never exceeded, shared out fairly.

A flow is one far node that sends to one worker here. It sends only what it has been granted, so nothing that arrives
finds a full mailbox, and whoever reads a link never waits. What is granted and has not come counts as taken: places
granted plus messages queued are never more than the mailbox holds. `Room` decides for one mailbox what to grant; `Flow`
is the same account at the sender. Totals count from the beginning of the flow, so to say one twice does no harm.

Nothing is granted to a flow that has not said that it wants something: an idle one holds no places. Places that are
granted and not used can be asked back, when those who send from this node have none.

Source: credit-based flow control as in QUIC's MAX_DATA, with reservations.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

F = TypeVar("F", bound=Hashable)
WINDOW: Final = 64
"""Places that a flow has ahead at most: enough for a worker that empties its mailbox faster than a link brings news."""


@dataclass(slots=True)
class _Account:
    granted: int = 0
    arrived: int = 0
    wanted: int = 0
    """How many messages the sender has had to send, from the beginning; it says so when it runs out of credit."""
    asked_back: bool = False

    @property
    def ahead(self) -> int:
        return self.granted - self.arrived

    @property
    def wants(self) -> bool:
        return self.wanted > self.granted


class Room(Generic[F]):
    """The places of one mailbox, as far as they are granted to flows.

    Args:
        capacity: How many messages the mailbox holds.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.ahead = 0
        """Places that are granted and not used."""
        self._flows: dict[F, _Account] = {}

    def is_free(self, queued: int) -> bool:
        """Whether somebody on this node may put a message, with so many in the mailbox."""
        return queued + self.ahead < self.capacity

    def want(self, flow: F, wanted: int) -> None:
        """A flow has so many messages to send in all, counted from its beginning."""
        account = self._flows.setdefault(flow, _Account())
        account.wanted = max(account.wanted, wanted)

    def arrive(self, flow: F) -> bool:
        """A message of a flow has come. Return whether it had a place; if not, its sender broke the rule."""
        account = self._flows.get(flow)
        if account is None or account.ahead <= 0:
            return False
        account.arrived += 1
        self.ahead -= 1
        return True

    def give_back(self, flow: F, sent: int) -> None:
        """A flow gives back what it has not used: of all that it was granted it has sent only so many."""
        account = self._flows.get(flow)
        if account is not None:
            account.asked_back = False
            unused = max(account.granted - max(sent, account.arrived), 0)
            account.granted -= unused
            self.ahead -= unused

    def close(self, flow: F) -> None:
        """A flow has ended: its session is over, or its node has let it go."""
        account = self._flows.pop(flow, None)
        if account is not None:
            self.ahead -= account.ahead

    def grant(self, queued: int) -> dict[F, int]:
        """Grant what can be granted with so many messages in the mailbox; return the new totals.

        Each flow that wants something and has nothing gets one place, those that have waited longest first; then all
        are filled up in turn. Small amounts are left for later, so that grants come in handfuls.
        """
        free = self.capacity - queued - self.ahead
        # Nothing for those who were asked to give back: what they answer is about what they had when they were asked.
        wanting = [item for item in self._flows.items() if item[1].wants and not item[1].asked_back]
        granted: dict[F, int] = {}
        while free > 0 and wanting:
            share = max(free // len(wanting), 1)
            still = []
            for flow, account in wanting:
                amount = min(share, free, account.wanted - account.granted, WINDOW - account.ahead)
                if amount <= 0 or (account.ahead and amount < self._handful(account)):
                    continue
                account.granted += amount
                self.ahead += amount
                free -= amount
                granted[flow] = account.granted
                if account.wants and account.ahead < WINDOW:
                    still.append((flow, account))
            wanting = still
        for flow in granted:  # the next ones first, the next time
            self._flows[flow] = self._flows.pop(flow)
        return granted

    def _handful(self, account: _Account) -> int:
        return min(WINDOW // 2, account.wanted - account.granted)

    def ask_back(self, queued: int) -> list[F]:
        """Return the flows to ask for what they do not use, as somebody on this node waits for a place."""
        if self.is_free(queued):
            return []
        asked = []
        for flow, account in self._flows.items():
            if account.ahead and not account.asked_back:
                account.asked_back = True
                asked.append(flow)
        return asked


class Flow:
    """One flow, at its sender.

    Attributes:
        sent: How many messages were sent.
        total: How many may be, from the beginning.
    """

    __slots__ = ("_said", "sent", "total")

    def __init__(self) -> None:
        self.sent = 0
        self.total = 0
        self._said = 0

    @property
    def credit(self) -> int:
        """How many messages may be sent now."""
        return self.total - self.sent

    def granted(self, total: int) -> None:
        """More may be sent. One that was overtaken by a later one, or by `give_back`, changes nothing."""
        self.total = max(self.total, total)

    def send(self) -> None:
        """One message is sent; there must be credit."""
        if self.credit <= 0:
            raise AssertionError("a message was sent without credit")
        self.sent += 1

    def want(self, waiting: int) -> int | None:
        """Return what to say is wanted, with so many messages waiting; None if that has been said."""
        wanted = self.sent + waiting
        if waiting <= self.credit // 2 or wanted <= self._said:
            return None
        self._said = wanted
        return wanted

    def give_back(self) -> int:
        """Give back what is unused; return how many were sent."""
        self.total = self._said = self.sent
        return self.sent
