"""The tutorial "Find a bug in a distributed lock": its commands, in its order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autonomy.testing import Story
from autonomy.testing.__main__ import main

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "lease_lock"
PAGE = ROOT / "docs" / "tutorial" / "find-a-bug.md"


def test_the_page_shows_the_program_as_it_is() -> None:
    program = (EXAMPLE / "locks.py").read_text("utf-8")
    shown = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)

    parts = [part for part in shown if "from locks import" not in part]
    assert len(parts) == 3
    assert all(part in program for part in parts)


@pytest.mark.slow
def test_the_bug_is_found_shrunk_to_five_steps_at_most_replayed_and_fixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    story = tmp_path / "too-late.story"

    assert main(["sweep", "locks:play", "--seeds", "1-10", "--jobs", "1"]) == 1
    target, option, seed, *_ = capsys.readouterr().out.rpartition("replay ")[2].split()

    assert main(["replay", target, option, seed, "--shrink", "--save", str(story)]) == 1
    assert 1 <= len(Story.load(story)) <= 5
    assert str(Story.load(story)) in capsys.readouterr().out

    assert main(["replay", "locks:play", "--story", str(story)]) == 1
    assert main(["replay", "locks:fenced", "--story", str(story)]) == 0
    assert main(["sweep", "locks:fenced", "--seeds", "1-20", "--jobs", "1"]) == 0
