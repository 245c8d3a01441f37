"""The examples and the README: each is a program that does what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .deploy.zones import processes_of
from .programs import PATIENCE, Ended, run_file

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
AT_MOST_LINES = 60
AT_MOST_SECONDS = 20.0
"""Each takes less than 2 s by itself; this machine may have other things to do."""

each_example = pytest.mark.parametrize("example", EXAMPLES, ids=[example.stem for example in EXAMPLES])


def what_it_says(example: Path) -> list[str]:
    """Return the lines that an example says it prints: its last comment, behind ``# prints:``."""
    _, found, said = example.read_text(encoding="utf-8").rpartition("\n# prints:\n")
    assert found, f"{example.name} does not end with '# prints:' and the lines that it prints"
    lines = said.splitlines()
    for line in lines:
        assert line == "#" or line.startswith("#   "), f"{example.name}: behind '# prints:' stands {line!r}"
    return [line[4:] for line in lines]


def run_once(program: Path, folder: Path) -> Ended:
    """Run a program that does not wait for a signal."""
    return run_file(program, environment={"AUTONOMY_WAIT_UNTIL_INTERRUPTED": "0"}, folder=folder)


def test_there_are_examples() -> None:
    assert [example.stem for example in EXAMPLES[:3]] == ["01_hello", "02_counter", "03_supervision"]


def test_examples_are_numbered_without_a_gap() -> None:
    assert [int(example.stem[:2]) for example in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))


@pytest.mark.slow
@each_example
def test_an_example_prints_what_its_last_comment_says(example: Path, tmp_path: Path) -> None:
    ended = run_once(example, tmp_path)

    assert ended.out == what_it_says(example), ended.err
    assert ended.code == 0
    assert ended.seconds < AT_MOST_SECONDS
    assert list(tmp_path.iterdir()) == []


@each_example
def test_an_example_is_short(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= AT_MOST_LINES


@each_example
def test_an_example_says_what_it_shows(example: Path) -> None:
    assert example.read_text(encoding="utf-8").startswith('"""')


@pytest.mark.slow
def test_the_program_in_the_readme_runs_and_prints_what_its_comments_say(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    assert block is not None
    program = tmp_path / "readme.py"
    program.write_text(block[1], encoding="utf-8")

    ended = run_once(program, tmp_path)

    assert ended.code == 0, ended.err
    assert ended.out == re.findall(r"print\(.*\)  # (.*)$", block[1], re.MULTILINE)


def run_zone(folder: Path, temporary: Path) -> subprocess.CompletedProcess[str]:
    """Do what `make run` does with the example of two nodes; all that it keeps is below `temporary`."""
    script, command = ROOT / "tools" / "run_zone.sh", Path(sys.executable).with_name("autonomy")
    return subprocess.run(
        ["sh", str(script), str(command), str(folder)],
        env=os.environ | {"TMPDIR": str(temporary), "AUTONOMY_WAIT_UNTIL_INTERRUPTED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
    )


@pytest.mark.slow
@pytest.mark.network
def test_two_nodes_of_a_zone_have_their_conversation_and_nothing_is_left_of_them(tmp_path: Path) -> None:
    done = run_zone(ROOT / "examples" / "multinode", tmp_path)

    assert done.returncode == 0, done.stderr
    said = re.findall(r"^(client|runner) .* INFO node (found|says|heard|is told)", done.stdout, re.MULTILINE)
    exchange = [("client", "says"), ("runner", "heard"), ("client", "is told")]
    assert said == [("client", "found"), *(3 * exchange), ("runner", "heard"), ("client", "is told")]
    assert done.stdout.endswith("Zone multinode is deleted.\n")
    assert processes_of(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.network
def test_three_nodes_count_as_the_tutorial_says(tmp_path: Path) -> None:
    done = run_zone(ROOT / "examples" / "three_nodes", tmp_path)

    assert done.returncode == 0, done.stderr
    assert "2 runners have counted 26 words" in done.stdout
    counted = re.findall(r"INFO node (runner-[01] counts \d words)", done.stdout)
    assert sorted(counted) == [
        f"runner-{number} counts {count} words" for number, count in ((0, 6), (0, 9), (1, 5), (1, 6))
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.network
def test_nothing_is_left_of_two_nodes_of_which_one_fails(tmp_path: Path) -> None:
    folder, temporary = tmp_path / "multinode", tmp_path / "temporary"
    temporary.mkdir()
    shutil.copytree(ROOT / "examples" / "multinode", folder)
    (folder / "images" / "client" / "main.py").write_text("raise SystemExit('no conversation today')\n")

    done = run_zone(folder, temporary)

    assert done.returncode == 1
    assert "no conversation today" in done.stderr
    assert processes_of(temporary) == []
    assert list(temporary.iterdir()) == []
