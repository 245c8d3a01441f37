"""Senders of little patience, who keep what they were told of each message; and workers that keep what they handled.

What a sender is told must be true: a message that was not sent is never handled, and one that was is handled once, or
its loss is reported.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import trio

from autonomy import Context, DeadLetter, Node, NoReply

WORKERS = ("quick", "slow")
_SIZES = (0, 0, 0, 100_000, 400_000)
"""Bytes beside its number; the large ones go in parts."""
_PATIENCE = (0.001, 0.003, 0.01, 0.1, 5.0)


class Ledger:
    """What the workers of one node have handled.

    Attributes:
        handled: For each worker what it has handled, in order.
    """

    def __init__(self) -> None:
        self.handled: dict[str, list[str]] = {name: [] for name in WORKERS}

    async def open(self, node: Node) -> None:
        """Start the workers."""
        await node.start_worker("quick", Entering(self.handled["quick"], 0.0))
        await node.start_worker("slow", Entering(self.handled["slow"], 0.002), mailbox_capacity=5)


class Entering:
    """Writes down the numbers of messages, takes its time, and answers."""

    def __init__(self, handled: list[str], seconds: float) -> None:
        self._handled = handled
        self._seconds = seconds

    async def handle_message(self, context: Context, message: str) -> None:
        self._handled.append(message.split(" ")[0])
        if self._seconds:
            await trio.sleep(self._seconds)
        await context.reply("")


class Hasty:
    """All that was sent in haste. It has the node's `on_dead_letter`.

    Attributes:
        told: What was said of each message: ``sent``, ``handled``, ``not_sent``, or ``maybe_handled``.
        reported: Those that became dead letters.
    """

    def __init__(self, node: Node, far: str) -> None:
        self._node = node
        self._far = far
        self._stopped = False
        self._running = 0
        self.told: dict[str, str] = {}
        self.reported: set[str] = set()
        node.on_dead_letter = self._report

    def _report(self, letter: DeadLetter) -> None:
        self.reported.add(letter.message.split(" ")[0])

    def stop(self) -> None:
        """Send no more."""
        self._stopped = True

    @property
    def has_ended(self) -> bool:
        """Whether all senders have stopped."""
        return self._stopped and not self._running

    async def send(self, sender: str, chance: Random) -> None:
        """Send one message after the other, as one sender."""
        number = 0
        self._running += 1
        while not self._stopped:
            number += 1
            address = f"{chance.choice(WORKERS)}@{self._far}"
            message = f"{sender}-{number} " + "x" * chance.choice(_SIZES)
            is_request, by_timeout = chance.random() < 0.5, chance.random() < 0.5
            patience = chance.choice(_PATIENCE)
            try:
                with trio.move_on_after(5 if by_timeout else patience) as scope:
                    timeout = patience if by_timeout else None
                    told = await self._send_one(address, message, timeout, is_request=is_request)
                if scope.cancelled_caught:
                    told = "maybe_handled" if is_request else "not_sent"
            except NoReply as error:
                told = error.outcome
            self.told[f"{sender}-{number}"] = told
        self._running -= 1

    async def _send_one(self, address: str, message: str, timeout: float | None, *, is_request: bool) -> str:
        if is_request:
            await self._node.send_and_receive(address, message, timeout=timeout)
            return "handled"
        await self._node.send_message(address, message, timeout=timeout)
        return "sent"

    def lies(self, handled: dict[str, list[str]]) -> list[str]:
        """Return each message of which something was said that is not so."""
        times = Counter(number for numbers in handled.values() for number in numbers)
        lies = [
            f"{number}, {self.told[number]}, was handled {count} times" for number, count in times.items() if count > 1
        ]
        lies += [f"{number} was handled" for number in times if self.told[number] == "not_sent"]
        for number, told in self.told.items():
            is_lost = number not in times and not (told == "sent" and number in self.reported)
            if told in ("sent", "handled") and is_lost:
                lies.append(f"{number} was {told}, and never handled")
        return lies + [f"{name}: {pair}" for name, numbers in handled.items() for pair in _disordered(numbers)]


def _disordered(numbers: list[str]) -> list[str]:
    last: dict[str, int] = {}
    disordered = []
    for each in numbers:
        sender, number = each.split("-")
        if int(number) < last.get(sender, 0):
            disordered.append(f"{each} came after {last[sender]}")
        last[sender] = int(number)
    return disordered
