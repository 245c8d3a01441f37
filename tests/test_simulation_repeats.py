"""The same seed is the same run: in processes that differ in all that must not matter, and on every Python there is."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import trio

from autonomy.testing.__main__ import EXAMPLE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PYTHONS = "AUTONOMY_PYTHONS"
"""Environment variable with other interpreters that have what the tests need; those in ``.venv-*`` are found."""
PROGRAMS = {
    "the built-in zone": ["autonomy.testing", "trace", EXAMPLE, "--perturb", "--seed"],
    "worlds": ["tests.simulated"],
    "Trio alone": ["tests.schedule"],
}
"""Programs that take a seed, perturb their memory, and print what happened."""


def printed(
    program: str, seed: int, hash_seed: str = "random", *, python: str = sys.executable, root: Path = ROOT
) -> str:
    """Run a program in a process of its own; return what it prints."""
    paths = [str(root), str(root / "src")]
    if python == sys.executable:  # what else it needs, another one finds by itself
        paths += sys.path
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(paths)}
    command = [python, "-m", *PROGRAMS[program], str(seed)]
    ended = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@cache
def other_pythons() -> dict[str, str]:
    """Return the other interpreters, by version. Another Trio is another order of tasks: it does not count."""
    ask = "import sys, trio, hypothesis; print(*sys.version_info[:2], trio.__version__)"
    found = [python for python in os.environ.get(PYTHONS, "").split(os.pathsep) if python]
    found += [str(path) for path in sorted(ROOT.glob(".venv-*/bin/python"))]
    pythons: dict[str, str] = {}
    for python in found:
        told = subprocess.run([python, "-c", ask], capture_output=True, text=True, timeout=60, check=False).stdout
        major, minor, version = told.split() or ("", "", "")
        if version == trio.__version__ and (int(major), int(minor)) != sys.version_info[:2]:
            pythons[f"{major}.{minor}"] = python
    return pythons


@cache
def one_run(program: str) -> str:
    """Return what all other runs of seed 7 are to print, too."""
    return printed(program, 7, "1")


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_same_seed_is_the_same_run_in_every_process(program: str) -> None:
    assert {printed(program, 7), printed(program, 7)} == {one_run(program)}
    assert printed(program, 8) != one_run(program)


def test_the_same_seed_is_the_same_run_wherever_the_code_lies(tmp_path: Path) -> None:
    elsewhere = tmp_path / "some" / "folder" / "with" / "a" / "longer" / "name"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.symlink_to(ROOT)

    assert printed("worlds", 7, root=elsewhere) == one_run("worlds")


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_the_same_seed_is_the_same_run_on_every_python(version: str, program: str) -> None:
    if version not in other_pythons():
        pytest.skip(f"no other Python {version} with this Trio: name one in {PYTHONS}, or make setup PYTHON=")

    assert printed(program, 7, python=other_pythons()[version]) == one_run(program)
