"""The websocket library's reading task, held so that it can neither fail nor outlive its link.

What a far side sends can make that task raise nearly anything (a header that is not ASCII, a ping behind a close),
and whoever waits for it would then wait for ever: the library wakes nobody. Here its end is a fact that others see.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio

from .. import logs
from ..abc import LinkLost
from .frame_rules import FrameRules, RuleBroken
from .reasons import why

_security = logs.get_logger("security")


class Reading:
    """Stands in for the nursery in which the library would start its reading task.

    Attributes:
        error: What the task ended with, if not in good order.
        peer: Whom it reads from, once that is a friend; a stranger's failure is logged by who refuses him.
    """

    def __init__(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> None:
        self._nursery = nursery
        self._stream = stream
        # Shielded, for to close in good order somebody must read the far side's answer, also while all is cancelled.
        self._scope = trio.CancelScope(shield=True)
        self._waiting: set[trio.CancelScope] = set()
        self._has_ended = False
        self.error: Exception | None = None
        self.peer = ""

    def start_soon(self, read: Callable[[], Awaitable[None]]) -> None:
        """Start the task; all that the library asks of a nursery."""
        self._nursery.start_soon(self._run, read)

    def stop(self) -> None:
        """End the task now."""
        self._scope.cancel()

    @contextmanager
    def while_it_lasts(self) -> Iterator[trio.CancelScope]:
        """Wait inside for what only the task can bring about: cancelled when the task has ended."""
        with trio.CancelScope() as scope:
            self._waiting.add(scope)
            if self._has_ended:
                scope.cancel()
            try:
                yield scope
            finally:
                self._waiting.discard(scope)

    async def _run(self, read: Callable[[], Awaitable[None]]) -> None:
        try:
            with self._scope:
                await read()
        except Exception as error:  # noqa: BLE001  # whatever a far side's bytes can do in three libraries
            self.error = error
            self._report(error)
            # Nothing is read any more, so nothing may be sent either: the next send must find out.
            await trio.aclose_forcefully(self._stream)
        finally:
            self._has_ended = True
            for scope in self._waiting:
                scope.cancel()

    def _report(self, error: Exception) -> None:
        if not self.peer:
            return
        if isinstance(error, RuleBroken):
            _security.warning("peer cut off", peer=self.peer, reason=str(error))
        elif not isinstance(error, LinkLost):
            _security.warning("peer cut off", peer=self.peer, reason=f"{type(error).__name__}: {error}"[:200])


class CheckedStream(trio.abc.Stream):
    """A stream on which the far side keeps to the rules, and that says why it broke."""

    def __init__(self, stream: trio.abc.Stream, rules: FrameRules) -> None:
        self._stream = stream
        self._rules = rules

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send; the first that a server sends is its answer."""
        self._rules.answered()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for room."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive, or raise `LinkLost`: the library turns a `trio.BrokenResourceError` into a close without a word."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            raise LinkLost(why(error)) from error
        self._rules.check(data, trio.current_time())
        return data

    async def aclose(self) -> None:
        """Close."""
        await self._stream.aclose()
