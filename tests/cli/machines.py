"""Machines of one zone: an authority and programs as processes on the loopback, each with a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from autonomy._cli.command import main
from tests.cli.zones import command

PROGRAM = """
import os
from autonomy import Node

class Echo:
    def __init__(self):
        self.count = 0

    async def handle_message(self, context, message):
        if message == "ticket?":
            await context.reply(str("ENROLLMENT_TICKET" in os.environ))
        elif message == "wait":
            self.kept = context
        else:
            self.count += 1
            await context.reply(f"{message} {self.count}")

async def main(node):
    await node.start_worker("echo-" + node.short_name, Echo())
    print("ready", flush=True)

Node.start(main)
"""


class Machines:
    """A zone ``shop`` whose machines are folders.

    Attributes:
        folder: Where they are.
        logs: Where each process writes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir(parents=True)
        (folder / "main.py").write_text(PROGRAM)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.running: dict[str, Any] = {}

    @property
    def authority_folder(self) -> Path:
        """The zone's own folder."""
        return self.folder / "authority" / "authorities" / "shop"

    def run(self, *words: str) -> Result:
        """Run a command of ``autonomy zone`` where the authority is, in this process."""
        environment = {"AUTONOMY_HOME": str(self.folder / "authority")}
        return CliRunner().invoke(main, ["zone", *words], env=environment)

    def done(self, *words: str) -> str:
        """Run such a command, which succeeds; return what it says."""
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return result.stdout.strip()

    def step(self, *words: str) -> Result:
        """Run a step of the change of the CA, again for as long as it says that its turn comes within seconds."""
        until = time.monotonic() + 60
        while "yet: that takes seconds. Try again" in (result := self.run(*words)).stderr:
            assert time.monotonic() < until, result.stderr
            time.sleep(0.1)
        return result

    def json(self, *words: str) -> Any:
        """Run such a command; return what it says as JSON."""
        return json.loads(self.done(*words, "--json"))

    def start_authority(self, life: str = "1d", *words: str) -> subprocess.Popen[bytes]:
        """Run the authority; return when it is up."""
        listen = self.running.get("address", "wss://127.0.0.1:0").removeprefix("wss://")
        more = ["--enroll-listen", self.running["enroll"]] if self.running else []
        start = command("zone", "authority", "shop", "--listen", listen, "--certificate-life", life, "--json")
        out = self.logs / "authority.out"
        out.unlink(missing_ok=True)
        process = self._start("authority", [*start, *more, *words], {})
        self.running = json.loads(self._first_line(process, out))
        return process

    def start(self, name: str, ticket: str | None = None, **variables: str) -> subprocess.Popen[bytes]:
        """Run the program on a machine; return when its worker is there."""
        out = self.logs / f"{name}.out"
        out.unlink(missing_ok=True)
        process = self.try_to_start(name, ticket, **variables)
        assert self._first_line(process, out) == "ready"
        return process

    def try_to_start(self, name: str, ticket: str | None = None, **variables: str) -> subprocess.Popen[bytes]:
        """Run the program on a machine, whatever comes of it."""
        more = {"NODE": name} | ({} if ticket is None else {"ENROLLMENT_TICKET": ticket}) | variables
        return self._start(name, [sys.executable, str(self.folder / "main.py")], more)

    def _start(self, name: str, words: list[str], variables: dict[str, str]) -> subprocess.Popen[bytes]:
        kept = {key: value for key, value in os.environ.items() if key not in ("ZONE", "NODE", "CLUSTER")}
        environment = kept | {"AUTONOMY_HOME": str(self.folder / name)} | variables
        with (self.logs / f"{name}.out").open("ab") as out, (self.logs / f"{name}.err").open("ab") as err:
            process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        self._processes.append(process)
        return process

    def _first_line(self, process: subprocess.Popen[bytes], out: Path) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if out.exists() and (text := out.read_text()).endswith("\n"):
                return text.splitlines()[0]
            if process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(self.log(out.stem))

    def log(self, name: str) -> str:
        """Return what a process has written to stderr."""
        return (self.logs / f"{name}.err").read_text()

    def ticket(self, names: str, *more: str) -> str:
        """Return a new ticket."""
        return self.done("ticket", "--names", names, *more)

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait(10)


@contextmanager
def machines_in(folder: Path, life: str = "1d", *made: str) -> Generator[Machines]:
    """Make a zone, with more words for ``init``, whose authority runs; nothing of it is left at the end."""
    machines = Machines(folder)
    try:
        machines.done("init", "shop", *made)
        machines.start_authority(life)
        yield machines
    finally:
        machines.close()
