"""A deployed zone whose processes are killed: what the next command says, and that deploying works again."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.zones import Zone, make_zone

pytestmark = [pytest.mark.slow, pytest.mark.network]

PODS = """
name: demo
pods:
  - name: runner-pod
    clones: 2
    containers: [{name: runner, image: runner}]
"""


@pytest.fixture
def zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zone]:
    """A zone that is up."""
    monkeypatch.setenv("AUTONOMY_HOME", str(tmp_path / "home"))
    with make_zone(tmp_path / "demo", PODS, runner="from autonomy import Node\nNode.start()\n") as zone:
        deployed = zone.run("deploy")
        assert deployed.returncode == 0, deployed.stderr
        yield zone


def state_of(zone: Zone) -> dict[str, object]:
    """Return what the command says of a zone."""
    state = json.loads(zone.run("status", "--json").stdout)
    assert isinstance(state, dict)
    return state


def test_nothing_is_left_when_the_supervisor_is_killed_and_the_next_command_says_so(zone: Zone) -> None:
    supervisor = state_of(zone)["supervisor"]
    assert isinstance(supervisor, int)
    assert len(zone.processes()) >= 1 + 2 * 3  # the supervisor; runners and directory, each with its guard

    os.kill(supervisor, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while zone.processes() and time.monotonic() < deadline:
        time.sleep(0.02)

    assert zone.processes() == []
    said = zone.run("status").stdout
    assert "Zone demo is stopped" in said
    assert "its supervisor was killed" in said
    listed = zone.run("list").stdout
    assert "stopped" in listed

    again = zone.run("deploy")
    assert again.returncode == 0, again.stderr
    assert "Zone demo is up" in again.stdout
    assert state_of(zone)["state"] == "up"
