"""A program on a simulated host: its file, executed at each start as Python would, in a namespace of its own.

It runs in a thread, in step with Trio's: where it says `Node.start` or ``trio.run``, it waits there, and what it would
run is run by the simulation. So nothing in the file need know of it. Next: `processes`, for what it finds around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from .. import _host
from .._sansio.options import NodeOptions
from .._sansio.rights import RIGHTS
from .._sansio.shipment import NO_CODE
from ..node import Node
from .own_modules import OwnModules
from .processes import Process, process
from .stand_ins import run_in_step

if TYPE_CHECKING:
    from .hosts import Host

Opening = AbstractAsyncContextManager[Node]
_THE_PROGRAM_SAYS: Final = (
    "drain_timeout",
    "default_timeout",
    "max_message_bytes",
    "threads",
    "liveness",
    "ready",
)
"""Options of `open_node` that are the program's; all others are the simulation's."""
_SAID: Final = (("rights", RIGHTS), ("code", NO_CODE))
"""Options that are the program's if it says something else than this; otherwise they are the zone's."""


class ProgramFailed(Exception):
    """A simulated program left with an exit code other than 0, or never opened a node."""


@dataclass(frozen=True)
class Program:
    """What a host runs at each start.

    Attributes:
        path: A Python file.
        environment: Its variables, all of them but NODE.
        arguments: What follows the file in ``sys.argv``.
        folder: The one it works in.
        modules: Folders whose modules are the program's own, after that of the file.
    """

    path: Path
    environment: Mapping[str, str]
    arguments: Sequence[str]
    folder: Path
    modules: Sequence[Path]

    async def run(self, host: Host, open_one: Callable[[], Opening]) -> None:
        """Execute it from its beginning to its end.

        Raises:
            ProgramFailed: It left with an exit code other than 0, or opened no node.
            BaseException: What came out of it.
        """
        machine = _SimulatedMachine(self.path, host, open_one)
        before = process.set(self._process(host)), _host.machine.set(machine)
        try:
            await run_in_step(self._execute)
        except SystemExit as leaving:
            if leaving.code not in (None, 0):
                raise ProgramFailed(f"{self.path} on host {host.name!r} left: {leaving.code}") from leaving
        finally:
            process.reset(before[0])
            _host.machine.reset(before[1])
        if not machine.has_opened:
            raise ProgramFailed(
                f"{self.path} on host {host.name!r} ended and never opened a node. End it in Node.start(main), "
                "or in trio.run(main) with open_node() in main."
            )

    def _process(self, host: Host) -> Process:
        main = ModuleType("__main__")
        main.__file__ = str(self.path)
        modules = OwnModules([self.path.parent, *self.modules], main)
        variables = {"NODE": host.name, **self.environment}
        return Process(main, variables, [str(self.path), *self.arguments], str(self.folder), modules)

    def _execute(self) -> None:
        own = process.get()
        assert own is not None
        with own.modules.in_reach():
            code = compile(self.path.read_bytes(), str(self.path), "exec", dont_inherit=True)
            exec(code, own.main.__dict__)


class _SimulatedMachine(_host.Machine):
    """A simulated host, as the library sees it from within a program."""

    def __init__(self, path: Path, host: Host, open_one: Callable[[], Opening]) -> None:
        self.has_opened = False
        self._path = path
        self._host = host
        self._open_one = open_one

    def last_resort(self) -> _host.LastResort:
        return _NoResort()

    def logging(self, environment: _host.Environment) -> AbstractContextManager[None]:
        del environment  # the log is that of all hosts
        return nullcontext()

    def signals(self, received: Callable[[int], None], soon: Callable[[int], None]) -> AbstractContextManager[None]:
        del received, soon  # they are this process's, and a host is turned off without
        return nullcontext()

    def opening(self, options: NodeOptions, opening: AbstractAsyncContextManager[Any]) -> Any:
        del opening
        name, host = options.name, self._host
        if name not in (host.name, f"node-{options.incarnation[:8]}"):
            raise ValueError(
                f"{self._path} opens node {name!r}, but runs on host {host.name!r}: "
                "a host is named as its node, in full, and has no other one."
            )
        self.has_opened = True
        host.options = {option: getattr(options, option) for option in _THE_PROGRAM_SAYS}
        host.options |= {name: value for name, usual in _SAID if (value := getattr(options, name)) is not usual}
        outer = _host.machine.set(_host.Machine())  # what opens it there is the simulation, and no program
        try:
            return self._open_one()
        finally:
            _host.machine.reset(outer)


class _NoResort(_host.LastResort):
    """Never leaves the process, which is that of all hosts."""

    def __init__(self) -> None:
        """There is no thread."""

    def arm(self, seconds: float) -> None:
        """Nothing happens."""

    def disarm(self) -> None:
        """Nothing happens."""
