"""How nodes meet: connecting, listening, and all that can be wrong with either."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from autonomy import NodeDown, Unreachable, open_node
from autonomy.abc import Link
from autonomy.identity import ZoneAuthority
from tests.workers import Echo
from tests.zone import FaultyNetwork, on, two_nodes


async def test_connect_returns_the_node_it_met_and_twice_the_same(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, on(network, "b") as b:
        far = await a.connect("wss://b:1")
        dials = network.dials

        assert far.name == "b"
        assert await a.connect("wss://b:1", "b") == far
        assert network.dials == dials
        assert await far.identifier() == await (await a.connect("wss://b:1")).identifier()
        assert a.address == "wss://a:1"
        assert b.address == "wss://b:1"


async def test_both_may_connect_at_the_same_time(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, on(network, "b") as b:
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(a.connect, "wss://b:1")
                    nursery.start_soon(b.connect, "wss://a:1")
            await trio.sleep(1)
            assert a.statistics().links == b.statistics().links == 1
            network.cut("a", "b")
        await a.start_worker("echo", Echo())
        await b.start_worker("echo", Echo())
        assert await a.send_and_receive("echo@b", "hello") == "hello"
        assert await b.send_and_receive("echo@a", "hello") == "hello"


async def test_a_node_does_not_connect_to_itself(autojump_clock: MockClock) -> None:
    async with on(FaultyNetwork(), "a") as a:
        for name in (None, "a"):
            with pytest.raises(ValueError, match="the address of this node itself"):
                await a.connect("wss://a:1", name)


@pytest.mark.parametrize("name", [None, "b"])
async def test_where_nobody_listens_connect_gives_up_when_its_time_is_up(
    autojump_clock: MockClock, name: str | None
) -> None:
    async with on(FaultyNetwork(), "a") as a:
        with pytest.raises(Unreachable, match="nobody listens there") as caught:
            await a.connect("wss://b:1", name, timeout=3)

        assert caught.value.outcome == "not_sent"
        assert trio.current_time() == pytest.approx(3, abs=0.1)


async def test_connect_waits_for_a_node_that_comes_up_in_time(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, trio.open_nursery() as nursery:
        names: list[str] = []

        async def connect(name: str | None) -> None:
            names.append((await a.connect("wss://b:1", name, timeout=30)).name)

        nursery.start_soon(connect, None)
        nursery.start_soon(connect, "b")
        await trio.sleep(5)
        async with on(network, "b"):
            await trio.sleep(5)
            assert names == ["b", "b"]


async def test_connect_gives_up_where_nobody_answers(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, on(network, "b"):
        network.part("a", "b")
        for name in (None, "b"):
            with pytest.raises(Unreachable):
                await a.connect("wss://b:1", name, timeout=8)
        assert trio.current_time() == pytest.approx(16, abs=0.5)
        network.heal("a", "b")
        assert (await a.connect("wss://b:1")).name == "b"


async def test_a_node_of_another_name_is_not_the_one_that_was_meant(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, on(network, "b"):
        with pytest.raises(Unreachable, match="it is node 'b', not 'c'"):
            await a.connect("wss://b:1", "c", timeout=2)


@pytest.mark.parametrize("address", ["b:1", "http://b:1", "", "wss://b", "wss://b:x", "wss://:1"])
async def test_what_is_no_address_is_refused(autojump_clock: MockClock, address: str) -> None:
    async with on(FaultyNetwork(), "a") as a:
        with pytest.raises(ValueError, match="address"):
            await a.connect(address)


async def test_other_values_that_cannot_be_are_refused(autojump_clock: MockClock) -> None:
    async with on(FaultyNetwork(), "a") as a:
        with pytest.raises(ValueError, match="name"):
            await a.connect("wss://b:1", "no name")
        for timeout in (0, -1, float("nan"), "3"):
            with pytest.raises((TypeError, ValueError), match="timeout"):
                await a.connect("wss://b:1", timeout=timeout)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await a.connect(3)  # type: ignore[arg-type]


async def test_a_node_without_transport_has_no_links(autojump_clock: MockClock) -> None:
    async with open_node("alone", stall_warning=None) as node:
        with pytest.raises(ValueError, match="credentials"):
            await node.connect("wss://b:1")
        with pytest.raises(Unreachable):
            await node.send_message("echo@b", "hello")
        assert node.address is None
        assert node.statistics().links == 0


async def test_a_cancelled_connect_leaves_the_node_as_it_was(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a, on(network, "b"):
        network.part("a", "b")
        with trio.move_on_after(2):
            await a.connect("wss://b:1")
        network.heal("a", "b")
        assert (await a.connect("wss://b:1")).name == "b"


async def test_an_address_that_is_taken_fails_the_opening_and_leaves_nothing(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a"):
        with pytest.raises(OSError, match="somebody listens at"):
            async with on(network, "b", listen="wss://a:1"):
                raise AssertionError("it must not open")
        async with on(network, "b") as b:
            assert (await b.connect("wss://a:1")).name == "a"


async def test_an_address_is_free_when_its_node_has_left(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    for _ in range(3):
        async with on(network, "a"):
            pass


async def test_port_0_is_any_port(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a", listen="wss://a:0") as a, on(network, "b", listen=None) as b:
        assert a.address is not None
        assert not a.address.endswith(":0")
        assert (await b.connect(a.address)).name == "a"
        assert b.address is None


async def test_what_is_no_address_to_listen_at_fails_the_opening(autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match="address"):
        async with on(FaultyNetwork(), "a", listen="here"):
            raise AssertionError("it must not open")
    with pytest.raises(TypeError, match="listen"):
        on(FaultyNetwork(), "a", listen=7400)


async def test_listening_needs_credentials() -> None:
    with pytest.raises(ValueError, match="credentials"):
        open_node("a", listen="wss://127.0.0.1:0")
    with pytest.raises(TypeError, match="credentials"):
        open_node("a", credentials="secret")  # type: ignore[arg-type]


async def test_a_node_has_the_name_of_its_certificate(tmp_path: Path) -> None:
    credentials = ZoneAuthority.create(tmp_path / "authority", "test.example").credentials("a")

    with pytest.raises(ValueError, match=r"'b'.*'a'"):
        open_node("b", credentials=credentials)
    for name in (None, "a"):
        async with open_node(name, credentials=credentials, stall_warning=None) as node:
            assert node.name == "a"
            assert await node.identifier() == credentials.uri


async def test_a_node_with_a_name_that_is_taken_is_not_let_in(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("echo", Echo())
        async with open_node(
            "b", transport=network.transport("b"), listen="wss://other:1", stall_warning=None
        ) as impostor:
            with pytest.raises(Unreachable):
                await impostor.connect("wss://a:1", timeout=5)
            assert await a.send_and_receive("echo@b", "still you?") == "still you?"
            assert a.statistics().links == 1


async def test_a_host_that_takes_links_and_hangs_up_is_dialled_with_pauses(autojump_clock: MockClock) -> None:
    async def hang_up(_: Link) -> None:
        await trio.lowlevel.checkpoint()

    network = FaultyNetwork()
    async with on(network, "a") as a, trio.open_nursery() as nursery:
        async with on(network, "b") as b:
            await b.start_worker("echo", Echo())
            await a.connect("wss://b:1")
            await trio.sleep(10)
        await nursery.start(network.transport("b").serve, "wss://b:1", hang_up)
        dials = network.dials

        with pytest.raises(NodeDown, match="timeout") as caught:
            await a.send_and_receive("echo@b", "hello")
        assert caught.value.outcome == "not_sent"
        await trio.sleep(60 - trio.current_time())

        assert network.dials - dials < 60
        nursery.cancel_scope.cancel()
