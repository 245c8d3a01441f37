"""A node of a zone of hosts: a program of its own, told what to do by lines of JSON; `zone` starts it.

``python -m tests.hosts.zone_node FOLDER NAME OPTIONS`` opens a node, with `Options` as JSON. The folder is that of its
zone's authority, or where it keeps what it gets for a ticket. Each line on its standard input is a command with its
arguments; each is answered with one line on its standard output, as soon as what was wanted is done, so that some may
take long and others not wait for them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import trio

from autonomy import Context, Node, Zone, ZoneInfo, open_node
from autonomy._sansio.keepalive import Liveness
from autonomy.errors import AutonomyError
from autonomy.identity import ZoneAuthority, enroll, enrolled_in
from tests.far_node import Lines, Silent
from tests.haste import Hasty, Ledger
from tests.traffic import Traffic, until
from tests.waiters import Waiters


class Options(msgspec.Struct, frozen=True):
    """What a node is told of its zone.

    Attributes:
        directory: URL of the directory; empty for a node that joins with the ticket in ENROLLMENT_TICKET, or has.
        zone: Name of the zone.
        listen: Where it listens.
        liveness: Seconds until something is sent, a link is dropped, a node is down.
    """

    directory: str = ""
    zone: str = "hosts"
    listen: str = "wss://0.0.0.0:7400"
    liveness: tuple[float, float, float] = (2.0, 4.0, 10.0)


class Told(msgspec.Struct):
    """What hasty senders were told, and of what it is not so.

    Attributes:
        told: How many messages met with which fate.
        reported: How many became dead letters.
        lies: What is not so.
    """

    told: dict[str, int]
    reported: int
    lies: list[str]


class Echo:
    """Replies with what it is asked."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(message)


class Commands:
    """What a node can be told: each method is a command. Nodes are called by their short names."""

    def __init__(self, node: Node, nursery: trio.Nursery) -> None:
        self._node = node
        self._nursery = nursery
        self._traffic = Traffic(node, Random(node.name))
        self._ledger = Ledger()
        self._waiters: dict[str, Waiters] = {}
        self._hasty: dict[str, Hasty] = {}

    async def open(self) -> None:
        """Start the workers."""
        await self._traffic.open()
        await self._ledger.open(self._node)
        await self._node.start_worker("silent", Silent())
        await self._node.start_worker("full", Silent(), mailbox_capacity=1)
        await self._node.start_worker(f"echo-{self._node.short_name}", Echo())

    def _full(self, name: str) -> str:
        return self._node.name.removesuffix(self._node.short_name) + name

    def _address(self, worker: str) -> str:
        name, at, node = worker.partition("@")
        return f"{name}@{self._full(node)}" if at else name

    async def do_start(self, worker: str) -> None:
        """Start a worker that echoes."""
        await self._node.start_worker(worker, Echo())

    async def do_ask(self, address: str, timeout: float = 5.0) -> str:
        """Ask a worker; return the answer, or the name of the error."""
        try:
            return await self._node.send_and_receive(self._address(address), "answer", timeout=timeout)
        except AutonomyError as error:
            return type(error).__name__

    async def do_ask_until(self, address: str, seconds: float) -> float:
        """Ask a worker until it answers; return the seconds that it took. Each try has one second."""
        began = trio.current_time()
        with trio.fail_after(seconds):
            while True:
                try:
                    await self._node.send_and_receive(self._address(address), "answer", timeout=1.0)
                except AutonomyError:
                    await trio.sleep(0.05)
                else:
                    return trio.current_time() - began

    async def do_members(self) -> list[str]:
        """Return the nodes of the zone."""
        prefix = self._full("")
        return [each.name.removeprefix(prefix) for each in await Zone.nodes(self._node)]

    async def do_wait_members(self, names: list[str], seconds: float) -> float:
        """Wait until those are the nodes of the zone; return the seconds that it took."""
        began = trio.current_time()
        with trio.fail_after(seconds):
            while await self.do_members() != names:  # noqa: ASYNC110  # the zone has no event for it
                await trio.sleep(0.05)
        return trio.current_time() - began

    # --- traffic that is counted

    async def do_send(self, far: str) -> None:
        """Send numbered messages to a node, until told to stop."""
        self._nursery.start_soon(self._traffic.run, self._full(far))

    async def do_stop(self) -> None:
        """Stop that."""
        await self._traffic.stop()

    async def do_report(self) -> Any:
        """Return what was sent and what came."""
        return msgspec.to_builtins(self._traffic.report())

    # --- those who wait

    async def do_wait(self, far: str) -> None:
        """Wait for a node in all the ways there are."""
        waiters = self._waiters[far] = Waiters(self._node, self._full(far))
        await waiters.begin(self._nursery)

    async def do_waited(self, far: str, seconds: float) -> float:
        """Wait until all those know that the node is down; return the seconds that the last one had to."""
        began = trio.current_time()
        waiters = self._waiters[far]
        await waiters.all_ended(seconds)
        waiters.check()
        return max(waiters.times.values()) - began

    # --- those who do not

    async def do_haste(self, far: str) -> None:
        """Send in haste to a node, until told to stop."""
        hasty = self._hasty[far] = Hasty(self._node, self._full(far))
        for number in range(4):
            self._nursery.start_soon(hasty.send, f"{self._node.short_name}s{number}", Random(number))

    async def do_told(self, far: str, handled: dict[str, list[str]] | None = None) -> Any:
        """Stop that; given what was handled there, return what they were told."""
        hasty = self._hasty[far]
        hasty.stop()
        await until(lambda: hasty.has_ended, 30)
        told: dict[str, int] = {}
        for each in hasty.told.values():
            told[each] = told.get(each, 0) + 1
        lies = hasty.lies(handled) if handled is not None else []
        return msgspec.to_builtins(Told(told, len(hasty.reported), lies))

    async def do_handled(self) -> dict[str, list[str]]:
        """Return what was handled here of what was sent in haste."""
        return self._ledger.handled


def say(answer: object) -> None:
    """Answer a command."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


async def obey(commands: Commands, number: int, command: str, *arguments: Any) -> None:
    """Do what one line says, and say what came of it."""
    say([number, await getattr(commands, f"do_{command}")(*arguments)])


async def place(folder: Path, name: str, options: Options) -> dict[str, Any]:
    """Return what `open_node` is told of who a node is, and where its zone."""
    if not options.directory:
        kept = folder / name
        return {"enrolled": enrolled_in(kept) or await enroll(os.environ.pop("ENROLLMENT_TICKET"), name, kept)}
    credentials = ZoneAuthority(folder).credentials(f"{options.zone}-{name}")
    return {"credentials": credentials, "zone": ZoneInfo(options.zone), "directory": options.directory}


async def main(folder: str, name: str, options: Options) -> None:
    """Be the node until nobody gives commands any more."""
    opening = open_node(
        **await place(Path(folder), name, options),
        listen=options.listen,
        liveness=Liveness(*options.liveness),
        stall_warning=None,
        drain_timeout=1,
    )
    async with trio.open_nursery() as nursery:
        async with opening as node:
            commands = Commands(node, nursery)
            await commands.open()
            say([0, node.name])
            told = Lines(trio.lowlevel.FdStream(os.dup(0)))
            while line := await told.next():
                nursery.start_soon(obey, commands, *json.loads(line))
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    _, folder, name, options = sys.argv
    trio.run(main, folder, name, msgspec.json.decode(options, type=Options))
