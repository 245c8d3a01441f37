"""A zone that simulates itself when nothing else is named: a counter, clients that ask it, and every kind of fault."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import trio

from ..abc import Context
from ..errors import NoReply
from ..node import Node
from .simulation import Simulation

_CLIENTS: Final = 3


def play(sim: Simulation) -> None:
    """Break it for half a virtual minute; then every client must be answered again."""
    sim.node("bank", _bank)
    sim.nodes("client", _CLIENTS, _client)
    sim.chaos(rate=1 / 3, for_=30, grace=15)
    sim.run(_every_client_is_answered)


class _Counter:
    def __init__(self) -> None:
        self._count = 0

    async def handle_message(self, context: Context, message: str) -> None:
        self._count += 1
        await context.reply(str(self._count))


async def _bank(node: Node) -> None:
    await node.start_worker("counter", _Counter())


async def _client(node: Node) -> None:
    while True:
        with suppress(NoReply):
            await node.send_and_receive("counter@bank", node.name, timeout=3)
        await trio.sleep(0.5)


async def _every_client_is_answered(sim: Simulation) -> None:
    await sim.calm()
    for number in range(_CLIENTS):
        client = await sim.host(f"client-{number}").up()
        while True:
            with suppress(NoReply):
                await client.send_and_receive("counter@bank", "after it all", timeout=3)
                break
            await trio.sleep(0.5)
