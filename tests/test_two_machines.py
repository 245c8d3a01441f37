"""The programs of `examples/two_machines`, started as the documentation has it: three processes, one of which dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent.parent / "examples" / "two_machines"
PATIENCE = 60.0

pytestmark = [pytest.mark.network, pytest.mark.slow]


@contextmanager
def running(name: str, *arguments: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a program as long as the block runs."""
    environment = {key: value for key, value in os.environ.items() if key not in ("CLUSTER", "ZONE", "NODE")}
    with subprocess.Popen(
        [sys.executable, str(PROGRAMS / name), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**environment, "PYTHONUNBUFFERED": "1"},
        cwd=folder,
    ) as process:
        killer = threading.Timer(PATIENCE, process.kill)
        killer.start()
        try:
            yield process
        finally:
            killer.cancel()
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that a program prints; empty once it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """Return the next line that holds a text, passing over others; empty if there is none."""
    while (line := line_of(process)) and text not in line:
        pass
    return line


def test_the_programs_of_two_machines_find_each_other_again_after_one_of_them_was_killed(tmp_path: Path) -> None:
    with running("zone.py", "kitchen", "shop", folder=tmp_path) as zone:
        assert zone.wait() == 0
    with running("kitchen.py", "zone/kitchen", "wss://127.0.0.1:0", folder=tmp_path) as kitchen:
        address = line_of(kitchen).removeprefix("the kitchen listens at ")
        with running("shop.py", "zone/shop", address, folder=tmp_path) as shop:
            before = [line_of(shop) for _ in range(3)]
            kitchen.kill()
            down = line_with(shop, "NodeDown")
            with running("kitchen.py", "zone/kitchen", address, folder=tmp_path):
                after = line_with(shop, "baked")

    assert before == [
        "linked to spiffe://bakery.example/node/kitchen",
        "NotAllowed not_sent",
        "bread 1, baked for @shop",
    ]
    assert down.startswith("bread ")
    assert after.endswith(", baked for @shop")
