"""What tests hold: `Lan`, some hosts and the wires between them; `Host`; and `Program`, which runs on one of them.

A test asks for hosts with `open_lan`; where the system does not permit them, `why_not` says why. Tests talk to their
programs by pipes, which no cut of a wire concerns.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from tests.far_node import Lines

from .fabric import PERFECT, Quality
from .switch import children_of, inside

_ROOT: Final = Path(__file__).parent.parent.parent
_OWN: Final = ("unshare", "--user", "--map-root-user", "--net")
_PATIENCE: Final = 30.0
_TOOLS: Final = ("ip", "unshare", "nsenter", "setpriv", "hostname", "env")


@cache
def why_not() -> str | None:
    """Return why there can be no hosts here; None if there can."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        return f"hosts need {', '.join(missing)}, which is not installed"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "hosts need /dev/net/tun, which may not be opened here"
    trial = [*_OWN, "unshare", "--net", "--pid", "--uts", "--mount", "--fork", "--mount-proc", "ip", "tuntap", "add"]
    done = subprocess.run([*trial, "trial", "mode", "tap"], capture_output=True, text=True, check=False)
    return f"no namespaces may be made here: {done.stderr.strip()}" if done.returncode else None


class Program:
    """A program on a host.

    Attributes:
        process: What started it there, which ends with it and has its pipes.
    """

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._lines = None if process.stdout is None else Lines(process.stdout)

    async def line(self, seconds: float = _PATIENCE) -> str:
        """Return the next line that it prints; empty if there will be none."""
        assert self._lines is not None, "started without stdout"
        with trio.fail_after(seconds):
            return await self._lines.next()

    async def tell(self, line: str) -> None:
        """Give it a line to read."""
        assert self.process.stdin is not None, "started without stdin"
        await self.process.stdin.send_all(line.encode() + b"\n")

    def send_signal(self, number: int) -> None:
        """Send the program a signal; nothing if it has ended."""
        for pid in children_of(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def kill(self) -> None:
        """Kill it, and see it gone."""
        self.send_signal(signal.SIGKILL)
        await self.process.wait()


class Host:
    """A host: it has a name and an address, and programs run on it.

    Attributes:
        name: Its name.
        address: Where the others reach it.
    """

    def __init__(self, name: str, address: str, anchor: int, programs: list[Program]) -> None:
        self.name = name
        self.address = address
        self._anchor = anchor
        self._programs = programs

    def __repr__(self) -> str:
        return f"<Host {self.name!r} at {self.address}>"

    def command(self, *command: str, folder: Path = _ROOT) -> list[str]:
        """Return the command that runs one here, in a folder."""
        return inside(self._anchor, "--user", "env", f"--chdir={folder}", *command)

    async def start(
        self, *command: str, folder: Path = _ROOT, env: dict[str, str] | None = None, stderr: int | None = None
    ) -> Program:
        """Start a program here, with pipes to it. It lives until it ends, is killed, or its host is without power."""
        process = await trio.lowlevel.open_process(
            self.command(*command, folder=folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=env,
        )
        program = Program(process)
        self._programs.append(program)
        return program

    async def run(self, *command: str, seconds: float = _PATIENCE) -> str:
        """Run a command here to its end; return what it prints.

        Raises:
            subprocess.CalledProcessError: It failed.
        """
        with trio.fail_after(seconds):
            done = await trio.run_process(self.command(*command), capture_stdout=True, capture_stderr=True)
        return done.stdout.decode()

    async def move(self, address: str) -> None:
        """Move to another address of the same network, as a host does whose lease is over: the old one is gone."""
        await self.run("ip", "address", "delete", f"{self.address}/24", "dev", "eth0")
        await self.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
        self.address = address


class Lan:
    """Hosts, and a wire between each two of them."""

    def __init__(self, switch: trio.Process) -> None:
        assert switch.stdout is not None
        self._switch = switch
        self._answers = Lines(switch.stdout)
        self._turn = trio.Lock()
        self._programs: list[Program] = []
        self.hosts: dict[str, Host] = {}

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    async def _tell(self, command: str, *arguments: object) -> Any:
        assert self._switch.stdin is not None
        async with self._turn:
            await self._switch.stdin.send_all(json.dumps([command, *arguments]).encode() + b"\n")
            with trio.fail_after(_PATIENCE):
                line = await self._answers.next()
        if not line:
            raise RuntimeError("the switch has ended; its standard error says why")
        answer = json.loads(line)
        if "refused" in answer:
            raise RuntimeError(answer["refused"])
        return answer["done"]

    async def boot(self, name: str, address: str) -> Host:
        """Have a host, new or again, with no program on it yet."""
        anchor = await self._tell("boot", name, f"{address}/24")
        host = self.hosts[name] = Host(name, address, anchor, self._programs)
        return host

    async def lose_power(self, name: str) -> None:
        """Take the power from a host: whatever runs there is gone, and nobody is told."""
        await self._tell("halt", name)

    async def set(self, quality: Quality, *ways: tuple[str, str]) -> None:
        """Say what some ways are like, each from one host to another; without any, all of them."""
        await self._tell("set", ways or list(permutations(self.hosts, 2)), msgspec.to_builtins(quality))

    async def cut(self, name: str) -> None:
        """Cut a host off from all others."""
        await self.set(Quality(is_cut=True), *self.ways_of(name))

    async def mend(self) -> None:
        """Let everything pass again."""
        await self.set(PERFECT)

    async def close(self) -> None:
        """See the switch gone, and all programs with it."""
        for process in (self._switch, *(program.process for program in self._programs)):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    await pipe.aclose()

    def ways_of(self, name: str) -> list[tuple[str, str]]:
        """Return the ways from a host and to it."""
        return [way for way in permutations(self.hosts, 2) if name in way]

    async def count(self) -> tuple[int, int]:
        """Return how many frames came through so far, and how many did not."""
        carried, lost = await self._tell("count")
        return carried, lost


@asynccontextmanager
async def open_lan(*names: str) -> AsyncGenerator[Lan]:
    """Have hosts of these names, at 10.0.0.1, 10.0.0.2 and so on, until the block ends: then all on them is gone.

    Also if this process is killed: the switch ends when nobody can tell it anything any more.
    """
    switch = await trio.lowlevel.open_process(
        [*_OWN, sys.executable, "-m", "tests.hosts.switch"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
    )
    lan = Lan(switch)
    try:
        for number, name in enumerate(names, 1):
            await lan.boot(name, f"10.0.0.{number}")
        yield lan
    finally:
        switch.kill()
        with trio.CancelScope(shield=True):
            await lan.close()
