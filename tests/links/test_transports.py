"""Every transport keeps the promises of `abc.Transport`: the real one, and the one that stands in for it."""

from __future__ import annotations

import pytest
import trio.testing

from autonomy.testing.network import LATENCY, Latency

from .check_transport import CHECKS, Check, check_transport, run_check
from .worlds import simulated_world, streamed_world, tcp_world, wired_world

each_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


@pytest.mark.parametrize("latency", [(0.0, 0.0), LATENCY, (0.002, 0.02)])
async def test_the_simulated_transport_keeps_the_contract(
    latency: Latency, autojump_clock: trio.testing.MockClock
) -> None:
    await check_transport(lambda: simulated_world(latency))


@each_check
async def test_over_wires_in_virtual_time(check: Check, autojump_clock: trio.testing.MockClock) -> None:
    await run_check(check, wired_world)


@each_check
async def test_over_simulated_streams(check: Check, autojump_clock: trio.testing.MockClock) -> None:
    await run_check(check, streamed_world)


@pytest.mark.network
@pytest.mark.slow
@each_check
async def test_over_tcp(check: Check) -> None:
    await run_check(check, tcp_world)
