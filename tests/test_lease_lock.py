"""The tutorial "Find a bug in a distributed lock": its commands, in its order."""

from __future__ import annotations

from pathlib import Path

import pytest

from autonomy.testing import Story
from autonomy.testing.__main__ import main

EXAMPLE = Path(__file__).parent.parent / "examples" / "lease_lock"


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
