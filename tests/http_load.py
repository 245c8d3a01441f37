"""Asks an HTTP server one thing again and again, by several clients at once, and counts the answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import aiohttp

CLIENTS = 20


@dataclass(slots=True)
class Load:
    """A load on a server; `run` puts it there.

    Attributes:
        url: What is asked for.
        method: How.
        requests: How many answers are wanted. With fewer, the server was gone before.
        halfway: Called when half of them have come.
        answers: Counts ``"status body"`` of each answer.
    """

    url: str
    method: str = "GET"
    requests: int = 10_000
    halfway: Callable[[], object] = lambda: None
    answers: Counter[str] = field(default_factory=Counter)
    _left: Iterator[int] = field(default_factory=lambda: iter(()))

    def run(self) -> Counter[str]:
        """Ask until enough answers have come, or the server is gone; return them, counted."""
        asyncio.run(self._run())
        return self.answers

    async def _run(self) -> None:
        self._left = iter(range(self.requests))
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(self._ask(session))

    async def _ask(self, session: aiohttp.ClientSession) -> None:
        for number in self._left:
            try:
                async with session.request(self.method, self.url) as answer:
                    self.answers[f"{answer.status} {await answer.text()}"] += 1
            except aiohttp.ClientConnectionError:
                return
            if number == self.requests // 2:
                self.halfway()
