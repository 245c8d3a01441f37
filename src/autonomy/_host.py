"""A program around a node: environment, signals, and the last resort.

All that is global to a process and that `Node.start` touches is here: it is read or changed while a program runs, and
put back after it. Nodes opened with `open_node` never come here.
"""

from __future__ import annotations

import faulthandler
import math
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from types import FrameType
from typing import Any, Generic, TypeVar

import trio

from . import logs
from ._mixed.mixture import current_mixture
from ._mixed.worlds import in_asyncio
from ._sansio.address import check_node_name
from ._sansio.border import check_awaitable
from ._sansio.members import ZoneInfo, prefix_of
from ._sansio.options import NodeOptions

_log = logs.get_logger("node")
N = TypeVar("N", bound=Any)
"""The node: anything with ``async def ready()`` and ``async def stop()``."""
_CANCELLING = 3.0
"""Seconds that a program has to end once everything in it was cancelled."""
EXIT_STUCK = 70
"""Exit code of a program that could not end: EX_SOFTWARE of sysexits.h."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a program's environment says of its node."""

    cluster: str | None
    zone: str | None
    short_name: str | None
    wait_until_interrupted: bool | None
    log_levels: str
    logging: bool
    node_file: str | None = None
    health: str | None = None
    listen: str | None = None
    address: str | None = None

    @classmethod
    def read(cls, variables: Mapping[str, str]) -> Environment:
        """Read the variables that `Node.start` documents; empty ones count as not set."""

        def given(variable: str) -> str | None:
            return variables.get(variable) or None

        wait = given("AUTONOMY_WAIT_UNTIL_INTERRUPTED")
        return cls(
            cluster=given("CLUSTER"),
            zone=given("ZONE"),
            short_name=given("NODE"),
            wait_until_interrupted=None if wait is None else wait.strip().lower() in ("1", "true", "yes", "on"),
            log_levels=given("AUTONOMY_LOG_LEVEL") or "INFO",
            logging=given("AUTONOMY_LOGGING") != "0",
            node_file=given("AUTONOMY_NODE_FILE"),
            health=given("AUTONOMY_HEALTH"),
            listen=given("AUTONOMY_LISTEN"),
            address=given("AUTONOMY_ADDRESS"),
        )

    def waits(self, wanted: bool) -> bool:  # noqa: FBT001  # the value in question
        """Return whether to go on after ``main``: what the environment says, else what the program wants."""
        return wanted if self.wait_until_interrupted is None else self.wait_until_interrupted

    @property
    def prefix(self) -> str:
        """What full names begin with, before the short name: ``{cluster}-{zone}-``, as far as these are known."""
        return prefix_of(self.cluster, self.zone)

    @property
    def zone_info(self) -> ZoneInfo:
        """The node's place, as far as it is known."""
        return ZoneInfo(self.zone or "", self.cluster or "")

    def full_name(self, short_name: str | None) -> str:
        """Return a node's full name, ``{cluster}-{zone}-{short}`` where cluster and zone are known."""
        return check_node_name(self.prefix + self.short(short_name))

    def short(self, short_name: str | None) -> str:
        """Return a node's short name: the one that is given, else the environment's, else ``node``."""
        return check_node_name(self.short_name or "node" if short_name is None else short_name)


@contextmanager
def logging_as(environment: Environment) -> Generator[None]:
    """Write log lines to stderr while a program runs, unless it wants none."""
    if not environment.logging:
        yield
        return
    try:
        undo = logs.start_logging(environment.log_levels)
    except ValueError as error:
        raise ValueError(f"environment variable AUTONOMY_LOG_LEVEL: {error}") from None
    try:
        yield
    finally:
        undo()


class LastResort:
    """Ends the process if nothing else does: writes all stacks to stderr and leaves with `EXIT_STUCK`.

    A thread of its own counts the time, for it is there for a node that cannot. Orders reach it through a queue, which
    a signal handler may use while another order is being given.
    """

    def __init__(self) -> None:
        self._orders: SimpleQueue[float | None] = SimpleQueue()
        threading.Thread(target=self._count, name="autonomy last resort", daemon=True).start()

    def arm(self, seconds: float) -> None:
        """Leave the process in `seconds`, unless an earlier time was said before."""
        self._orders.put(seconds)

    def disarm(self) -> None:
        """Never mind; the thread ends."""
        self._orders.put(None)

    def _count(self) -> None:
        ends, seconds = math.inf, 0.0
        while True:
            try:
                order = self._orders.get(timeout=None if ends == math.inf else max(ends - monotonic(), 0))
            except Empty:
                self._leave(seconds)
                return
            if order is None:
                return
            if monotonic() + order < ends:
                ends, seconds = monotonic() + order, order

    @staticmethod
    def _leave(seconds: float) -> None:  # pragma: no cover  # it ends the process; test_programs.py runs some
        flusher = threading.Thread(target=sys.stdout.flush, daemon=True)  # may block for ever, if the lock is held
        flusher.start()
        flusher.join(1.0)
        os.write(2, f"the node did not end within {seconds:g} s; all stacks, and out:\n".encode())
        faulthandler.dump_traceback(file=2, all_threads=True)
        os._exit(EXIT_STUCK)


@contextmanager
def signals(received: Callable[[int], None], soon: Callable[[int], None]) -> Generator[None]:
    """Tell of SIGINT and SIGTERM, with how many there have been. Does nothing outside the main thread.

    Args:
        received: Called at once, in whatever frame the signal found the main thread, for a handler may be holding that.
        soon: Called in Trio, as soon as it comes round.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    token = trio.lowlevel.current_trio_token()
    count = 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        received(count)
        token.run_sync_soon(soon, count)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # somebody asked for this process not to be interrupted, nohup for instance
            signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Machine:
    """What programs run on: this process, with its signals, its log and its exit code. A simulation has others."""

    def last_resort(self) -> LastResort:
        """Return what ends the process if nothing else does."""
        return LastResort()

    def logging(self, environment: Environment) -> AbstractContextManager[None]:
        """Return the block in which log lines are written."""
        return logging_as(environment)

    def signals(self, received: Callable[[int], None], soon: Callable[[int], None]) -> AbstractContextManager[None]:
        """Return the block in which signals are told of."""
        return signals(received, soon)

    def opening(self, options: NodeOptions, opening: AbstractAsyncContextManager[N]) -> AbstractAsyncContextManager[N]:
        """Return what opens a node here, given what the program would have opened."""
        del options
        return opening


machine: ContextVar[Machine] = ContextVar("autonomy_machine", default=Machine())  # noqa: B039  # it has no state
"""What the program runs on that runs here."""


class Program(Generic[N]):
    """A whole program around one node: ``main``, the wait for a signal, and an end in good order.

    Args:
        main: An async function of the node, or None.
        wait: Whether to go on after `main` has returned.
        beside: What is there as long as `main` and the wait, beside them.
    """

    def __init__(
        self,
        main: Callable[[N], Awaitable[object]] | None,
        *,
        wait: bool,
        beside: Callable[[N], AbstractAsyncContextManager[object]] = nullcontext,
    ) -> None:
        if main is not None and not callable(main):
            raise TypeError(f"main must be an async function of the node, or None, got {main!r:.80}")
        if trio.lowlevel.in_trio_run():
            raise RuntimeError(
                "Node.start runs a program of its own; inside Trio, write: async with open_node() as node"
            )
        if in_asyncio():
            raise RuntimeError(
                "Node.start runs a program of its own; in asyncio: async with autonomy.aio.open_node() as node"
            )
        self._main = main
        self._wait = wait
        self._beside = beside
        self._machine = machine.get()
        self._last_resort = self._machine.last_resort()
        self._everything = trio.CancelScope()
        self._program = trio.CancelScope()

    def end(self) -> None:
        """Let `main` and the wait end; the node then ends in good order."""
        self._program.cancel()

    def run(self, opening: AbstractAsyncContextManager[N], prepare: Callable[[N], float]) -> None:
        """Run it. `prepare` is given the node when it is open, and returns how many seconds its good order may take."""
        try:
            trio.run(self._run, opening, prepare)
        finally:
            self._last_resort.disarm()

    async def _run(self, opening: AbstractAsyncContextManager[N], prepare: Callable[[N], float]) -> None:
        with self._everything:
            async with opening as node:
                budget = prepare(node) + 1

                def received(count: int) -> None:
                    self._last_resort.arm(budget if count == 1 else _CANCELLING)

                def soon(count: int) -> None:
                    (self._program if count == 1 else self._everything).cancel()

                with self._machine.signals(received, soon):
                    outcome: BaseException | None = None
                    try:
                        async with self._beside(node):
                            with self._program:
                                await current_mixture().run_program("main", self._run_main, node)
                    except BaseException as error:  # noqa: BLE001  # raised below, whatever the stop comes to
                        outcome = error
                    try:
                        if not self._everything.cancel_called:
                            self._last_resort.arm(budget)
                            await node.stop()
                    finally:
                        if outcome is not None:
                            raise outcome

    async def _run_main(self, node: N) -> None:
        if self._main is not None:
            await check_awaitable(self._main(node), "main", self._main)
        await node.ready()
        if self._wait:
            await trio.sleep_forever()
