"""Simulated zones: the same seed is the same run, faults are what they say, and a failure tells its story."""

from __future__ import annotations

import pytest
import trio

from autonomy import Context, Node, NodeDown
from autonomy.testing import Fault, Simulation, SimulationFailed, Story, standstill

from .simulated import Counter, bank, small_zone, troubled, troubles


def test_another_seed_is_another_run() -> None:
    assert troubled(1).trace_hash != troubled(2).trace_hash


def test_a_run_says_what_was_broken() -> None:
    report = troubled(3)

    assert len(report.faults) >= 12
    assert {moment.kind for moment in report.moments} >= {"send", "receive", "link", "fault", "heal", "start"}


def test_a_partition_shorter_than_the_window_is_noticed_by_nobody() -> None:
    async def scenario(sim: Simulation) -> None:
        client = await sim.host("client-0").up()
        await sim.host("bank").up()
        await client.send_and_receive("counter@bank", "before")
        with sim.partition("client-0", "bank"):
            await trio.sleep(6)
        assert await client.send_and_receive("counter@bank", "after", timeout=8) > "0"

    sim = Simulation(1)
    sim.node("bank", bank)
    sim.node("client-0")
    sim.run(scenario)


def test_a_crash_is_known_within_a_second_and_a_power_loss_when_the_window_is_over() -> None:
    known: list[float] = []

    async def ask_and_lose(sim: Simulation) -> None:
        client = await sim.host("client").up()
        await (await sim.host("bank").up()).start_worker("silent", Silent())
        for lose in (sim.crash, sim.power_loss):
            await (await sim.host("bank").up()).start_worker("silent", Silent(), on_conflict="keep")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_expect_down, client, known)
                await trio.sleep(1)
                mend = lose("bank")
            mend()
            await trio.sleep(1)

    sim = Simulation(2)
    sim.node("bank")
    sim.node("client")
    sim.run(ask_and_lose)

    assert known[0] - 1 < 1
    assert 9 < known[1] < 12


class Silent:
    async def handle_message(self, context: object, message: str) -> None:
        await trio.sleep_forever()


async def _expect_down(node: Node, known: list[float]) -> None:
    began = trio.current_time()
    with pytest.raises(NodeDown):
        await node.send_and_receive("silent@bank", "hello", timeout=60)
    known.append(trio.current_time() - began)


def test_a_failure_tells_its_seed_and_its_story() -> None:
    async def scenario(sim: Simulation) -> None:
        with sim.partition("bank", "client-0"):
            await trio.sleep(2)
        raise ValueError("the books do not balance")

    with pytest.raises(SimulationFailed) as caught:
        small_zone(11).run(scenario)

    text = str(caught.value)
    assert "the books do not balance" in text
    assert "AUTONOMY_SIM_SEED=11" in text
    assert "partition" in text
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_must_always_hold_is_looked_at_all_the_time_and_what_holds_sometimes_is_counted() -> None:
    sim = small_zone(5)
    sim.sometimes("a client was cut off", lambda sim: sim.host("bank").node is None)
    report = sim.run(troubles)
    sim = small_zone(5)
    sim.always(lambda sim: sim.host("bank").node is not None or trio.current_time() < 1)

    assert report.sometimes["a client was cut off"] > 0
    with pytest.raises(SimulationFailed, match="does not hold"):
        sim.run(troubles)


def test_what_must_come_true_has_time_from_when_all_is_mended() -> None:
    def later(sim: Simulation) -> bool:
        looked.append(trio.current_time())
        return trio.current_time() - looked[0] > 4

    looked: list[float] = []
    sim = small_zone(5)
    sim.eventually(later, within=5)
    sim.apply(Story((Fault("crash", ("bank",), 1, 2),)), grace=10)
    report = sim.run(Simulation.calm)

    assert report.ended_at == pytest.approx(7.1, abs=0.11)
    assert looked[-1] - looked[0] == pytest.approx(4, abs=0.11)


def test_what_does_not_come_true_in_time_is_a_failure_that_names_it() -> None:
    def nobody_is_rich(sim: Simulation) -> bool:
        return False

    sim = small_zone(5)
    sim.eventually(nobody_is_rich, within=5)

    with pytest.raises(SimulationFailed, match=r"nobody_is_rich has not become true within 5 s") as caught:
        sim.run()
    assert caught.value.report.ended_at == pytest.approx(5)
    with pytest.raises(SimulationFailed, match="nobody_is_rich has not become true when the run was over, after 2 s"):
        sim.run(until=2)


def test_a_report_ends_when_the_run_did() -> None:
    async def scenario(sim: Simulation) -> None:
        await trio.sleep(17)

    sim = Simulation(1)
    sim.node("alone")

    assert sim.run(scenario).ended_at == pytest.approx(17)


async def test_a_simulation_within_trio_is_refused_in_words() -> None:
    with pytest.raises(RuntimeError, match="from a plain function"):
        small_zone(1).run()


def test_two_hosts_of_one_name_are_refused() -> None:
    sim = Simulation(1)
    sim.node("bank")

    with pytest.raises(ValueError, match="bank"):
        sim.node("bank", lambda node: node.start_worker("counter", Counter()))


class Spins:
    """Runs on for some turns at a time."""

    def __init__(self, turns: int) -> None:
        self._turns = turns

    async def handle_message(self, context: Context, message: str) -> None:
        for _ in range(3):
            for _ in range(self._turns):
                await trio.lowlevel.checkpoint()
            await trio.sleep(1)
        await context.reply("done")


def spun(turns: int) -> list[str]:
    replies: list[str] = []

    async def main(node: Node) -> None:
        await node.start_worker("spinner", Spins(turns))
        await trio.sleep(3)
        replies.append(await node.send_and_receive("spinner", "go on"))

    sim = Simulation(1)
    sim.node("a", main)
    sim.run(until=10)
    return replies


def test_who_runs_on_and_never_waits_is_named_instead_of_holding_the_run_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(standstill, "TURNS", 2000)

    assert spun(turns=1500) == ["done"]
    with pytest.raises(SimulationFailed, match=r"virtual time stands still, .*: spinner@a") as caught:
        spun(turns=10**9)
    assert caught.value.report.ended_at == 3
