"""What a test asks of a simulation wrongly is refused at once, with what would be right: or it would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import pytest
import trio

from autonomy import ZoneInfo
from autonomy.testing import Simulation, SimulationFailed, Story


def two(**options: Any) -> Simulation:
    sim = Simulation(1, **options)
    sim.nodes("host", 2)
    return sim


NO_HOST = r"there is no host 'tpyo'\. There are: host-0, host-1\."


@pytest.mark.parametrize(
    "verb",
    [
        lambda sim: sim.host("tpyo"),
        lambda sim: sim.partition("host-0", "tpyo"),
        lambda sim: sim.partition("tpyo", "host-0"),
        lambda sim: sim.one_way_block("host-0", "tpyo"),
        lambda sim: sim.hold("host-0", "tpyo"),
        lambda sim: sim.refuse("tpyo", "host-0"),
        lambda sim: sim.stall("tpyo", "host-0"),
        lambda sim: sim.narrow("host-0", "tpyo"),
        lambda sim: sim.jitter("host-0", "tpyo"),
        lambda sim: sim.slow("host-0", "tpyo"),
        lambda sim: sim.reset("host-0", "tpyo"),
        lambda sim: sim.blackhole("host-0", "tpyo"),
        lambda sim: sim.isolate("tpyo"),
        lambda sim: sim.clog("tpyo"),
        lambda sim: sim.full_disk("tpyo"),
        lambda sim: sim.skew("tpyo", 5),
        lambda sim: sim.jump("tpyo", 5),
        lambda sim: sim.crash("tpyo"),
        lambda sim: sim.power_loss("tpyo"),
        lambda sim: sim.restart("tpyo"),
        lambda sim: sim.duplicate("tpyo"),
        lambda sim: sim.chaos(hosts=["tpyo"]),
        lambda sim: sim.swizzle(at=1, for_=1, hosts=["tpyo", "host-0"]),
    ],
)
def test_a_fault_where_nobody_is_is_refused_and_nothing_breaks(verb: Callable[[Simulation], object]) -> None:
    async def scenario(sim: Simulation) -> None:
        verb(sim)

    with pytest.raises(SimulationFailed, match=NO_HOST) as caught:
        two().run(scenario)

    assert caught.value.report.faults == []


@pytest.mark.parametrize(
    "verb",
    [
        lambda sim: sim.partition("host-0", "host-1"),
        lambda sim: sim.crash("host-0"),
        lambda sim: sim.restart("host-0"),
        lambda sim: sim.skew("host-0", 5),
        lambda sim: sim.jump("host-0", 5),
        lambda sim: sim.full_disk("host-0"),
        lambda sim: sim.duplicate("host-0"),
    ],
)
def test_nothing_breaks_before_the_run_or_after_it(verb: Callable[[Simulation], object]) -> None:
    sim = two()

    for _ in range(2):
        with pytest.raises(RuntimeError, match="break it in the scenario"):
            verb(sim)
        sim.run(until=1)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda sim: sim.partition("host-0", "host-0"), "'host-0' is one host: this takes two"),
        (lambda sim: sim.slow("host-0", "host-1", (5, 1)), r"write \(1, 5\), not \(5, 1\)"),
        (lambda sim: sim.slow("host-0", "host-1", 5), r"such as \(0.0005, 0.005\), got 5"),
        (lambda sim: sim.jitter("host-0", "host-1", -1), "greatest must be 0 or more"),
        (lambda sim: sim.skew("host-0", "5"), "seconds must be a number of seconds, got str"),
        (lambda sim: sim.jump("host-0", float("inf")), "seconds must be finite"),
        (lambda sim: sim.chaos(kinds=["partiton"]), "'partiton' is no kind of fault. There are: partition, "),
        (lambda sim: sim.chaos(kinds="crash"), r"write \['crash'\], not 'crash'"),
        (lambda sim: sim.chaos(kinds=[]), "kinds are none: name some"),
        (lambda sim: sim.chaos(hosts="host-0"), r"write \['host-0'\], not 'host-0'"),
        (lambda sim: sim.chaos(rate=0), "rate must be faults a second, such as 1/4, more than 0"),
        (lambda sim: sim.chaos(for_=nan), "for_ must be a number of seconds, got NaN"),
        (lambda sim: sim.chaos(grace=-1), "grace must be 0 or more"),
        (lambda sim: sim.swizzle(at=1, for_=0), "for_ must be more than 0"),
        (lambda sim: sim.apply("one.story"), r"got 'one.story'\. Story\.load\(FILE\) reads one"),
        (lambda sim: sim.always("host-0"), "check must be a function, got str"),
        (lambda sim: sim.sometimes("often", 1), "condition must be a function, got int"),
        (lambda sim: sim.eventually(lambda _: True, within=-1), "within must be 0 or more"),
        (lambda sim: sim.run(until=-1), "until must be 0 or more seconds, got -1"),
        (lambda sim: sim.run("scenario"), "scenario must be a function, got str"),
        (lambda sim: sim.node("a host"), "node name 'a host' is not allowed"),
        (lambda sim: sim.node("a", "main"), "main must be a function, got str"),
        (lambda sim: sim.node("a", listen="wss://a:2"), "host 'a' listens at 'wss://a:1': leave out listen="),
        (lambda sim: sim.nodes("a", -1), "count must be at least 0, got -1"),
        (lambda _: two(wire="tsl"), "wire must be one of 'messages', 'tls', got 'tsl'"),
        (lambda _: two(latency=(2, 1)), r"write \(1, 2\), not \(2, 1\)"),
        (lambda _: two(buggify=2), "buggify must be a share from 0 to 1, got 2"),
        (lambda _: two(story="one.story"), "story must be a Story"),
        (lambda _: two(zone="shop"), "zone must be a ZoneInfo, got 'shop'"),
        (lambda _: two(directory="host-0"), r"write zone=ZoneInfo\(\), too"),
        (lambda _: Simulation(zone=ZoneInfo(), directory="x").run(), "there is no host 'x' to keep the directory"),
        (lambda _: Simulation("7"), "seed must be an int, got str: '7'"),  # type: ignore[arg-type]  # that is the point
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be_right(ask: Callable[[Simulation], object], said: str) -> None:
    async def scenario(sim: Simulation) -> None:
        await trio.lowlevel.checkpoint()
        ask(sim)

    sim = two()
    try:
        with pytest.raises((ValueError, TypeError), match=said):
            ask(sim)
    except RuntimeError:  # a verb: it has to wait for the run
        with pytest.raises(SimulationFailed, match=said):
            sim.run(scenario)


@pytest.mark.parametrize("story", [None, Story()])
def test_a_plain_function_where_an_async_one_belongs_is_named(story: Story | None) -> None:
    def plain(_: object) -> None:
        return None

    with pytest.raises(SimulationFailed, match=r"scenario must be an async function; .*plain.* returned NoneType"):
        two(story=story).run(plain)  # type: ignore[arg-type]  # that is the point
    sim = Simulation(1)
    sim.node("a", plain)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(SimulationFailed, match=r"main of host 'a' must be an async function; .*plain.* returned None"):
        sim.run(until=1)


async def test_nobody_waits_for_calm_where_no_simulation_runs() -> None:
    with pytest.raises(RuntimeError, match="wait for that in the scenario"):
        await two().calm()


def test_a_seed_in_the_environment_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONOMY_SIM_SEED", "seven")

    with pytest.raises(ValueError, match="AUTONOMY_SIM_SEED must be a number such as 42, got 'seven'"):
        Simulation()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"seed x\n", "line 1: expected a line such as 'seed 3'"),
        (b"seed 1\nat 1..2 s: reset a - b\n", "line 2: expected seconds, such as 1.2. Got: '1..2'"),
        (b"\xff\xfe", "is no story: it is not text in UTF-8"),
    ],
)
def test_a_file_that_is_no_story_is_refused(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "bad.story").write_bytes(content)

    with pytest.raises(ValueError, match=said):
        Story.load(tmp_path / "bad.story")
