"""What runs before ``main-pod``: it waits for nodes to be ready, no longer than it is told, and says for whom."""

from __future__ import annotations

import subprocess
import sys
from typing import Never

import pytest
import trio
import trio.testing

from autonomy import open_node
from autonomy._deploy.waiting import endpoints, is_ready, wait_ready

pytestmark = pytest.mark.network


def test_a_pod_is_all_its_clones_and_all_their_ports() -> None:
    assert list(endpoints("shop-runners:2:4500-4501")) == [
        ("shop-runners-0.shop-runners", 4500),
        ("shop-runners-0.shop-runners", 4501),
        ("shop-runners-1.shop-runners", 4500),
        ("shop-runners-1.shop-runners", 4501),
    ]


@pytest.mark.parametrize("wanted", ["", "a", "a:1", "a:1:4500", "A:1:1-2", "a:x:1-2", "a:1:1-2,b:1:1-2"])
def test_what_names_no_pod_is_refused(wanted: str) -> None:
    with pytest.raises(ValueError, match="a pod is written NAME:COUNT:FIRST-LAST"):
        list(endpoints(wanted))


async def test_it_waits_until_the_last_is_ready() -> None:
    async with open_node(health="127.0.0.1:0") as first, open_node(ready=False, health="127.0.0.1:0") as second:
        places = [("127.0.0.1", int(str(node.health).rpartition(":")[2])) for node in (first, second)]
        left: list[list[tuple[str, int]]] = []

        async def wait() -> None:
            left.append(await wait_ready(places, 30))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            while not await is_ready(*places[0]):
                await trio.lowlevel.checkpoint()
            before = list(left)
            await second.ready()

    assert before == []
    assert left == [[]]


async def test_when_the_time_is_over_it_says_who_is_not_ready() -> None:
    async with open_node(health="127.0.0.1:0") as well, open_node(ready=False, health="127.0.0.1:0") as slow:
        places = [("127.0.0.1", int(str(node.health).rpartition(":")[2])) for node in (well, slow)]

        assert await wait_ready(places, 0.1) == places[1:]


class NoNames(trio.abc.HostnameResolver):
    """Knows no name, and asks nobody."""

    async def getaddrinfo(self, *given: object) -> Never:
        raise OSError(f"no name of a host: {given[0]!r}")

    async def getnameinfo(self, *given: object) -> Never:
        raise OSError(f"no address of a host: {given[0]!r}")


async def test_who_does_not_answer_is_not_ready() -> None:
    assert not await is_ready("127.0.0.1", 1)


async def test_who_has_no_name_yet_is_not_ready() -> None:
    trio.socket.set_custom_hostname_resolver(NoNames())

    assert not await is_ready("shop-runners-0.shop-runners", 4500)


@pytest.mark.slow
def test_the_program_ends_well_whatever_came_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "autonomy._deploy.waiting", "0", "shop-runners:1:4500-4500"],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "waiting for 1 nodes to be ready",
        "not ready after 0 s: 1 of 1, shop-runners-0.shop-runners:4500. Starting anyway.",
    ]
