"""A zone whose nodes are programs on hosts, one on each, and the figures of what they send each other."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from autonomy.identity import ZoneAuthority
from tests.traffic import Report, lost

from .lan import Host, Lan, Program
from .zone_node import Options

PORT: Final = 7400
_PATIENCE: Final = 60.0
_AUTONOMY: Final = (sys.executable, "-m", "autonomy", "zone")
Tickets = Callable[[str], Awaitable[str]]


class Answers:
    """What comes back from one node, by the number of what was asked."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._answers: dict[int, Any] = {}
        self._news = trio.Condition()
        self._is_over = False

    async def read(self) -> None:
        """Take what comes, until the program ends."""
        while line := await self._program.line(float("inf")):
            number, answer = json.loads(line)
            self._answers[number] = answer
            async with self._news:
                self._news.notify_all()
        self._is_over = True
        async with self._news:
            self._news.notify_all()

    async def wait(self, number: int) -> Any:
        """Return the answer to one question."""
        async with self._news:
            while number not in self._answers:
                if self._is_over:
                    raise RuntimeError("the node's program has ended; its standard error says why")
                await self._news.wait()
        return self._answers.pop(number)


class ZoneNode:
    """A node on a host.

    Attributes:
        name: Its name, which is that of its host.
        host: Where it runs.
        program: What runs there.
    """

    def __init__(self, host: Host, program: Program) -> None:
        self.name = host.name
        self.host = host
        self.program = program
        self.answers = Answers(program)
        self._count = 0

    async def ask(self, command: str, *arguments: object) -> Any:
        """Give it a command of `zone_node.Commands`; return its answer."""
        self._count += 1
        number = self._count
        await self.program.tell(json.dumps([number, command, *arguments]))
        with trio.fail_after(_PATIENCE):
            return await self.answers.wait(number)


class HostsZone:
    """A zone of hosts. Its directory is on the host ``a``.

    Args:
        lan: The hosts.
        folder: Of the zone's authority, or where nodes keep what they get for tickets.
        nursery: Where answers are read.
        options: What nodes are told.
        ticket: Returns what a node is to join with; nothing if it need not.
    """

    def __init__(self, lan: Lan, folder: Path, nursery: trio.Nursery, options: Options, ticket: Tickets) -> None:
        self._lan = lan
        self._folder = folder
        self._nursery = nursery
        self._options = msgspec.json.encode(options).decode()
        self._ticket = ticket
        self.nodes: dict[str, ZoneNode] = {}

    def __getitem__(self, name: str) -> ZoneNode:
        return self.nodes[name]

    async def start(self, *names: str) -> None:
        """Start nodes, each on the host of its name. They find out by themselves at which address that is reached."""
        for name in names:
            host = self._lan[name]
            command = (sys.executable, "-m", "tests.hosts.zone_node", str(self._folder), name, self._options)
            ticket = await self._ticket(name)
            program = await host.start(*command, env=os.environ | {"ENROLLMENT_TICKET": ticket})
            node = self.nodes[name] = ZoneNode(host, program)
            self._nursery.start_soon(node.answers.read)
        for name in names:
            with trio.fail_after(_PATIENCE):
                await self.nodes[name].answers.wait(0)

    # --- traffic among all of them

    async def send(self) -> None:
        """Let each node send to each other one."""
        for source, sink in permutations(self.nodes, 2):
            await self.nodes[source].ask("send", sink)

    async def settle(self, seconds: float = 30.0) -> list[Report]:
        """Stop sending; return what all have to report once nothing is under way any more, or the time is up."""
        async with trio.open_nursery() as nursery:
            for node in self.nodes.values():
                nursery.start_soon(node.ask, "stop")
        give_up = trio.current_time() + seconds
        while True:
            reports = [msgspec.convert(await node.ask("report"), Report) for node in self.nodes.values()]
            if not lost_of(reports) or trio.current_time() > give_up:
                return reports
            await trio.sleep(0.05)


def lost_of(reports: Iterable[Report]) -> int:
    """Return how many messages never came, so far."""
    return sum(lost(sender, taker) for sender, taker in permutations(reports, 2))


def tell(title: str, reports: Iterable[Report], **figures: object) -> None:
    """Print the figures of a test."""
    reports = list(reports)
    figures |= {
        "messages": sum(sum(each.sent.values()) for each in reports),
        "answered": sum(each.answered for each in reports),
        "lost": lost_of(reports),
        "twice": sum(each.twice for each in reports),
        "out of order": sum(each.disordered for each in reports),
    }
    print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))  # noqa: T201


def check(reports: list[Report]) -> None:
    """Check that everything came once and in order, and everybody who asked was answered."""
    assert [problem for each in reports for problem in each.problems] == []
    assert lost_of(reports) == 0
    assert [each.twice for each in reports] == [0] * len(reports)
    assert [each.disordered for each in reports] == [0] * len(reports)
    assert all(each.sent and min(each.sent.values()) > 0 for each in reports)


@asynccontextmanager
async def open_embedded_zone(lan: Lan, folder: Path) -> AsyncGenerator[HostsZone]:
    """Have a zone of all hosts of a LAN, whose node ``a`` keeps the directory; all are there when this begins."""
    ZoneAuthority.create(folder, "hosts.example")

    async def no_ticket(_: str) -> str:
        return ""

    async with _open_zone(lan, folder, Options(f"embedded://hosts-a@{lan['a'].address}:{PORT}"), no_ticket) as zone:
        yield zone


@asynccontextmanager
async def open_joined_zone(lan: Lan, folder: Path) -> AsyncGenerator[HostsZone]:
    """Have a zone of all hosts of a LAN, which join with tickets; its authority and an etcd are on the host ``a``."""
    a, authority = lan["a"], ("--folder", str(folder / "authority"))
    await trio.Path(folder).mkdir()
    url = f"http://{a.address}:2379"
    etcd = ("etcd", f"--data-dir={folder / 'etcd'}", "--logger=zap", "--log-level=error")
    await a.start(*etcd, f"--listen-client-urls={url}", f"--advertise-client-urls={url}")
    await a.run(*_AUTONOMY, "init", "hosts", "--cluster=lan", f"--directory=etcd://{a.address}:2379", *authority)
    running = await a.start(*_AUTONOMY, "authority", f"--listen={a.address}:{PORT + 10}", *authority)
    await running.line()

    async def ticket(name: str) -> str:
        if await trio.Path(folder / name).exists():
            return ""
        return (await a.run(*_AUTONOMY, "ticket", f"--names={name}", *authority)).strip()

    async with _open_zone(lan, folder, Options(), ticket) as zone:
        yield zone


@asynccontextmanager
async def _open_zone(lan: Lan, folder: Path, options: Options, ticket: Tickets) -> AsyncGenerator[HostsZone]:
    async with trio.open_nursery() as nursery:
        zone = HostsZone(lan, folder, nursery, options, ticket)
        await zone.start(*lan.hosts)
        for name in lan.hosts:
            await zone[name].ask("wait_members", list(lan.hosts), 15.0)
        yield zone
        nursery.cancel_scope.cancel()
