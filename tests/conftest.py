"""What every test may ask for: a node in virtual time, or a zone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import hypothesis
import pytest
import trio.testing
from trio.testing import MockClock

from autonomy import Node, open_node
from autonomy.directory import EmbeddedDirectory
from tests.directory.etcd_server import EtcdServer, etcd
from tests.zone import FaultyNetwork, on
from tests.zoned import Three, zone

# No test asserts a time, and on a busy machine any example may take long.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
async def node(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Node]:
    """A node named ``n`` on a clock that jumps whenever everybody waits. It ends after the test."""
    async with open_node("n", stall_warning=None) as opened:
        yield opened


@pytest.fixture
def network() -> FaultyNetwork:
    """What links them."""
    return FaultyNetwork()


@pytest.fixture
async def three(autojump_clock: MockClock, network: FaultyNetwork) -> AsyncIterator[Three]:
    """Nodes ``main``, ``a`` and ``b`` of one zone; the first one keeps the directory."""
    async with zone("main", "a", "b", network=network) as (main, a, b):
        yield main, a, b


@pytest.fixture
async def late(autojump_clock: MockClock, network: FaultyNetwork, three: Three) -> AsyncIterator[Node]:
    """Another node of their zone, which is starting."""
    async with on(network, "late", directory=EmbeddedDirectory("main", "wss://main:1"), ready=False) as node:
        yield node


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """An etcd that nobody kills: each test has a zone of its own there."""
    with etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server
