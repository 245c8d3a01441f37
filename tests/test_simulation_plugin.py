"""The pytest plugin: a simulation for each test that asks, with a seed that can be asked for and is told on failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAM = """
import sys
import trio

def test_the_seed(simulation):
    print("the seed is", simulation.seed)

def test_fails(simulation):
    simulation.node("a")
    simulation.chaos(kinds=["crash"], for_=10, rate=1)
    async def scenario(sim):
        await sim.calm()
        raise ValueError("the books do not balance")
    simulation.run(scenario)

def test_is_wrong_in_the_end(simulation):
    simulation.node("a")
    simulation.run(until=3)
    assert False

async def test_with_pytest_trio(autojump_clock):
    await trio.sleep(1000)

def test_the_library_is_not_imported():
    assert "autonomy" not in sys.modules
"""


def pytest_in(folder: Path, *words: str) -> str:
    (folder / "test_program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "pytest_autonomy", *words]
    command += ["-p", "no:hypothesispytest", "-o", "trio_mode=true", "--rootdir", str(folder), str(folder)]
    environment = {name: value for name, value in os.environ.items() if name != "AUTONOMY_SIM_SEED"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    ).stdout


@pytest.mark.slow
def test_the_seed_asked_for_is_the_seed_of_the_fixture(tmp_path: Path) -> None:
    told = pytest_in(tmp_path, "--simulation-seed=11", "-s", "-k", "the_seed")

    assert "the seed is 11" in told
    assert "1 passed" in told


@pytest.mark.slow
def test_a_failure_prints_the_seed_and_the_story_that_make_it_again(tmp_path: Path) -> None:
    told = pytest_in(tmp_path, "-k", "fails")
    again = re.search(r"again: pytest '(test_program.py::test_fails)' (--simulation-seed=\d+)\n", told)
    assert again is not None, told
    assert "the books do not balance" in told
    assert ": crash a" in told

    once_more = pytest_in(tmp_path, "-k", "fails", again[2])

    stories = [re.findall(r"^at .*: crash a$", text, re.MULTILINE) for text in (told, once_more)]
    assert stories[0] == stories[1] != []


@pytest.mark.slow
def test_what_is_found_after_the_run_is_told_with_its_last_moments(tmp_path: Path) -> None:
    told = pytest_in(tmp_path, "-k", "in_the_end", "--simulation-seed=7")

    assert "seed 7, virtual time 3.0000\nfaults:\n" in told
    assert told.count("last moments:") == 1
    assert "--simulation-seed=7\n" in told


@pytest.mark.slow
def test_the_library_is_not_imported_for_those_who_do_not_simulate_and_pytest_trio_works(tmp_path: Path) -> None:
    told = pytest_in(tmp_path, "-k", "imported or with_pytest_trio")

    assert "2 passed" in told, told


def test_the_plugin_itself_imports_neither_the_library_nor_hypothesis() -> None:
    program = "import sys, pytest_autonomy; sys.exit(bool({'autonomy', 'hypothesis'} & sys.modules.keys()))"

    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


def test_pytest_finds_the_plugin_by_itself() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert project["project"]["entry-points"]["pytest11"] == {"pytest_autonomy": "pytest_autonomy"}
    assert "src/pytest_autonomy.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
