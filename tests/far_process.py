"""Runs `far_node`: another node in a process of its own, which can be told things, stopped, continued and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from autonomy._links.addresses import parse_address
from autonomy._sansio.keepalive import Liveness

from .far_node import Lines

_ROOT = Path(__file__).parent.parent
_PATIENCE = 60.0


class FarProcess:
    """The process.

    Attributes:
        address: At which its node listens.
    """

    def __init__(self, process: trio.Process, answers: Lines) -> None:
        self._process = process
        self._answers = answers
        self._turn = trio.Lock()
        self.address = ""

    @property
    def port(self) -> int:
        """At which its node listens."""
        return parse_address(self.address)[1]

    async def ask(self, command: str, *arguments: str) -> Any:
        """Give it a command of `far_node.Commands`; return its answer."""
        assert self._process.stdin is not None
        async with self._turn:
            await self._process.stdin.send_all(json.dumps([command, *arguments]).encode() + b"\n")
            return await self.answer()

    async def answer(self) -> Any:
        """Return the next thing that it says."""
        with trio.fail_after(_PATIENCE):
            return json.loads(await self._answers.next())

    def suspend(self) -> None:
        """Let it do nothing at all, and keep all that it has."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End that."""
        self._process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        """Kill it, without a word of farewell."""
        self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def far_process(
    folder: Path, name: str, *, port: int = 0, liveness: Liveness | None = None
) -> AsyncGenerator[FarProcess]:
    """Have a node in a process of its own, which is killed at the end.

    Args:
        folder: Of its zone's authority.
        name: Of the node.
        port: Where it listens; 0 for any.
        liveness: Its figures.
    """
    liveness = liveness or Liveness()
    figures = f"{liveness.heartbeat},{liveness.suspect},{liveness.down}"
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tests.far_node", str(folder), name, str(port), figures],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_ROOT,
        env={key: value for key, value in os.environ.items() if not key.startswith("AUTONOMY_")},
    )
    assert process.stdout is not None
    far = FarProcess(process, Lines(process.stdout))
    try:
        far.address = await far.answer()
        yield far
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
