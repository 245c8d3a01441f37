"""A lock with leases, as one writes it the first time: whoever got it writes, however late that has become.

``leases(sim)`` and ``checked_leases(sim)`` are plays for `autonomy.testing`: the first has the bug, the other has not.
"""

from __future__ import annotations

from contextlib import suppress

import trio

from autonomy import Context, Node, NoReply
from autonomy.testing import Simulation

LEASE = 2.0


class Lock:
    """Gives the lock to one client at a time, with a number that grows."""

    def __init__(self) -> None:
        self.number = 0
        self.free_at = 0.0

    async def handle_message(self, context: Context, message: str) -> None:
        if trio.current_time() < self.free_at:
            await context.reply("")
            return
        self.number += 1
        self.free_at = trio.current_time() + LEASE
        await context.reply(str(self.number))


class Store:
    """Is to be written by whoever has the lock, and notes who was too late."""

    def __init__(self, *, checks: bool) -> None:
        self.newest = 0
        self.too_late = 0
        self._checks = checks

    async def handle_message(self, context: Context, message: str) -> None:
        number = int(message)
        if number < self.newest and not self._checks:
            self.too_late += 1
        self.newest = max(number, self.newest)
        await context.reply("written" if number == self.newest else "refused")


async def client(node: Node) -> None:
    while True:
        with suppress(NoReply):
            number = await node.send_and_receive("lock@lock", "acquire", timeout=20)
            if number:
                await node.send_and_receive("store@store", number, timeout=20)
        await trio.sleep(0.3)


def play(sim: Simulation, *, checks: bool) -> None:
    store = Store(checks=checks)

    async def keep(node: Node) -> None:
        await node.start_worker("store", store)

    async def lock(node: Node) -> None:
        await node.start_worker("lock", the_lock)

    def nobody_writes_too_late(_: Simulation) -> bool:
        return store.too_late == 0

    the_lock = Lock()  # survives its host, so that only the client has the bug
    sim.node("lock", lock)
    sim.node("store", keep)
    sim.nodes("client", 2, client)
    sim.always(nobody_writes_too_late)
    sim.chaos(rate=1 / 3, for_=30, grace=5)
    sim.run()


def leases(sim: Simulation) -> None:
    play(sim, checks=False)


def checked_leases(sim: Simulation) -> None:
    play(sim, checks=True)
