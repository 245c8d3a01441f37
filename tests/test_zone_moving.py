"""A node whose host has another address is found again, and loses nothing (D2, K3)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from autonomy import Node, ZoneInfo, open_node
from autonomy._zone.whereabouts import address_towards, find_address, follow_address
from autonomy.directory import EmbeddedDirectory, MemoryDirectory
from tests.workers import Echo, Recorder
from tests.zone import FaultyNetwork, on
from tests.zoned import Three


class Moving(FaultyNetwork):
    """A network whose hosts can be given other addresses; nobody answers at those that they had."""

    def move(self, node: Node) -> str:
        """Have a node be reached elsewhere; return where."""
        server = self._servers.pop(f"wss://{node.name}:1")
        address = f"wss://{node.name}-elsewhere:1"
        self.open(address, server)
        self._hosts[node.name] = "nowhere"
        self.darken("nowhere")
        return address


@pytest.fixture
def network() -> Moving:
    """For the nodes of `three`."""
    return Moving()


async def test_a_node_that_has_moved_is_dialled_where_it_is_now(network: Moving, three: Three) -> None:
    _, a, b = three
    await b.start_worker("echo", Echo())

    await b.announce(network.move(b))

    assert await a.send_and_receive("echo@b", "here?", timeout=1) == "here?"


async def test_whoever_dials_the_old_address_gives_that_up_when_there_is_a_new_one(
    network: Moving, three: Three
) -> None:
    _, a, b = three
    await b.start_worker("echo", Echo())
    address = network.move(b)

    async def announce() -> None:
        await trio.sleep(0.5)
        await b.announce(address)

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(announce)
        assert await a.send_and_receive("echo@b", "here?", timeout=10) == "here?"

    assert trio.current_time() - began < 1  # and not the 5 s of a handshake


async def test_links_are_made_anew_and_nothing_is_lost(network: Moving, three: Three) -> None:
    _, a, b = three
    recorder = Recorder()
    await b.start_worker("recorder", recorder)

    for number in range(100):
        if number == 50:
            dials = network.dials
            await b.announce(network.move(b))
            await trio.sleep(1)
            assert network.dials > dials
        await a.send_message("recorder@b", str(number))
    await trio.sleep(1)

    assert recorder.received == [str(number) for number in range(100)]


async def test_who_announces_where_it_is_already_costs_nobody_a_session(network: Moving, three: Three) -> None:
    _, a, b = three
    await b.start_worker("echo", Echo())

    for _ in range(10):
        await b.announce("wss://b:1")
        assert await a.send_and_receive("echo", "here?", timeout=1) == "here?"


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("wss://0.0.0.0:1", "name one address of its host"),
        ("wss://[::]:1", "name one address of its host"),
        ("b", "is written wss://HOST:PORT"),
        ("wss://b", "is written wss://HOST:PORT"),
    ],
)
async def test_what_nobody_can_dial_is_not_announced(three: Three, address: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        await three[1].announce(address)


async def test_a_node_that_does_not_listen_has_no_address_to_announce(autojump_clock: MockClock) -> None:
    async with open_node("n", stall_warning=None) as node:
        with pytest.raises(ValueError, match="does not listen"):
            await node.announce("wss://b:1")


# --- a node that finds out where it is


@pytest.mark.network
async def test_where_a_node_is_depends_on_where_it_goes() -> None:
    assert await address_towards("wss://127.0.0.1:7400") == "127.0.0.1"
    assert await address_towards("http://127.0.0.5:2379") == "127.0.0.1"
    assert await address_towards("wss://no-such-host.invalid:7400") is None
    places = ["wss://no-such-host.invalid:1", "wss://127.0.0.1:7400"]
    assert await find_address("wss://0.0.0.0:7401", places) == "wss://127.0.0.1:7401"
    assert await find_address("wss://0.0.0.0:7401", places[:1]) == ""


@pytest.mark.network
async def test_an_address_that_has_changed_is_announced_once(autojump_clock: MockClock) -> None:
    announced: list[str] = []
    with trio.move_on_after(5):
        await follow_address("wss://0.0.0.0:7401", ["wss://127.0.0.1:1"], "wss://10.0.0.1:7401", announced.append)

    assert announced == ["wss://127.0.0.1:7401"]


@pytest.mark.network
async def test_a_node_that_listens_everywhere_enters_itself_where_it_reaches_the_directory(
    autojump_clock: MockClock,
) -> None:
    directory = EmbeddedDirectory("main", "wss://127.0.0.1:1")
    network = Moving()
    async with on(network, "main", listen="wss://0.0.0.0:1", directory=directory) as main:
        assert [member.address for member in main._view.members()] == ["wss://127.0.0.1:1"]  # type: ignore[misc]


@pytest.mark.parametrize("zone_info", [ZoneInfo(), ZoneInfo(address="wss://0.0.0.0:1")])
async def test_a_node_that_listens_everywhere_and_cannot_find_out_has_to_say_where_it_is(
    autojump_clock: MockClock, zone_info: ZoneInfo
) -> None:
    opening = on(Moving(), "n", listen="wss://0.0.0.0:1", zone=zone_info, directory=MemoryDirectory())
    with pytest.raises(ValueError, match="say where they can"):
        async with opening:
            pass
