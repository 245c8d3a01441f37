"""The workers of a simulated zone: they write down what they handle, and do what workers of their name do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random

import trio

from autonomy import Context, MailboxFull, NoReply

from .simulated_history import Handled, History, Sent, number_of

CAPACITIES = {
    "quick": 4, "slow": 2, "hands-on": 3, "asks": 3, "brittle": 3, "talks": 2, "circles": 3, "starts-anew": 3,
    "forgets": 3, "plain": 3, "itself": 2,
}  # fmt: skip
"""All workers of a node, and how many messages may wait for each."""


@dataclass(frozen=True)
class Life:
    """What a worker is given at its start.

    Attributes:
        history: Where it writes down what happens.
        names: All nodes.
        chance: Its own.
        number: Of its start, among those of all workers.
        start: Of its node, among those of that.
        is_late: Whether its start takes time.
        fails: Whether its start fails.
    """

    history: History
    names: Sequence[str]
    chance: Random
    number: int
    start: int
    is_late: bool = False
    fails: bool = False


class Hand:
    """A worker: writes down what it handles, and does what workers of its name do."""

    def __init__(self, life: Life, name: str) -> None:
        self._life = life
        self._chance = life.chance
        self._has_started = self._has_failed = False
        self._do: Callable[[Context, str], Awaitable[None]] = getattr(self, "_" + name.replace("-", "_"))

    async def on_start(self, context: Context) -> None:
        """Take some time, and perhaps fail (L1)."""
        await trio.sleep(self._chance.choice([0, 0, 0.1, 1]) if self._life.is_late else 0)
        if self._life.fails:
            raise ValueError("no coffee")
        self._has_started = True

    async def handle_message(self, context: Context, message: str) -> None:
        """Handle a message, and see to it that nobody else does at the same time (D5)."""
        self.take(context, message)
        try:
            await self._do(context, message)
        except trio.Cancelled:
            self._life.history.cut_off.append(number_of(message))
            raise
        finally:
            self.put_down(context)

    def take(self, context: Context, message: str) -> None:
        """Write down that a message is being handled."""
        history, start, host = self._life.history, self._life.start, context.node.name
        number, worker = number_of(message), f"{context.name}@{host}"
        now, sender = trio.current_time(), context.sender
        history.handled.append(Handled(number, worker, self._life.number, host, start, now, sender))
        if not self._has_started:
            history.seen.append(f"L1 {worker} handles {number} before its on_start has succeeded")
        if self._has_failed:
            history.seen.append(f"L3 {worker} handles {number} by an object that has failed")
        if (worker, start) in history.stopped:
            history.seen.append(f"L7 {worker} handles {number} though it has been stopped")
        if (worker, start) in history.busy:
            history.seen.append(f"D5 {worker} handles {number} beside {history.busy[worker, start]}")
        history.busy[worker, start] = number

    def put_down(self, context: Context) -> None:
        """Write down that it is handled."""
        self._life.history.busy.pop((f"{context.name}@{context.node.name}", self._life.start), None)

    async def _quick(self, context: Context, message: str) -> None:
        await trio.sleep(self._chance.choice([0, 0, 0.01, 0.1]))
        await context.reply(f"{number_of(message)}#0")

    async def _slow(self, context: Context, message: str) -> None:
        await trio.sleep(self._chance.uniform(0, 1))
        if self._chance.random() < 0.1:
            raise ValueError("not in the mood")
        await context.reply(f"{number_of(message)}#0")

    _brittle = _slow

    async def _talks(self, context: Context, message: str) -> None:
        """Answer some times, in order; a request takes the first."""
        for count in range(self._chance.randint(1, 4)):
            await context.reply(f"{number_of(message)}#{count}")
            await trio.sleep(0.05)

    async def _hands_on(self, context: Context, message: str) -> None:
        number, target, kind, _ = message.split("|", 3)
        with self._noted(context, int(number), target, kind) as sent:
            sent.limit = min(context.deadline - trio.current_time(), 30.0)
            await context.forward(target)
            sent.outcome = "sent"

    async def _asks(self, context: Context, message: str) -> None:
        """Ask another worker within what is left for this one (Q7), and remind oneself of something."""
        target = message.split("|", 2)[1]
        number = self._life.history.number()
        left = min(context.deadline - trio.current_time(), 30.0)
        with self._noted(context, number, target, "request") as sent:
            sent.limit = left
            await context.send_and_receive(target, f"{number}|")
            sent.outcome = "answered"
        if self._chance.random() < 0.3:
            number = self._life.history.number()
            with self._noted(context, number, f"quick@{self._chance.choice(self._life.names)}", "timer") as timer:
                context.send_after(self._chance.uniform(0, 5), timer.to, f"{number}|")
        await context.reply(f"{number_of(message)}#0")

    async def _circles(self, context: Context, message: str) -> None:
        """Ask others like oneself, each of whom asks on, until one is asked who waits already (Q7)."""
        number, path = self._life.history.number(), message.rpartition("|")[2]
        path = f"{path if '@' in path else ''},{context.name}@{context.node.name}"
        target = f"circles@{self._chance.choice(self._life.names)}"
        left = min(context.deadline - trio.current_time(), 3.0)  # what waits behind it has its turn before all is over
        with self._noted(context, number, target, "request") as sent:
            sent.limit, sent.comes_back = left, target in path.split(",")
            await context.send_and_receive(target, f"{number}||request|{path}", timeout=3)
            sent.outcome = "answered"
        await context.reply(f"{number_of(message)}#0")

    async def _starts_anew(self, context: Context, message: str) -> None:
        """Fail now and then; another object is to go on, behind the same mailbox (L3)."""
        await trio.sleep(self._chance.choice([0, 0.1]))
        if self._chance.random() < 0.2:
            self._has_failed = True
            raise ValueError("no use any more")
        await context.reply(f"{number_of(message)}#0")

    _plain = _quick

    async def _forgets(self, context: Context, message: str) -> None:
        """Reply to nothing (Q6)."""
        await trio.sleep(self._chance.choice([0, 0.1]))

    async def _itself(self, context: Context, message: str) -> None:
        """Send to oneself, more than there is room for: one does not wait for oneself (B3)."""
        for _ in range(0 if message.endswith("to itself") else self._chance.randint(1, 4)):
            number = self._life.history.number()
            to = f"{context.name}@{context.node.name}"
            with suppress(MailboxFull), self._noted(context, number, to, "message") as sent:
                sent.limit = 0.0
                await context.send_message(to, f"{number}|to itself")
                sent.outcome = "sent"
        await trio.sleep(self._chance.choice([0, 0.1]))
        await context.reply(f"{number_of(message)}#0")

    def _noted(self, context: Context, number: int, to: str, kind: str) -> Noted:
        host, life = context.node.name, self._life
        sender = f"{context.name}@{host} life {life.number}"
        return Noted(life.history, Sent(number, kind, sender, host, life.start, to, trio.current_time()))


class PlainHand:
    """A hand whose handler is a plain function, in a thread of its node (D8)."""

    def __init__(self, life: Life, name: str) -> None:
        self._hand = Hand(life, name)
        self._chance = life.chance

    async def on_start(self, context: Context) -> None:
        """Start, as hands do."""
        await self._hand.on_start(context)

    def handle_message(self, context: Context, message: str) -> None:
        """Handle a message, and block the thread for a while."""
        trio.from_thread.run_sync(self._hand.take, context, message)
        try:
            trio.from_thread.run(trio.sleep, self._chance.choice([0, 0.1, 0.5]))
            trio.from_thread.run(context.reply, f"{number_of(message)}#0")
        finally:
            self._hand.put_down(context)


class Pulse:
    """A worker that says where it is, and has nothing to do with anything else."""

    async def handle_message(self, context: Context, message: str) -> None:
        """Say so."""
        await context.reply(context.node.name)


class Noted:
    """A block that sends: what becomes of it is written down."""

    def __init__(self, history: History, sent: Sent) -> None:
        self.sent = sent
        self._history = history
        history.sent.append(sent)

    def __enter__(self) -> Sent:
        return self.sent

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.sent.ended = trio.current_time()
        if isinstance(error, NoReply):
            self.sent.outcome, self.sent.error = error.outcome, type(error).__name__
            is_handed_on = self.sent.sender.startswith("hands-on@")
            if self.sent.kind == "request" and not is_handed_on and "timeout" not in str(error):
                self._history.seen.append(f"Q5 no word of a timeout in {error}: {self.sent}")
        elif isinstance(error, trio.Cancelled):
            self.sent.outcome = "cancelled"
