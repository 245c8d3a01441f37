"""A node whose host has moved asks etcd anew, and does not wait for what it asked from where it was."""

from __future__ import annotations

import httpx
import pytest
import trio
from trio.testing import MockClock

from autonomy._sansio.directory_url import EtcdPlace
from autonomy.directory.etcd_gateway import Gateway
from autonomy.errors import DirectoryUnavailable


class Deaf(httpx.AsyncBaseTransport):
    """Carries nothing until it is told to, and then only what is asked from then on."""

    def __init__(self) -> None:
        self.is_deaf = True
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.is_deaf:
            await trio.sleep_forever()
        return httpx.Response(200, json={"header": {"revision": "1"}})


@pytest.fixture
def deaf() -> Deaf:
    """What is between the node and etcd."""
    return Deaf()


@pytest.fixture
def gateway(deaf: Deaf) -> Gateway:
    """The node's way to an etcd of one member."""
    return Gateway(EtcdPlace(("http://etcd:2379",)), None, lambda: None, deaf)


async def move_soon(deaf: Deaf, gateway: Gateway) -> None:
    await trio.sleep(0.5)
    deaf.is_deaf = False
    gateway.reconnect()


async def test_what_was_asked_before_is_asked_again(autojump_clock: MockClock, deaf: Deaf, gateway: Gateway) -> None:
    async with gateway.opened(), trio.open_nursery() as nursery:
        nursery.start_soon(move_soon, deaf, gateway)
        for _ in range(3):
            nursery.start_soon(gateway.read, {"key": "eA=="})
        await trio.sleep(0.6)

        assert deaf.asked == 6
    assert trio.current_time() < 1


async def test_a_watch_ends_so_that_another_one_can_begin(
    autojump_clock: MockClock, deaf: Deaf, gateway: Gateway
) -> None:
    async with gateway.opened(), trio.open_nursery() as nursery:
        nursery.start_soon(move_soon, deaf, gateway)
        began = trio.current_time()
        with pytest.raises(DirectoryUnavailable, match="another address"), trio.fail_after(60):
            await gateway.watch({"key": "eA=="}, 1, lambda _: True)

        assert trio.current_time() - began < 1


async def test_whoever_gives_up_meanwhile_is_not_held(autojump_clock: MockClock, deaf: Deaf, gateway: Gateway) -> None:
    async with gateway.opened():
        with trio.move_on_after(0.2) as scope:
            await gateway.read({"key": "eA=="})
        gateway.reconnect()

        assert scope.cancelled_caught
        assert deaf.asked == 1
