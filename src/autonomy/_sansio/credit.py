"""Room in a mailbox for those who send from other nodes: granted ahead, never exceeded, shared out fairly.

A flow is one far node that sends to one worker here. It sends only what it has been granted, so nothing that arrives
finds a full mailbox, and whoever reads a link never waits. What is granted and has not come counts as taken: places
granted plus messages queued are never more than the mailbox holds. `Room` decides for one mailbox what to grant; `Flow`
is the same account at the sender. Totals count from the beginning of the flow, so to say one twice does no harm.

Nothing is granted to a flow that has not said that it wants something. One that sends now and then asks for a few
places ahead, one that is held up by its credit for more. What is granted and not used is asked back when others have
nothing: those who send from this node, and flows that have nothing and find no free place. Who gives back asks for
nothing ahead until it sends again, so an idle flow keeps no places from others.

Those who send from this node wait in one line. Where there are fewer free places than flows that have nothing, that
line and the flows take turns.

Source: credit-based flow control as in QUIC's MAX_DATA, with reservations.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

F = TypeVar("F", bound=Hashable)
WINDOW: Final = 512
"""Places that a flow has ahead at most: enough for a worker that empties its mailbox faster than a link brings news."""
FIRST_WINDOW: Final = 16
"""Places that a flow asks for ahead before it was ever held up: enough for one caller who asks and waits."""


@dataclass(slots=True)
class _Account:
    granted: int = 0
    arrived: int = 0
    wanted: int = 0
    """How many messages the sender has had to send, from the beginning, and would have ahead."""
    sent: int = 0
    """How many it had sent when it last gave back; what has not arrived of these is on its way."""
    asked_back: bool = False

    @property
    def ahead(self) -> int:
        return self.granted - self.arrived

    @property
    def unused(self) -> int:
        """Places that may be unused, for all that is known here."""
        return self.granted - max(self.sent, self.arrived)

    @property
    def wants(self) -> bool:
        # Nothing for those who were asked to give back: what they answer is about what they had when they were asked.
        return self.wanted > self.granted and not self.asked_back

    @property
    def starves(self) -> bool:
        return self.wanted > self.granted == self.arrived and not self.asked_back


class Room(Generic[F]):
    """The places of one mailbox, as far as they are granted to flows.

    Args:
        capacity: How many messages the mailbox holds.

    Attributes:
        ahead: Places that are granted and not used.
        window: Places that one flow has ahead at most.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.window = min(WINDOW, max(1, capacity // 2))
        self.ahead = 0
        self._flows: dict[F, _Account] = {}  # those that were served last are last
        self._here_is_next = False

    @property
    def flows(self) -> list[F]:
        """The flows that have wanted something and have not ended."""
        return list(self._flows)

    @property
    def starving(self) -> int:
        """How many flows want something and have nothing."""
        return sum(account.starves for account in self._flows.values())

    def starves(self, flow: F) -> bool:
        """Whether a flow wants something and has nothing."""
        account = self._flows.get(flow)
        return account is not None and account.starves

    def is_free(self, queued: int) -> bool:
        """Whether somebody on this node may put a message, with so many in the mailbox."""
        return queued + self.ahead < self.capacity

    def taken_here(self) -> None:
        """Somebody on this node has put a message; flows that have nothing are next."""
        self._here_is_next = False

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
        """A flow gives back what it has not used: of all that it was granted it has sent only so many.

        If it has more to send, it says so anew.
        """
        account = self._flows.get(flow)
        if account is not None:
            account.asked_back = False
            account.sent = max(account.sent, min(sent, account.granted))
            unused = account.unused
            account.granted -= unused
            account.wanted = account.granted
            self.ahead -= unused

    def close(self, flow: F) -> None:
        """A flow has ended: its session is over, or its node has let it go."""
        account = self._flows.pop(flow, None)
        if account is not None:
            self.ahead -= account.ahead

    def grant(self, queued: int, waiting_here: int) -> dict[F, int]:
        """Grant what can be granted with so many messages in the mailbox; return the new totals.

        Each flow that wants something and has nothing gets one place, those that have waited longest first; then all
        are filled up in turn. Small amounts are left for later, so that grants come in handfuls. A fair share stays
        free for as many as wait on this node.
        """
        free = self.capacity - queued - self.ahead
        wanting = [item for item in self._flows.items() if item[1].wants]
        if free <= 0 or not wanting:
            return {}
        starving = [item for item in wanting if item[1].starves]
        kept = min(waiting_here, self._share_here(free, len(wanting), len(starving)))
        granted: dict[F, int] = {}
        for flow, account in starving[: free - kept]:
            self._give(flow, account, 1, granted)
        free -= kept + len(granted)
        while free > 0 and wanting:
            share = max(free // len(wanting), 1)
            still = []
            for flow, account in wanting:
                amount = min(share, free, account.wanted - account.granted, self.window - account.ahead)
                if amount <= 0 or (flow not in granted and amount < self._handful(account)):
                    continue
                self._give(flow, account, amount, granted)
                free -= amount
                still.append((flow, account))
            wanting = still
        for flow in granted:  # the others first, the next time
            self._flows[flow] = self._flows.pop(flow)
        if waiting_here and not kept:
            self._here_is_next = True
        return granted

    def _share_here(self, free: int, wanting: int, starving: int) -> int:
        """Return how many of the free places are for those on this node, if that many wait."""
        if free > starving:
            return max(free // (wanting + 1), 1)
        return 1 if self._here_is_next else 0

    def _give(self, flow: F, account: _Account, amount: int, granted: dict[F, int]) -> None:
        account.granted += amount
        self.ahead += amount
        granted[flow] = account.granted

    def _handful(self, account: _Account) -> int:
        return min(max(self.window // 2, 1), account.wanted - account.granted)

    def ask_back(self, queued: int, waiting_here: int) -> list[F]:
        """Return the flows to ask for what they do not use, as others have no place: flows, or so many on this node.

        Nobody is asked while messages in the mailbox will make places for those soon enough: in a mailbox that is busy
        its flows have nothing ahead but what is on its way. It is enough for a flow to have one place, whereas those on
        this node need not put up with a mailbox that is more promised than full.
        """
        if self.is_free(queued):
            return []
        is_promised = waiting_here > 0 and 2 * queued < self.capacity
        if not is_promised and waiting_here + self.starving <= queued:
            return []
        asked = []
        for flow, account in self._flows.items():
            if account.unused > 0 and not account.asked_back:
                account.asked_back = True
                asked.append(flow)
        return asked


class Flow:
    """One flow, at its sender.

    Somebody who has to wait for credit says so by `stalled`; whenever something was sent, or waits, `want` tells what
    to say to the far node.

    Attributes:
        sent: How many messages were sent.
        total: How many may be, from the beginning.
        speak_at: When so many were sent, `want` has something to say, also if nobody waits.
    """

    __slots__ = ("_gave_back_at", "_said", "_stalled_at", "_window", "sent", "speak_at", "total")

    def __init__(self) -> None:
        self.sent = 0
        self.total = 0
        self.speak_at = 0
        self._said = 0
        self._window = FIRST_WINDOW
        self._gave_back_at = 0
        """What was sent when it last gave back: as long as that is all, it asks for nothing ahead."""
        self._stalled_at = 0
        """The total at which a sender last had to wait: others that wait at the same say nothing new."""

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

    def take_back(self) -> None:
        """The last message was not sent after all."""
        self.sent -= 1

    def stalled(self) -> None:
        """Somebody has to wait for credit; ask for more ahead, unless there was none to begin with."""
        if self.total > self._stalled_at:
            self._stalled_at = self.total
            self._window = min(2 * self._window, WINDOW)
            self._plan()

    def want(self, waiting: int) -> int | None:
        """Return what to say is wanted, with so many messages waiting; None if that has been said, or nearly so."""
        window = self._window if waiting or self.sent > self._gave_back_at else 0
        wanted = self.sent + max(waiting, window)
        is_much = wanted - self._said >= self._window // 2
        is_missed = waiting > self.credit and self.sent + waiting > self._said
        if not is_much and not is_missed:
            return None
        self._said = wanted
        self._plan()
        return wanted

    def _plan(self) -> None:
        """Reckon `speak_at`: half a window before what is wanted is sent, if a window is asked ahead."""
        self.speak_at = max(self._said - self._window + self._window // 2, self._gave_back_at + 1)

    def give_back(self) -> int:
        """Give back what is unused; return how many were sent. Whoever waits has to `want` anew."""
        self.total = self._said = self._gave_back_at = self._stalled_at = self.sent
        self._window = FIRST_WINDOW
        self._plan()
        return self.sent
