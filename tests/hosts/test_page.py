"""The page "Run a zone on three machines", followed line by line on three hosts.

What it says that the zone survives is what `test_three_hosts` does to one that came about in the same way.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.traffic import until

from .lan import Host, Lan, Program

pytestmark = [
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed: apt-get install etcd-server"),
]

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/how-to/run-on-three-machines.md"
BLOCK = re.compile(r'```(?:sh|text) title="([^"]+)"\n(.*?)```', re.DOTALL)
HOSTS = {"one": "a", "two": "b", "three": "c"}


@dataclass(frozen=True)
class Step:
    """A block of commands, or of what they print.

    Attributes:
        where: On which machine.
        stays: Whether it runs until Ctrl-C.
        text: The commands.
    """

    where: str
    stays: bool
    text: str


def steps() -> list[Step]:
    """Return what the page says, in its order."""
    found = [(title.split(",")[0], "Ctrl-C" in title, text) for title, text in BLOCK.findall(PAGE.read_text())]
    return [Step(where, stays, text) for where, stays, text in found]


class Machines:
    """Three machines, each with a home and a folder with the programs of the page."""

    def __init__(self, lan: Lan, folder: Path) -> None:
        self._lan = lan
        self._folder = folder
        for machine in HOSTS:
            shutil.copytree(ROOT / "examples/three_machines", folder / machine)

    def host(self, machine: str) -> Host:
        """Return the host that a machine is."""
        return self._lan[HOSTS[machine]]

    async def start(self, step: Step) -> Program:
        """Type commands into a shell of a machine."""
        home = self._folder / step.where
        environment = {
            "HOME": str(home),
            "AUTONOMY_HOME": str(home / ".autonomy"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }
        log = (home / "log.txt").open("ab")
        with log:
            return await self.host(step.where).start(
                "bash", "-c", step.text, folder=home, env=environment, stderr=log.fileno()
            )

    async def run(self, step: Step) -> str:
        """Type commands, and wait for their end; return what they print."""
        program = await self.start(step)
        printed = ""
        while line := await program.line():
            printed += line + "\n"
        assert await program.process.wait() == 0, (step, self.said(step.where))
        return printed

    def said(self, machine: str) -> str:
        """Return what the programs of a machine have said on standard error."""
        return (self._folder / machine / "log.txt").read_text()

    async def wait_until_in(self, machine: str, starts: int) -> None:
        """Wait until the node of a machine has entered the zone at so many starts."""
        await until(lambda: self.said(machine).count("zone entered") == starts, 20)

    def kept(self) -> dict[Path, int]:
        """Return the files that the zone keeps on the machines, each with its mode."""
        modes = {}
        for path in self._folder.glob("*/.autonomy/**/*"):
            with suppress(FileNotFoundError):  # it was written anew just now
                modes[path] = path.stat().st_mode
        return {path: stat.S_IMODE(mode) for path, mode in modes.items() if stat.S_ISREG(mode)}


async def test_three_machines_become_a_zone_by_what_the_page_says(lan: Lan, tmp_path: Path) -> None:
    etcd, init, authority, first, runner, second, main, prints, nodes, runner_again, main_again = steps()
    machines = Machines(lan, tmp_path)

    await machines.start(etcd)
    await machines.run(init)
    running = await machines.start(authority)
    assert "10.0.0.1:7401" in await running.line()
    tickets = [await machines.run(first)]
    counting = await machines.start(runner)
    await counting.tell(tickets[0].strip())
    await machines.wait_until_in("two", 1)
    tickets.append(await machines.run(second))
    asking = await machines.start(main)
    await asking.tell(tickets[1].strip())
    printed = [await asking.line(), await asking.line()]
    there = await machines.run(nodes)

    assert printed == prints.text.splitlines(), machines.said("three")
    assert "runner-0" in there
    assert "main" in there
    for program in (counting, asking):
        program.send_signal(signal.SIGINT)
        assert await program.process.wait() == 0
    await machines.start(runner_again)
    await machines.wait_until_in("two", 2)
    asking = await machines.start(main_again)
    assert [await asking.line(), await asking.line()] == printed, machines.said("three")
    assert not [ticket for ticket in tickets if ticket.strip() in "".join(map(machines.said, HOSTS))]
    kept = machines.kept()
    assert {path.name for path in kept} >= {"ca.key", "node.pem"}
    assert [path for path, mode in kept.items() if mode & 0o077] == []
