"""Every directory keeps the promises of `abc.Directory`, each of them tried by one suite."""

from __future__ import annotations

import pytest
import trio.testing

from .check_directory import CHECKS, RIVALS, Check, check_directory, run_check
from .etcd_server import EtcdServer, needs_etcd
from .world import LEASE_IN_ETCD, dns_world, embedded_world, etcd_world, fake_etcd_world, memory_world

LEASES = {"who_renews_its_lease_stays": 2.0, "many_names_are_published_at_once": 10.0}
"""Of checks that last for many leases, or for one however long they take."""
LONG = [check for check in CHECKS if check.__name__ in LEASES]
"""In real time they take ten seconds each."""
each_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


async def test_the_directory_in_memory_keeps_the_contract(autojump_clock: trio.testing.MockClock) -> None:
    await check_directory(memory_world)


@pytest.mark.parametrize("check", RIVALS, ids=lambda check: check.__name__)
async def test_of_two_starts_of_one_node(check: Check, autojump_clock: trio.testing.MockClock) -> None:
    await run_check(check, memory_world)


@each_check
async def test_embedded_in_a_node(check: Check, autojump_clock: trio.testing.MockClock) -> None:
    await run_check(check, embedded_world)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS + RIVALS, ids=lambda check: check.__name__)
async def test_in_a_fake_of_etcd(check: Check, autojump_clock: trio.testing.MockClock) -> None:
    await run_check(check, fake_etcd_world)


@each_check
async def test_by_dns(check: Check, autojump_clock: trio.testing.MockClock) -> None:
    await run_check(check, dns_world)


@needs_etcd
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    [pytest.param(check, marks=[pytest.mark.soak] * (check in LONG)) for check in CHECKS + RIVALS],
    ids=lambda check: check.__name__,
)
async def test_in_etcd(check: Check, etcd_server: EtcdServer) -> None:
    lease = LEASES.get(check.__name__, LEASE_IN_ETCD)
    await run_check(check, lambda: etcd_world(f"etcd://127.0.0.1:{etcd_server.port}", lease))
