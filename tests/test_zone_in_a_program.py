"""`open_local_zone` in programs: workers of the program on all runners, and every way in which the program may end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from autonomy import LocalZone, open_local_zone

from .deploy.zones import all_gone, processes_of
from .programs import run_file

pytestmark = [pytest.mark.slow, pytest.mark.network]

SQUARES = """
import trio
from autonomy import Zone, gather, open_local_zone

OFFSET = 1

class Square:
    def __init__(self, factor):
        self.factor = factor

    async def handle_message(self, context, message):
        await context.reply(f"{self.factor * int(message) ** 2 + OFFSET} {context.node.short_name}")

async def main():
    async with open_local_zone({"runner": 4}) as zone:
        for number, runner in enumerate(await Zone.nodes(zone.node, "runner")):
            await runner.start_worker(f"square-{number}", Square(10))
        for answer in await gather(*(zone.node.send_and_receive(f"square-{i}", str(i)) for i in range(4))):
            print(answer)

if __name__ == "__main__":
    trio.run(main)
"""
WAITS = """
import trio
from autonomy import open_local_zone

async def main():
    async with open_local_zone({"runner": 2}) as zone:
        print(zone.pods[0].containers[0].log, flush=True)
        await trio.sleep_forever()

try:
    trio.run(main)
finally:
    print("it is closed")
"""


def zone_folder(log: str) -> Path:
    """Return where the zone is kept that a log belongs to."""
    return Path(log).parent.parent


async def test_workers_of_a_program_s_own_file_run_on_all_runners(tmp_path: Path) -> None:
    program = tmp_path / "squares.py"
    program.write_text(SQUARES)

    ended = await trio.to_thread.run_sync(run_file, program)

    assert (ended.code, ended.err) == (0, ended.err)
    assert ended.out == ["1 runner-0", "11 runner-1", "41 runner-2", "91 runner-3"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_of_the_zone_outlives_the_program_however_that_ends(tmp_path: Path, number: signal.Signals) -> None:
    program = tmp_path / "waits.py"
    program.write_text(WAITS)
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = zone_folder(process.stdout.readline().strip())
        assert len(processes_of(folder)) >= 2 * 3  # two runners and the directory, each with its guard

        process.send_signal(number)
        said, errors = process.communicate(timeout=30)

    trio.run(all_gone, folder)
    if number == signal.SIGINT:  # Python makes it a KeyboardInterrupt, which comes out as it is
        assert said == "it is closed\n"
        assert errors.splitlines()[-1] == "KeyboardInterrupt"
        assert "ExceptionGroup" not in errors
        assert not folder.exists()


async def test_an_exception_of_the_block_comes_out_bare() -> None:
    zone: LocalZone | None = None
    with pytest.raises(ZeroDivisionError) as caught:
        async with open_local_zone({"runner": 1}) as zone:
            raise ZeroDivisionError

    assert zone is not None
    assert caught.value.__cause__ is None
    assert processes_of(zone_folder(zone.pods[0].containers[0].log)) == []


async def test_a_block_that_is_cancelled_leaves_nothing_behind() -> None:
    with trio.move_on_after(30) as scope:
        async with open_local_zone({"runner": 1}) as zone:
            scope.cancel()
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert processes_of(zone_folder(zone.pods[0].containers[0].log)) == []


async def test_a_zone_that_is_cancelled_while_it_opens_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    for seconds in (0.1, 0.4, 0.8, 1.2):
        with trio.move_on_after(seconds):
            async with open_local_zone({"runner": 2}):
                pass

        assert processes_of(tmp_path) == []
        assert os.listdir(tmp_path) == []  # noqa: PTH208  # that of pathlib is taken for one that blocks


async def test_the_name_of_the_program_s_own_node_is_refused_for_runners() -> None:
    with pytest.raises(ValueError, match="'main'"):
        async with open_local_zone({"main": 1}):
            pass


def test_an_asyncio_program_is_told_that_this_is_for_trio() -> None:
    async def main() -> None:
        async with open_local_zone({"runner": 1}):
            pass

    with pytest.raises(RuntimeError, match="open_local_zone is for Trio programs"):
        asyncio.run(main())
