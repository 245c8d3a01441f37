"""Leases and sessions agree: a node whose link returns in time is not given up because of its lease (D2, K2)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from autonomy import Liveness, Zone
from autonomy._sansio.members import LEASE, Member, check_member, lease_for
from tests.workers import Echo
from tests.zone import FaultyNetwork
from tests.zoned import zone


@pytest.mark.parametrize("liveness", [Liveness(), Liveness(down=30.0)], ids=["usual", "patient"])
@pytest.mark.parametrize("phase", [0.0, 0.2, 0.4, 0.6, 0.8, 0.95])
async def test_a_node_that_was_cut_off_for_less_than_the_window_is_in_the_zone_and_answers(
    autojump_clock: MockClock, liveness: Liveness, phase: float
) -> None:
    network = FaultyNetwork()
    async with zone("main", "a", "b", network=network, liveness=liveness) as (main, a, b):
        await b.start_worker("echo", Echo())
        assert await a.send_and_receive("echo", "before") == "before"
        await trio.sleep(2 * lease_for(liveness.down) + phase * lease_for(liveness.down) / 3)

        async def cut() -> None:
            await trio.sleep(liveness.down - liveness.heartbeat - 0.5)  # an idle link was heard a heartbeat before
            for each in (main, a):
                network.heal(each.name, "b")

        async with trio.open_nursery() as nursery:
            for each in (main, a):
                network.part(each.name, "b")
            nursery.start_soon(cut)
            assert await a.send_and_receive("echo", "within", timeout=liveness.down + 5) == "within"

        assert [each.name for each in await Zone.nodes(a)] == ["a", "b", "main"]


async def test_a_node_that_is_cut_off_for_longer_is_gone_and_comes_back_by_itself(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with zone("main", "a", "b", network=network) as (main, a, b):
        await b.start_worker("echo", Echo())
        assert await a.send_and_receive("echo", "before") == "before"

        for each in (main, a):
            network.part(each.name, "b")
        await trio.sleep(LEASE + 1)
        assert [each.name for each in await Zone.nodes(a)] == ["a", "main"]
        for each in (main, a):
            network.heal(each.name, "b")
        await trio.sleep(6)

        assert await a.send_and_receive("echo", "after") == "after"
        assert [each.name for each in await Zone.nodes(a)] == ["a", "b", "main"]


@pytest.mark.parametrize("lease", [0.0, 0.9, 3601.0, float("inf"), float("nan")])
def test_a_node_cannot_enter_itself_for_ever(lease: float) -> None:
    with pytest.raises(ValueError, match="lease must be from 1 to 3600 seconds"):
        check_member(Member("a", "1", lease=lease))
