"""Stories of faults: drawn from the seed, told beside the scenario, printed, saved and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from autonomy import NoReply
from autonomy.testing import Fault, NotRecovered, Simulation, SimulationFailed, Story

from .simulated import small_zone

PARTITION = Fault("partition", ("bank", "client-0"), 1.2, 3)
SLOW = Fault("slow", ("bank", "client-1"), 0.5, 2, (("greatest", 4.0),))


def test_a_story_reads_as_words() -> None:
    story = Story((PARTITION, SLOW, Fault("one-way block", ("a", "b"), 3, 0.25), Fault("reset", ("a", "b"), 4)))

    assert str(story).splitlines() == [
        "at 0.5 s for 2 s: slow bank – client-1, greatest 4 s",
        "at 1.2 s for 3 s: partition bank – client-0",
        "at 3 s for 0.25 s: one-way block a → b",
        "at 4 s: reset a – b",
    ]


def test_a_saved_story_is_read_back_as_it_was(tmp_path: Path) -> None:
    sim = small_zone(7)
    story = sim.chaos(rate=1)
    sim.story.save(tmp_path / "a.story")

    assert len(story) > 60
    assert Story.load(tmp_path / "a.story") == sim.story == Story(story.faults, seed=7)


def test_a_story_may_be_written_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a.story"
    path.write_text("# found in May\nseed 3\n\nat 1.2 s for 3 s: partition bank - client-0\nat 2 s: reset a – b\n")

    assert Story.load(path) == Story((PARTITION, Fault("reset", ("a", "b"), 2)), seed=3)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("partition a – b", "expected a line such as"),
        ("at 1 s for 2 s: flood a – b", "'flood' is no kind of fault"),
        ("at 1 s for 2 s: partition a", "takes 2 different"),
        ("at 1 s for 2 s: partition a – a", "takes 2 different"),
        ("at 1 s: partition a – b", "write for how many seconds"),
        ("at 1 s for 2 s: reset a – b", "is over at once"),
        ("at -1 s for 2 s: crash a", "begins at 0 s"),
        ("at 1 s for 2 s: crash a, least 3 s", "has no 'least'"),
        ("at 1 s for 2 s: slow a – b, least 3", "expected a name and seconds"),
        ("at 1 s for 2 s: slow a – b, least -3 s", "nothing is so slow"),
        ("at 1 s for 1e999 s: partition a – b", "nothing lasts so long"),
        ("at 1.2.3 s for 2 s: partition a – b", "expected seconds"),
        ("seed 4", "said once"),
    ],
)
def test_a_line_that_is_no_fault_is_refused_with_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "a.story"
    path.write_text(f"seed 3\nat 1 s for 2 s: crash a\n{line}\n")

    with pytest.raises(ValueError, match=f"a.story, line 3: .*{complaint}"):
        Story.load(path)


def test_the_same_seed_draws_the_same_story() -> None:
    assert small_zone(7).chaos() == small_zone(7).chaos() != small_zone(8).chaos()


def test_only_the_kinds_and_the_hosts_asked_for_are_drawn() -> None:
    story = small_zone(7).chaos(kinds=["crash", "slow"], hosts=["bank", "client-0"], for_=60)

    assert {fault.kind for fault in story} == {"crash", "slow"}
    assert {host for fault in story for host in fault.hosts} == {"bank", "client-0"}
    assert story.ends_at <= 60.1


def test_a_story_happens_when_it_says_and_then_everything_is_mended() -> None:
    sim = small_zone(1)
    sim.apply(Story((PARTITION, Fault("crash", ("client-1",), 2, 1), Fault("black hole", ("bank", "client-2"), 3.5))))
    report = sim.run(Simulation.calm)

    assert [(moment.kind, round(moment.at, 3), moment.node) for moment in report.faults] == [
        ("fault", 1.2, "bank"),
        ("fault", 2.0, "client-1"),
        ("heal", 3.0, "client-1"),
        ("fault", 3.5, "bank"),
        ("heal", 4.2, "bank"),
    ]


def test_a_way_that_two_faults_block_is_open_when_both_are_mended() -> None:
    async def scenario(sim: Simulation) -> None:
        client = await sim.host("client-0").up()
        await sim.host("bank").up()
        await trio.sleep(2)
        with pytest.raises(NoReply):
            await client.send_and_receive("counter@bank", "too early", timeout=2)
        assert await client.send_and_receive("counter@bank", "in time", timeout=2)

    sim = small_zone(1)
    sim.apply(Story((PARTITION, Fault("isolation", ("bank",), 1, 0.5))))
    sim.run(scenario)


def test_a_host_that_two_faults_turned_off_is_on_when_both_are_mended() -> None:
    sim = small_zone(1)
    sim.apply(Story((Fault("crash", ("bank",), 1, 4), Fault("power loss", ("bank",), 2, 1))))
    report = sim.run(Simulation.calm)

    starts = [moment.at for moment in report.moments if (moment.kind, moment.node) == ("start", "bank")]
    assert [round(at, 3) for at in starts] == [0, 5]


def test_a_way_is_as_slow_as_the_newest_fault_says_that_is_not_mended() -> None:
    async def scenario(sim: Simulation) -> None:
        way = ("client-0", "bank")
        with sim.slow(*way, (5, 5)):
            with sim.slow(*way, (1, 1)):
                assert sim.network.delay(way) == 1
            assert sim.network.delay(way) == 5
        assert sim.network.delay(way) < 1

    small_zone(1).run(scenario)


def test_an_isolation_is_noted_as_one_host_s() -> None:
    sim = small_zone(1)
    sim.apply(Story((Fault("isolation", ("bank",), 1, 1),)))
    report = sim.run(Simulation.calm)

    assert [(moment.kind, moment.node, moment.peer) for moment in report.faults] == [
        ("fault", "bank", ""),
        ("heal", "bank", ""),
    ]


def test_a_second_run_begins_with_nothing_broken() -> None:
    async def scenario(sim: Simulation) -> None:
        sim.crash("bank")
        sim.skew("bank", 3)

    sim = small_zone(1)

    assert sim.run(scenario).trace_hash == sim.run(scenario).trace_hash


def test_what_the_scenario_broke_is_mended_too_when_the_story_is_over() -> None:
    async def scenario(sim: Simulation) -> None:
        sim.power_loss("bank")
        sim.one_way_block("client-0", "bank")
        await sim.calm()
        await sim.host("bank").up()
        client = sim.host("client-0").node
        assert client is not None
        assert await client.send_and_receive("counter@bank", "hello", timeout=20)

    sim = small_zone(1)
    sim.apply(Story((Fault("reset", ("bank", "client-2"), 3),)))
    report = sim.run(scenario)

    assert ("heal", "client-0", "bank") in [(moment.kind, moment.node, moment.peer) for moment in report.faults]


def test_a_scenario_that_does_not_end_in_the_time_of_grace_has_failed() -> None:
    async def scenario(sim: Simulation) -> None:
        await trio.sleep_forever()

    sim = small_zone(1)
    sim.apply(Story((PARTITION,)), grace=5)

    with pytest.raises(SimulationFailed, match="has not ended 5 s after") as caught:
        sim.run(scenario)
    assert isinstance(caught.value.__cause__, NotRecovered)
    assert caught.value.story == Story((PARTITION,), seed=1)
    assert "at 1.2 s for 3 s: partition bank – client-0" in str(caught.value)


def test_a_story_that_is_given_takes_the_place_of_what_would_be_drawn() -> None:
    sim = Simulation(story=Story((PARTITION,), seed=5))
    sim.node("bank")
    sim.node("client-0")
    sim.chaos(rate=10, grace=1)
    report = sim.run()

    assert sim.seed == 5
    assert len(report.faults) == 2
    assert report.ended_at <= 1.2 + 3 + 1


def test_a_story_about_hosts_that_are_not_there_is_refused() -> None:
    sim = Simulation(1, story=Story((PARTITION,)))
    sim.node("bank")

    with pytest.raises(ValueError, match="no host 'client-0'"):
        sim.run()


def test_chaos_without_hosts_is_refused() -> None:
    with pytest.raises(ValueError, match="add the nodes first"):
        Simulation(1).chaos()
