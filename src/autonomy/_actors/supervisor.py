"""What follows the end of a life: the next one, or none.

`Solo` looks after one worker by its own policy, `Group` after several that belong together. Both ask the pure rules in
`_sansio/restarts.py` and then act. A process waits between two lives until it is told; a group tells all whom one
failure affects, after the last of them has come to rest.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from .. import logs
from .._sansio.restarts import (
    LIMIT_REACHED,
    ChildSpec,
    Ending,
    Escalate,
    Restart,
    RestartWindow,
    Strategy,
    Supervision,
    affected,
)
from .debts import text_of
from .families import stop_in_order
from .process import Process
from .watching import Lookout

_log = logs.get_logger("worker")
_PATIENCE = 5.0
"""Seconds that a sibling has for its message at hand before it is restarted with the one that failed."""


class Solo:
    """Supervision of one worker by its own policy."""

    __slots__ = ("_policy", "_window")

    def __init__(self, policy: Supervision) -> None:
        self._policy = policy
        self._window = RestartWindow(policy.max_restarts, policy.within) if isinstance(policy, Restart) else None

    async def after(self, process: Process, ending: Ending, error: Exception | None) -> bool:
        """Say whether the worker lives on; wait the backoff if it does."""
        if error is None:
            process.reason = "stopped"
            return False
        if self._window is not None and isinstance(self._policy, Restart) and ending == "failed":
            attempt = self._window.allow(process.runtime.clock())
            if attempt:
                delay = self._policy.backoff.delay(attempt)
                _log.info("worker restarts", worker=process.address, delay=delay, attempt=attempt)
                await trio.sleep(delay)
                return True
            process.reason = f"{LIMIT_REACHED}: {self._window}; last failure: {text_of(error)}"
            _log.error("worker stopped: restart limit reached", worker=process.address, limit=self._window)
            return False
        process.reason = f"failed: {text_of(error)}"
        if isinstance(self._policy, Escalate):
            process.runtime.crash(error)
        return False


class _Rest:
    """A member between two lives, waiting to be told."""

    __slots__ = ("again", "ending", "error", "told")

    def __init__(self, ending: Ending, error: Exception | None) -> None:
        self.ending = ending
        self.error = error
        self.again = False
        self.told = trio.Event()

    def tell(self, *, again: bool) -> None:
        """Let the member go on to its next life, or to its end."""
        self.again = again
        self.told.set()


class Group:
    """Workers that are restarted by one strategy, and stop together when that does not help.

    Its members are ordinary workers of the node. The group has a name among theirs, and one task, `run`, that decides
    what follows each end of a life, one after the other.
    """

    def __init__(self, name: str, address: str, incarnation: str, strategy: Strategy, window: RestartWindow) -> None:
        self.name = name
        self.address = address
        self.incarnation = incarnation
        self.reason = "stopped"
        self.gone = trio.Event()
        self.watchers: list[Lookout] = []
        self._strategy: Strategy = strategy
        self._window = window
        self._specs: dict[str, ChildSpec] = {}
        self._members: dict[str, Process] = {}
        self._resting: dict[str, _Rest] = {}
        self._changed = trio.Event()
        self.is_stopping = False

    @property
    def members(self) -> list[Process]:
        """Those that are not gone for good, in start order."""
        return list(self._members.values())

    def add(self, spec: ChildSpec, process: Process) -> None:
        """Take in a member that is about to start, behind those that are there."""
        self._specs[spec.name] = spec
        self._members[spec.name] = process

    def left(self, process: Process) -> None:
        """Note that a member is gone for good."""
        self._members.pop(process.name, None)
        self.changed()

    def changed(self) -> None:
        """Look again: something happened to a member."""
        self._changed.set()
        self._changed = trio.Event()

    async def after(self, process: Process, ending: Ending, error: Exception | None) -> bool:
        """Say whether a member lives on; wait until the group has decided."""
        rest = self._resting[process.name] = _Rest(ending, error)
        if error is not None:
            process.reason = f"failed: {text_of(error)}"
        self.changed()
        try:
            await rest.told.wait()
        finally:
            del self._resting[process.name]
        return rest.again

    async def run(self) -> None:
        """Decide, until no member is left."""
        while self._members:
            await self._until(lambda: bool(self._resting and not self.is_stopping) or not self._members)
            ended = [name for name, rest in self._resting.items() if rest.ending != "recycled"]
            if ended:
                await self._decide(ended[0], self._resting[ended[0]])
            else:  # left over: the one that took them along did not come back
                await self._start_again([name for name in self._members if name in self._resting])

    async def stop(self, patience: float, reason: str = "stopped") -> None:
        """Stop all members, the last one first. Returns when their names are free; no member is added after this."""
        self.is_stopping = True
        self.reason = reason
        await stop_in_order(self.members, patience, reason)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    async def _decide(self, name: str, rest: _Rest) -> None:
        process = self._members[name]
        if not self._specs[name].wants_restart(rest.ending):
            await self._dismiss(name, rest)
        elif not self._window.allow(process.runtime.clock()):
            last = process.reason.removeprefix("failed: ")
            _log.error("group stopped: restart limit reached", group=self.address, limit=self._window)
            await self.stop(_PATIENCE, f"{LIMIT_REACHED}: {self._window}; last failure: {last}")
        else:
            together = affected(self._strategy, list(self._members), name)
            _log.info("group restarts", group=self.address, workers=",".join(together), because_of=name)
            for member in reversed(together):
                await self._bring_to_rest(member)
            await self._start_again(together)

    async def _dismiss(self, name: str, rest: _Rest) -> None:
        rest.tell(again=False)
        await self._until(lambda: name not in self._members)

    async def _bring_to_rest(self, name: str) -> None:
        def rests() -> bool:
            return name in self._resting or name not in self._members

        if not rests():
            process = self._members[name]
            process.end("recycled")
            with trio.move_on_after(_PATIENCE):
                await self._until(rests)
            process.cut_short()
            await self._until(rests)

    async def _start_again(self, names: list[str]) -> None:
        """Start members that are at rest, in order, as far as they can be; the others wait for what follows."""
        for name in names:
            process, rest = self._members.get(name), self._resting.get(name)
            if process is None or rest is None:
                continue  # it was stopped meanwhile
            if self._specs[name].restart == "temporary":
                await self._dismiss(name, rest)
            elif not await self._has_started(process, rest):
                return

    async def _has_started(self, process: Process, rest: _Rest) -> bool:
        name = process.name
        if self.is_stopping:
            return False
        rest.tell(again=True)
        await self._until(lambda: self._resting.get(name) is not rest)
        await self._until(lambda: process.state == "running" or name in self._resting or name not in self._members)
        return name not in self._resting
