"""A sender on another node, as a worker's mailbox sees it, over a link that takes as long as a test likes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import trio

from autonomy import Node
from autonomy._actors.inbox import Inbox
from autonomy._actors.queue import Queue
from autonomy._sansio.credit import Flow
from autonomy._sansio.envelope import MESSAGE, Envelope


def target_of(node: Node, name: str) -> Queue | Inbox:
    """Return what is behind a name."""
    target = node._router.find(name)[1]
    assert isinstance(target, (Queue, Inbox))
    return target


class Far:
    """A flow with both its ends, and what is on its way between them.

    Attributes:
        asked: How often it was asked to give back.
        reason: Why the mailbox is gone, once it is.
        refused: How many messages came and had no place.
        arrived: Those that had one.
    """

    def __init__(self, target: Queue | Inbox, name: str = "far") -> None:
        self.name = name
        self.target = target
        self.flow = Flow()
        self.waiting: deque[str] = deque()
        self.to_here: deque[Callable[[], object]] = deque()
        self.to_there: deque[Callable[[], object]] = deque()
        self.asked = self.refused = 0
        self.reason: str | None = None
        self.arrived: list[str] = []

    # --- there

    def send(self, *messages: str) -> None:
        """Send what there is credit for; the rest waits."""
        self.waiting += messages
        while self.waiting and self.flow.credit > 0:
            self.flow.send()
            self._to_here(self._arrive, self.waiting.popleft())
        if self.waiting:
            self.flow.stalled()
        wanted = self.flow.want(len(self.waiting))
        if wanted is not None:
            self._to_here(self.target.reserve().want, self, wanted)

    def _to_here(self, what: Callable[..., object], *values: object) -> None:
        self.to_here.append(lambda: what(*values))

    def _hear_grant(self, total: int) -> None:
        self.flow.granted(total)
        self.send()

    def _give_back(self) -> None:
        self._to_here(self.target.reserve().give_back, self, self.flow.give_back())
        self.send()

    def end(self) -> None:
        """End the flow: the link is gone, and what was on its way."""
        self.target.reserve().close_flow(self)
        self.waiting.clear()
        self.to_here.clear()
        self.to_there.clear()
        self.flow = Flow()

    # --- here

    def grant(self, total: int) -> None:
        self.to_there.append(lambda: self._hear_grant(total))

    def ask_back(self) -> None:
        self.asked += 1
        self.to_there.append(self._give_back)

    def closed(self, reason: str) -> None:
        self.reason = reason

    def _arrive(self, message: str) -> None:
        envelope = Envelope(MESSAGE, "", message, 0, f"worker@{self.name}")
        if self.reason is not None:
            return
        if self.target.reserve().arrive(self, envelope):
            self.arrived.append(message)
        else:
            self.refused += 1

    # --- between

    def step_here(self) -> None:
        """Let one thing come here."""
        if self.to_here:
            self.to_here.popleft()()

    def step_there(self) -> None:
        """Let one thing go there."""
        if self.to_there:
            self.to_there.popleft()()

    def settle(self) -> None:
        """Let everything come and go that is on its way."""
        while self.to_here or self.to_there:
            self.step_here()
            self.step_there()

    async def run(self, latency: float = 0.01) -> None:
        """Be a link for ever."""
        while True:
            await trio.sleep(latency)
            for _ in range(len(self.to_here)):
                self.step_here()
            for _ in range(len(self.to_there)):
                self.step_there()
