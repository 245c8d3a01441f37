"""Whole nodes of a zone that DNS leads to: real sockets, real TLS, real time, and an address for each node."""

from __future__ import annotations

import logging
import socket
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio

from autonomy import Node, Rights, WorkerNotFound, Zone, ZoneInfo, open_node
from autonomy.directory import DnsDirectory
from autonomy.identity import ZoneAuthority
from tests.directory.fake_dns import FakeDns
from tests.workers import Echo
from tests.zone_in_etcd import sees
from tests.zoned import Where

pytestmark = [pytest.mark.network, pytest.mark.slow]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class LoopbackZone:
    """A zone whose nodes have an address of the loopback each, ``127.0.0.N``, and one port together.

    Attributes:
        dns: Where they are.
    """

    def __init__(self, folder: Path, name: str = "shop", port: int | None = None) -> None:
        self.name = name
        self.port = port or free_port()
        self.dns = FakeDns()
        self._authority = ZoneAuthority.create(folder / name, name)

    def open(self, name: str, number: int, **options: Any) -> AbstractAsyncContextManager[Node]:
        """Open a node of that short name at ``127.0.0.number``, and have it in DNS from then on."""
        full = f"{self.name}-{name}"
        self.dns.addresses.append(f"127.0.0.{number}")
        options.setdefault("listen", f"wss://127.0.0.{number}:{self.port}")
        options.setdefault("directory", DnsDirectory(f"dns://shop.test:{self.port}", resolve=self.dns.resolve))
        return open_node(
            full,
            credentials=self._authority.credentials(full),
            zone=ZoneInfo(self.name, pod=name),
            rights=Rights(manage="*"),
            **options,
        )


async def test_nodes_find_each_other_and_their_workers_and_know_who_is_gone(tmp_path: Path) -> None:
    zone = LoopbackZone(tmp_path)
    async with zone.open("a", 2) as a, zone.open("b", 3) as b:
        async with zone.open("c", 4) as c:
            for node in (a, b, c):
                await sees(node, "a", "b", "c", within=0.5)
            await c.start_worker("where", Where())
            for node in (a, b):
                assert await node.send_and_receive("where", "?") == "shop-c"
            assert [each.name for each in await Zone.nodes(a, filter="c")] == ["shop-c"]
        for node in (a, b):
            await sees(node, "a", "b", within=0.5)
            with pytest.raises(WorkerNotFound):
                await node.send_and_receive("where", "?")


async def test_a_node_at_all_addresses_of_its_host_is_met_where_its_host_goes_to_the_name(tmp_path: Path) -> None:
    zone = LoopbackZone(tmp_path)
    directory = DnsDirectory(f"dns://127.0.0.2:{zone.port}")
    everywhere = f"wss://0.0.0.0:{free_port()}"

    async with zone.open("a", 2) as a, zone.open("b", 3, listen=everywhere, directory=directory) as b:
        await sees(a, "a", "b", within=0.5)
        await b.start_worker("where", Where())

        assert await a.send_and_receive("where", "?") == "shop-b"


async def test_whoever_is_of_another_zone_is_refused_and_logged_once_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    zone = LoopbackZone(tmp_path)
    other = LoopbackZone(tmp_path, "evil", zone.port)
    async with other.open("a", 3) as stranger, zone.open("a", 2) as a:
        await stranger.start_worker("secret", Echo())
        zone.dns.addresses.append("127.0.0.3")
        await trio.sleep(5)
        async with zone.open("b", 4) as b:
            for node in (a, b):
                await sees(node, "a", "b", within=0.5)
                with pytest.raises(WorkerNotFound):
                    await node.send_and_receive("secret", "?")

    refused = [line for line in caplog.messages if line.startswith("node refused") and "127.0.0.3" in line]
    assert len(refused) == 2  # once by each


async def test_a_name_of_the_system_is_looked_up(tmp_path: Path) -> None:
    zone = LoopbackZone(tmp_path)
    directory = DnsDirectory(f"dns://localhost:{zone.port}")

    async with (
        zone.open("a", 1, directory=directory) as a,
        zone.open("b", 2, directory=directory) as b,  # localhost leads to the first one alone
    ):
        await b.start_worker("where", Where())

        assert await a.send_and_receive("where", "?") == "shop-b"
