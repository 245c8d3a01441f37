"""``python -m autonomy.testing``: replay, sweep and check-determinism, as from a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import trio

from autonomy.testing import Fault, Simulation, Story, search
from autonomy.testing.__main__ import main

from .leases import leases

ROOT = Path(__file__).parent.parent
HERE = "tests.test_simulation_commands"
BUGGY = "tests.leases:leases"


@cache
def failing_seed() -> int:
    """Return the first seed that fails; another release of anything may have another."""
    found = search(leases, range(1, 101))
    assert found is not None
    assert found.story.seed is not None
    return found.story.seed


def steady(sim: Simulation) -> None:
    sim.node("a")
    sim.node("b")
    sim.sometimes("a partition", lambda sim: any(fault.kind == "partition" for fault in sim.story))
    sim.chaos(rate=1 / 2, for_=10, kinds=["reset"])
    sim.run(Simulation.calm)


def unsteady(sim: Simulation) -> None:
    """Depend on what must not matter."""

    async def scenario(sim: Simulation) -> None:
        await trio.sleep(1 + hash("a") % 1000 / 1000)
        sim.reset("a", "b")

    sim.node("a")
    sim.node("b")
    sim.run(scenario)


def tells_of_nobody(sim: Simulation) -> None:
    """Tell of a host that is not there."""
    sim.apply(Story((Fault("crash", ("tpyo",), 1, 1),)))
    sim.run()


def wrong_in_the_end(sim: Simulation) -> None:
    """Run well, and find out later."""
    steady(sim)
    raise ValueError("the books do not balance")


def in_a_shell(*words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-m", "autonomy.testing", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_seed_is_replayed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", f"{HERE}:steady", "--seed", "7"]) == 0
    assert "seed 7: passed" in capsys.readouterr().out


def test_what_is_found_after_the_run_is_told_with_the_same_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", f"{HERE}:wrong_in_the_end", "--seed", "5"]) == 1

    first, *_, last = (told := capsys.readouterr().out).splitlines()
    assert first == "ValueError: the books do not balance"
    assert "seed 5, virtual time " in told
    assert "\nlast moments:\n" in told
    assert "\nagain: AUTONOMY_SIM_SEED=5\nstory:\nat " in told
    assert ": reset " in last


def test_a_replay_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.story").write_text("at 1 s: reset a – b\n")
    words = ["replay", f"{HERE}:steady", "--story", str(tmp_path / "a.story"), "--report", str(tmp_path / "run.html")]

    assert main(words) == 0
    assert "passed, 1 fault, 1.0 virtual seconds" in capsys.readouterr().out
    assert "reset of" in (tmp_path / "run.html").read_text("utf-8")


@pytest.mark.slow
def test_a_failing_seed_is_shrunk_saved_and_replayed_from_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, seed = tmp_path / "a.story", failing_seed()
    assert main(["replay", BUGGY, "--seed", str(seed), "--shrink", "--save", str(path)]) == 1
    assert str(Story.load(path)) in capsys.readouterr().out

    assert main(["replay", BUGGY, "--story", str(path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["seed"] == seed
    assert told["story"] == str(Story.load(path)).splitlines()
    assert "nobody_writes_too_late" in told["failure"]

    assert main(["replay", "tests.leases:checked_leases", "--story", str(path)]) == 0


@pytest.mark.slow
def test_a_sweep_says_which_seeds_fail_and_saves_their_stories(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = failing_seed()
    seeds = f"{seed - 1}-{seed}"
    assert main(["sweep", BUGGY, "--seeds", seeds, "--jobs", "1", "--save", str(tmp_path / "found")]) == 1

    told = capsys.readouterr()
    assert f"seed {seed}: AssertionError: nobody_writes_too_late" in told.out
    assert "2 seeds, 1 failed" in told.out
    assert "2 of 2, 1 failed" in told.err
    assert [path.name for path in (tmp_path / "found").iterdir()] == [f"seed-{seed}.story"]


@pytest.mark.slow
def test_a_sweep_in_several_processes_gives_the_same_results_in_order() -> None:
    one, two = (
        in_a_shell("sweep", "tests.leases:checked_leases", "--seeds", "1-4", "--json", "--jobs", jobs) for jobs in "12"
    )

    assert one.returncode == two.returncode == 0, two.stderr
    assert one.stdout == two.stdout
    assert [json.loads(line)["seed"] for line in one.stdout.splitlines()] == [1, 2, 3, 4]


def test_a_sweep_in_which_what_should_happen_sometimes_never_does_has_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["sweep", f"{HERE}:steady", "--seeds", "1-2", "--jobs", "1"]) == 1
    assert "never seen in any run: a partition" in capsys.readouterr().out


@pytest.mark.slow
def test_a_zone_of_its_own_is_the_same_in_two_processes() -> None:
    ended = in_a_shell("check-determinism", "--seeds", "3")

    assert (ended.returncode, ended.stdout) == (0, "seed 3: the same twice\n"), ended.stderr


@pytest.mark.slow
def test_what_differs_between_two_processes_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-determinism", f"{HERE}:unsteady", "--seeds", "3"]) == 1

    told = capsys.readouterr().out
    assert "the runs part at moment" in told
    assert len([line for line in told.splitlines() if line[0] in "+-"]) == 2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["replay", "no_colon"], "module:function"),
        (["replay", "no.such:play"], "there is no 'no.such:play'"),
        (["replay", f"{HERE}:missing"], "missing"),
        (["replay", f"{HERE}:HERE"], "no function"),
        (["replay", BUGGY, "--story", "no-such.story"], "no-such.story"),
        (["sweep", BUGGY, "--jobs", "0"], "at least one"),
        (["replay", BUGGY, "--shrink", "--save", "no-such/one.story"], "--save no-such/one.story: there is no folder"),
        (["replay", BUGGY, "--report", "no-such/run.html"], "--report no-such/run.html: there is no folder"),
        (
            ["replay", f"{HERE}:tells_of_nobody"],
            "did not run the simulation that it was given: ValueError: there is no",
        ),
        (["check-determinism", "no.such:play", "--seeds", "1"], "could not be run"),
    ],
)
def test_what_cannot_be_done_is_said_with_exit_code_2(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("seeds", ["x", "5-", "-5", "9-1", ""])
def test_seeds_that_are_none_are_refused(seeds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["sweep", BUGGY, f"--seeds={seeds}"])

    assert ended.value.code == 2
    assert "seeds" in capsys.readouterr().err
