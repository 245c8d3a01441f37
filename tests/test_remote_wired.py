"""Whole nodes over the real websocket and TLS, in virtual time, on wires that break at any byte (D1, D2, D4)."""

from __future__ import annotations

import logging
import random
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

import pytest
import trio
from trio.testing import MockClock

from autonomy import Context, Node, open_node
from autonomy._links.limits import LinkLimits
from autonomy._links.websocket import WebSocketTransport

from .links.certificates import security
from .links.wires import Wires
from .links.worlds import GENEROUS

SENDERS = 3
MESSAGES = 60
BREAKS = 12


class FrayedWires(Wires):
    """Wires that dialled connections break after some bytes, as often as `breaks` says.

    One in three bears a handshake and the first words behind it. If chance broke eight in a row before these, nothing
    would be heard for ten seconds, and to be down would be right.
    """

    def __init__(self, chance: random.Random, breaks: int) -> None:
        super().__init__()
        self._chance = chance
        self._numbers = count()
        self.breaks = breaks

    async def connect(self, host: str, port: int) -> trio.abc.Stream:  # type: ignore[override]  # a wire within
        """Return one end of a wire that will break, perhaps in the middle of the handshake."""
        wire = await super().connect(host, port)
        least = 0 if next(self._numbers) % 3 else 10_000
        return Frayed(wire, self, least + int(self._chance.expovariate(1 / 20_000)))


class Through(trio.abc.Stream):
    """A stream that is another one."""

    def __init__(self, wire: trio.abc.Stream) -> None:
        self._wire = wire

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        await self._wire.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self._wire.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive."""
        return await self._wire.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Close."""
        await self._wire.aclose()


class Frayed(Through):
    """A stream that breaks once so many bytes went either way."""

    def __init__(self, wire: trio.abc.Stream, wires: FrayedWires, left: int) -> None:
        super().__init__(wire)
        self._wires = wires
        self._left = left
        self._is_broken = False

    def _bear(self, size: int) -> int:
        """Return how many of so many bytes get through; it breaks of the others."""
        if self._is_broken:
            raise trio.BrokenResourceError("it broke")
        self._left -= size
        if self._left > 0 or not self._wires.breaks:
            return size
        self._wires.breaks -= 1
        self._is_broken = True
        return max(0, size + self._left)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send what the wire can still bear."""
        some = self._bear(len(data))
        await self._wire.send_all(data[:some])
        if self._is_broken:
            await self.aclose()
            raise trio.BrokenResourceError("it broke")

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive what the wire can still bear."""
        data = b"" if self._is_broken else await self._wire.receive_some(max_bytes)
        some = self._bear(len(data))
        if self._is_broken:
            await self.aclose()
            if not some:
                raise trio.BrokenResourceError("it broke")
        return data[:some]


class NarrowWires(Wires):
    """Wires that bear so many bytes a second, each way."""

    def __init__(self, rate: float) -> None:
        super().__init__(capacity=4000)
        self._pause = 1000 / rate
        self.dialled: list[Narrow] = []

    async def connect(self, host: str, port: int) -> trio.abc.Stream:  # type: ignore[override]  # a wire within
        """Return one end of a narrow wire."""
        self.dialled.append(Narrow(await super().connect(host, port), self._pause))
        return self.dialled[-1]


class Narrow(Through):
    """A stream on which a thousand bytes take their time."""

    def __init__(self, wire: trio.abc.Stream, pause: float) -> None:
        super().__init__(wire)
        self._pause = pause

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, a thousand bytes at a time."""
        for at in range(0, len(data), 1000):
            await trio.sleep(self._pause)
            await self._wire.send_all(data[at : at + 1000])

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive a thousand bytes at most."""
        await trio.sleep(self._pause)
        return await self._wire.receive_some(1000)


class Record:
    """Keeps what it got, by sender, and answers with it."""

    def __init__(self) -> None:
        self.got: dict[str, list[int]] = defaultdict(list)

    async def handle_message(self, context: Context, message: str) -> None:
        sender, number, _ = message.split(" ", 2)
        self.got[sender].append(int(number))
        await context.reply(number)


async def send_all(node: Node, sender: str, there: str, chance: random.Random) -> None:
    """Send numbered messages, some of them requests, some of them large."""
    for number in range(MESSAGES):
        padding = "x" * (200_000 if chance.random() < 0.05 else chance.randrange(2000))
        message = f"{sender} {number} {padding}"
        if chance.random() < 0.3:
            assert await node.send_and_receive(f"record@{there}", message, timeout=60) == str(number)
        else:
            await node.send_message(f"record@{there}", message, timeout=60)
        await trio.sleep(chance.choice([0.0, 0.0, 0.05]))


@pytest.mark.parametrize("seed", range(8))
async def test_wires_that_break_at_any_byte_lose_nothing_and_repeat_nothing(
    autojump_clock: MockClock, seed: int
) -> None:
    chance = random.Random(seed)
    wires = FrayedWires(chance, BREAKS)

    def transport(name: str) -> WebSocketTransport:
        return WebSocketTransport(security(name), GENEROUS, wires.connect, wires.listen)

    records = {"a": Record(), "b": Record()}
    async with (
        open_node("a", transport=transport("a"), listen="wss://wired:1", stall_warning=None) as a,
        open_node("b", transport=transport("b"), listen="wss://wired:2", stall_warning=None) as b,
    ):
        for node in (a, b):
            await node.start_worker("record", records[node.name], mailbox_capacity=10)
        await a.connect("wss://wired:2", timeout=60)
        await b.connect("wss://wired:1", timeout=60)

        async with trio.open_nursery() as nursery:
            for number in range(SENDERS):
                nursery.start_soon(send_all, a, f"a{number}", "b", chance)
                nursery.start_soon(send_all, b, f"b{number}", "a", chance)
        await a.send_and_receive("record@b", "last 0 -", timeout=60)
        await b.send_and_receive("record@a", "last 0 -", timeout=60)
        lost = a.statistics().dead_letters + b.statistics().dead_letters

    everything = list(range(MESSAGES))
    assert records["b"].got == {"a0": everything, "a1": everything, "a2": everything, "last": [0]}
    assert records["a"].got == {"b0": everything, "b1": everything, "b2": everything, "last": [0]}
    assert lost == 0
    assert wires.breaks < BREAKS // 2, "too few of them broke to prove anything"


@asynccontextmanager
async def on_narrow_wires(wires: NarrowWires) -> AsyncGenerator[tuple[Node, Node]]:
    """Two nodes, of which a has dialled b."""

    def transport(name: str) -> WebSocketTransport:
        return WebSocketTransport(security(name), LinkLimits(), wires.connect, wires.listen)

    async with (
        open_node("a", transport=transport("a")) as a,
        open_node("b", transport=transport("b"), listen="wss://wired:2") as b,
    ):
        for node in (a, b):
            await node.start_worker("record", Record())
        await a.connect("wss://wired:2")
        yield a, b


@pytest.mark.parametrize("rate", [5_000, 16_000])
@pytest.mark.parametrize("back", [False, True])
async def test_a_link_is_not_suspected_while_parts_of_a_large_message_come(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, rate: int, *, back: bool
) -> None:
    caplog.set_level(logging.DEBUG, "autonomy.links")
    async with on_narrow_wires(NarrowWires(rate)) as (a, b):
        node, there = (b, "a") if back else (a, "b")
        began = trio.current_time()
        assert await node.send_and_receive(f"record@{there}", f"x 0 {'x' * 500_000}", timeout=200) == "0"
        took = trio.current_time() - began
        assert "link dropped" not in caplog.text

    assert 500_000 / rate < took < 1.2 * 500_000 / rate


async def test_a_session_goes_on_by_a_narrow_link_whatever_waits_to_be_sent_again(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "autonomy.links")
    wires = NarrowWires(16_000)
    async with on_narrow_wires(wires) as (_, b), trio.open_nursery() as nursery:
        nursery.start_soon(partial(b.send_message, "record@a", f"b 0 {'x' * 500_000}", timeout=200))
        await trio.sleep(5)
        await wires.dialled[-1].aclose()
        assert await b.send_and_receive("record@a", "last 1 -", timeout=200) == "1"
        assert "no session was agreed to in time" not in caplog.text
        assert len(wires.dialled) == 3  # to learn who it is, the first link, and the one after that
