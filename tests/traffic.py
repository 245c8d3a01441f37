"""Traffic whose every message can be accounted for: it says who sent it, and which of his it is.

`Recorder` writes down what comes, `Traffic` sends, and a `Report` says what is wrong: lost, twice, or out of order.
All nodes of a test send to each other, so this knows nothing of which is which.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import msgspec
import trio

from autonomy import Context, Node, NoReply

RECORDERS = ("one", "two", "three")
"""Workers that write down what they get. The last has a mailbox that is soon full."""
TASKS, COURIERS = 3, 2
"""Who sends from one node to another: tasks of the program, and workers."""
_LARGE = "x" * 200_000
"""Text that goes in parts."""

Numbers = dict[str, int]
"""A number for each sender and worker, as ``sender>worker@node``."""


@dataclass
class Account:
    """What is known of one sender's messages to one worker."""

    last: int = 0
    missing: set[int] = field(default_factory=set)
    twice: int = 0
    disordered: int = 0

    def enter(self, number: int) -> None:
        """A message was handled."""
        if number > self.last:
            self.missing.update(range(self.last + 1, number))
            self.last = number
        elif number in self.missing:
            self.missing.discard(number)
            self.disordered += 1
        else:
            self.twice += 1


class Recorder:
    """Writes down which numbers came, and answers those who ask with the number."""

    def __init__(self, name: str, accounts: dict[str, Account]) -> None:
        self._name = name
        self._accounts = accounts

    async def handle_message(self, context: Context, message: str) -> None:
        sender, number, kind = message.split(" ", 3)[:3]
        self._accounts.setdefault(f"{sender}>{self._name}", Account()).enter(int(number))
        if kind != "tell":
            await context.reply(number)


async def until(condition: Callable[[], object], seconds: float) -> None:
    """Wait until something is so, or raise TooSlowError."""
    with trio.fail_after(seconds):
        while True:
            if condition():
                return
            await trio.sleep(0.005)


class Courier:
    """A worker that sends, in one long message."""

    def __init__(self, traffic: Traffic, name: str) -> None:
        self._traffic = traffic
        self._name = name

    async def handle_message(self, context: Context, message: str) -> None:
        await self._traffic.send(self._name, message)


class Traffic:
    """What one node sends to others, and gets from them.

    Args:
        node: The node that sends, and has the workers that others send to.
        chance: Which kind of message is next.

    Attributes:
        accounts: What has come here.
        sent: What was sent from here.
        answered: How many who asked got the right answer.
        problems: What else they got.
    """

    def __init__(self, node: Node, chance: Random) -> None:
        self._node = node
        self._chance = chance
        self._stopped = False
        self._running = 0
        self.accounts: dict[str, Account] = {}
        self.sent: Numbers = {}
        self.answered = 0
        self.problems: list[str] = []

    async def open(self) -> None:
        """Start the workers that take."""
        for name in RECORDERS:
            capacity = 5 if name == RECORDERS[-1] else 1000
            recorder = Recorder(f"{name}@{self._node.name}", self.accounts)
            await self._node.start_worker(name, recorder, mailbox_capacity=capacity)

    async def run(self, far: str) -> None:
        """Send to the workers of a far node until told to stop."""
        async with trio.open_nursery() as nursery:
            for number in range(TASKS):
                nursery.start_soon(self.send, f"task-{number}@{self._node.name}", far)
            for number in range(COURIERS):
                name = f"courier-{number}-{far}"
                await self._node.start_worker(name, Courier(self, f"{name}@{self._node.name}"))
                await self._node.send_message(name, far)

    async def stop(self) -> None:
        """Stop sending; return when all who send have done so."""
        self._stopped = True
        await until(lambda: not self._running, 30)

    async def send(self, sender: str, far: str) -> None:
        """Send one message after the other to all workers in turn, as one sender."""
        number = 0
        self._running += 1
        try:
            while not self._stopped:
                number += 1
                for worker in RECORDERS:
                    self.sent[f"{sender}>{worker}@{far}"] = number
                    await self._send_one(f"{worker}@{far}", sender, number)
        finally:
            self._running -= 1

    async def _send_one(self, address: str, sender: str, number: int) -> None:
        kind = self._chance.choices(("tell", "large", "ask", "converse"), (85, 1, 12, 2))[0]
        try:
            match kind:
                case "tell":
                    await self._node.send_message(address, f"{sender} {number} tell")
                case "large":
                    await self._node.send_message(address, f"{sender} {number} tell {_LARGE}")
                case "ask":
                    reply = await self._node.send_and_receive(address, f"{sender} {number} ask")
                    self._check(reply, str(number), address)
                case _:
                    async with await self._node.send(address, f"{sender} {number} converse") as mailbox:
                        self._check(await mailbox.receive(), str(number), address)
        except NoReply as error:
            self.problems.append(f"{address} {kind} {number}: {type(error).__name__} ({error.outcome}): {error}")

    def _check(self, reply: str, expected: str, address: str) -> None:
        if reply == expected:
            self.answered += 1
        else:
            self.problems.append(f"{address} answered {reply!r:.80} to {expected}")

    def report(self) -> Report:
        """Return all figures, as they are now."""
        came = {flow: (each.last, len(each.missing)) for flow, each in self.accounts.items()}
        return Report(
            node=self._node.name,
            sent=self.sent,
            came=came,
            twice=sum(each.twice for each in self.accounts.values()),
            disordered=sum(each.disordered for each in self.accounts.values()),
            answered=self.answered,
            problems=self.problems[:20],
        )


class Report(msgspec.Struct):
    """The figures of one node.

    Attributes:
        node: Its name.
        sent: The last number that each sender here has sent to each worker there.
        came: The last number that came from each sender there, and how many before it did not.
        twice: Messages that came again.
        disordered: Messages that came after later ones.
        answered: How many who asked got the right answer.
        problems: What else they got.
    """

    node: str
    sent: Numbers
    came: dict[str, tuple[int, int]]
    twice: int
    disordered: int
    answered: int
    problems: list[str]


def lost(sender: Report, taker: Report) -> int:
    """Return how many messages of one node never came to the other, so far."""
    total = 0
    for flow, sent in sender.sent.items():
        if not flow.endswith(f"@{taker.node}"):
            continue
        last, missing = taker.came.get(flow, (0, 0))
        total += missing + sent - last
    return total
