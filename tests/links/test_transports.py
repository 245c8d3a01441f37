"""Every transport keeps the promises of `abc.Transport`: the real one, and the one that stands in for it."""

from __future__ import annotations

import pytest
import trio.testing

from .check_transport import CHECKS, Check, check_transport, run_check
from .worlds import memory_world, tcp_world, wired_world

each_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


async def test_the_transport_in_memory_keeps_the_contract(autojump_clock: trio.testing.MockClock) -> None:
    await check_transport(memory_world)


@each_check
async def test_over_wires_in_virtual_time(check: Check, autojump_clock: trio.testing.MockClock) -> None:
    await run_check(check, wired_world)


@pytest.mark.network
@pytest.mark.slow
@each_check
async def test_over_tcp(check: Check) -> None:
    await run_check(check, tcp_world)
