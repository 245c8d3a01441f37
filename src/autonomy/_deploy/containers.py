"""One container: a process that is started, watched, started again when it crashes, and stopped.

The rule of this file: between a container and us stands its guard (`guard.py`), and nothing of the container is left
when the guard has said so, or when we are gone. What the program writes goes straight into its log file; we read no
more of it than its end, to say why it failed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import trio

from .._sansio.backoff import Backoff
from .._sansio.restarts import RestartWindow
from ..logs import escape, get_logger
from .state import ContainerState, Phase

_log = get_logger("zone")
_GUARD = str(Path(__file__).with_name("guard.py"))
_FINISHED = "exit code 0"
_LOOK_EVERY = 0.05
_TAIL_BYTES = 4096
_TAIL_LINES = 20


@dataclass(frozen=True, slots=True)
class Program:
    """What to run.

    Attributes:
        argv: The program and its arguments.
        folder: Where it runs.
        env: All of its environment.
        log: The file that gets what it writes.
        ready: The file that it makes when its node is ready.
    """

    argv: tuple[str, ...]
    folder: Path
    env: dict[str, str]
    log: Path
    ready: Path


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take, in seconds, and how often they may fail.

    Attributes:
        ready: So long after its start a program that runs counts as ready, whatever it says.
        grace: So long a program has to end when asked to; then it is killed.
        crashes: More crashes than this within `within` mean that it has failed.
        backoff: Waits before it is started again; from the beginning after a life of `ready` seconds.
    """

    ready: float = 10.0
    grace: float = 10.0
    crashes: int = 3
    within: float = 60.0
    backoff: Backoff = field(default_factory=lambda: Backoff(0.2, 30.0))


class Container:
    """A program that is kept running.

    Args:
        program: What to run.
        state: Is kept up to date.
        changed: Is called after each change of `state`.
        patience: How long things may take.
        held: File descriptor that the guard shall hold for as long as anything of the container is there.
    """

    def __init__(
        self, program: Program, state: ContainerState, changed: Callable[[], None], patience: Patience, held: int
    ) -> None:
        self.state = state
        self._program = program
        self._changed = changed
        self._patience = patience
        self._held = held
        self._stop = trio.Event()
        self._gone = trio.Event()
        self._log_began = 0

    async def run(self) -> None:
        """Keep the program running until it ends in good order or is stopped; nothing is left of it on return."""
        try:
            await self._run()
        finally:
            self._gone.set()

    async def stop(self) -> None:
        """Ask the program to end, and kill it if it does not in time; return when nothing is left of it."""
        self._stop.set()
        await self._gone.wait()

    # ---- within

    async def _run(self) -> None:
        window, attempt, ending = RestartWindow(self._patience.crashes, self._patience.within), 0, ""
        while not self._stop.is_set():
            began = trio.current_time()
            ending = await self._live(ending)
            self.state.pid = None
            if self._stop.is_set() or ending == _FINISHED:
                break
            attempt = 1 if trio.current_time() - began > self._patience.ready else attempt + 1
            failed = not window.allow(trio.current_time())
            tail = read_tail(self._program.log, self._log_began)
            self._tell("failed" if failed else "starting", f"{ending}{tail}")
            _log.warning("container ended", node=self.state.node, ending=ending, restarts=self.state.restarts)
            with trio.move_on_after(self._patience.backoff.delay(attempt)):
                await self._stop.wait()
            self.state.restarts += 1
        self._tell("stopped", "" if self._stop.is_set() else "its program has finished")

    async def _live(self, last_ending: str) -> str:
        """Run the program once; return how it ended."""
        if self.state.state != "failed":
            self._tell("starting", self.state.reason)
        try:
            self._program.ready.unlink(missing_ok=True)
            async with self._process(last_ending) as process, trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, process)
                nursery.start_soon(self._wait_ready)
                ending = await self._follow(process)
                nursery.cancel_scope.cancel()
        except OSError as error:
            return f"cannot be started: {error}"
        return ending

    @asynccontextmanager
    async def _process(self, last_ending: str) -> AsyncGenerator[trio.Process]:
        with self._program.log.open("ab", buffering=0) as log:
            os.fchmod(log.fileno(), 0o600)
            self._mark(log.fileno(), last_ending)
            self._log_began = os.fstat(log.fileno()).st_size
            process = await trio.lowlevel.open_process(
                [sys.executable, "-I", "-S", _GUARD, *self._program.argv],
                stdin=-1,
                stdout=-1,
                stderr=log.fileno(),
                cwd=self._program.folder,
                env=self._program.env,
                start_new_session=True,
                pass_fds=[self._held],
            )
        try:
            yield process
        finally:
            with trio.CancelScope(shield=True):
                await _end(process)

    async def _follow(self, process: trio.Process) -> str:
        """Listen to the guard until the program has ended; return how."""
        said, pid = b"", 0
        assert process.stdout is not None
        async for part in process.stdout:
            said += part
            *lines, said = said.split(b"\n")
            for line in lines:
                word, _, rest = line.decode().partition(" ")
                if word == "ended":
                    return rest
                pid = int(rest)
                self.state.pid = pid
                if self.state.state != "failed":
                    self._tell("running", self.state.reason)
        with suppress(ProcessLookupError, PermissionError):
            if pid:
                os.killpg(pid, signal.SIGKILL)
        return "its guard was killed"

    async def _obey(self, process: trio.Process) -> None:
        """Ask the program to end, and later kill it, once somebody wants it to stop."""
        await self._stop.wait()
        assert process.stdin is not None
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await process.stdin.send_all(b"T")
            await trio.sleep(self._patience.grace)
            _log.warning("container killed", node=self.state.node, after=self._patience.grace)
            await process.stdin.aclose()

    async def _wait_ready(self) -> None:
        with trio.move_on_after(self._patience.ready):
            while not self._program.ready.exists():  # noqa: ASYNC110  # what makes the file is another process
                await trio.sleep(_LOOK_EVERY)
        if not self._stop.is_set():
            self._tell("ready", "")

    def _tell(self, state: Phase, reason: str) -> None:
        self.state.state, self.state.reason = state, reason
        self._changed()

    def _mark(self, log: int, last_ending: str) -> None:
        """Write a line between two lives into the log, on a line of its own."""
        size = os.fstat(log).st_size
        if not size:
            return
        with self._program.log.open("rb") as file:
            file.seek(size - 1)
            torn = file.read(1) != b"\n"
        after = f" after: {last_ending} (restart {self.state.restarts})" if last_ending else ""
        now = datetime.now().astimezone().isoformat(timespec="milliseconds")
        os.write(log, b"\n" * torn + f"--- {now} {self.state.short_name} started again{after}\n".encode())


async def _end(process: trio.Process) -> None:
    """Let go of the lifeline, and see the guard off."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    with trio.move_on_after(10):
        await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
    await process.stdout.aclose()


def read_tail(log: Path, begin: int = 0) -> str:
    """Return the last lines of a log from `begin` on, safe to print, after a line that says what they are."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(begin, size - _TAIL_BYTES)
            file.seek(start)
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except OSError as error:
        return f"; its log {str(log)!r} cannot be read: {error.strerror}"
    lines = text.splitlines()
    if start > begin:
        lines = lines[1:]
    if not lines:
        return "; it wrote nothing"
    return "; the end of its log:\n" + "\n".join(f"    {escape(line)}" for line in lines[-_TAIL_LINES:])
