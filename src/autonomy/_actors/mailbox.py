"""A mailbox for code that is not a worker.

`Node.create_mailbox` gives one an address of its own, `Node.send` one for the replies to a message. Its inbox is where
messages lie; this is the handle that users hold, and nobody else: let go of it, and it is freed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

import trio

from .._mixed.worlds import both, pause
from .._sansio.border import check_message, check_seconds
from .._sansio.envelope import CONVERSATION, FAILURE, REPLY, Envelope
from ..errors import DeadlineExceeded, WorkerStopped
from .inbox import Inbox
from .router import Router
from .runtime import Runtime


class Mailbox:
    """An addressable inbox for code that is not a worker: replies arrive in it, one or many, and messages of workers.

    Close it with ``async with``, or by `close`; the worker or the node that made it closes it when it ends. What comes
    later is dropped and counted.

    Example:
        ```python
        async with await node.send("search", "needle") as mailbox:
            async for hit in mailbox:
                print(hit)
        ```
    """

    def __init__(self, inbox: Inbox, router: Router, runtime: Runtime, forget: Callable[[Inbox], None]) -> None:
        self._inbox = inbox
        self._forget = forget
        self._router = router
        self._runtime = runtime

    def __repr__(self) -> str:
        state = "closed" if self._inbox.closed else f"{self._inbox.waiting} waiting"
        return f"<Mailbox {self.address!r}, {state}>"

    @property
    def address(self) -> str:
        """Its full address, ``name@node``; workers may send messages to it."""
        return f"{self._inbox.name}@{self._runtime.name}"

    @both
    async def receive(self, policy: object = None, timeout: float | None = None) -> str:
        """Wait for the next reply or message.

        Args:
            policy: Accepted for older programs; has no effect.
            timeout: Seconds, at most what is left of the request being handled; None for the node's default (30 s).

        Raises:
            DeadlineExceeded: Nothing was there, nor came in time. The mailbox stays open.
            WorkerFailed, WorkerStopped: What `send` asked of a worker will get no (further) reply. The mailbox stays
                open.
            WorkerStopped: The mailbox is closed.

        Cancelling loses nothing.
        """
        self._runtime.warn_of_legacy(policy=policy)
        started = self._runtime.clock()
        seconds = self._runtime.default_timeout if timeout is None else check_seconds(timeout, "timeout")
        _, _, deadline = self._router.inherited(started + seconds)
        at_once = self._inbox.waiting > 0  # then no time is needed, and none may be too little
        with trio.CancelScope(deadline=math.inf if at_once else deadline) as scope:
            return self._open(await self._take(), seconds, started)
        assert scope.cancelled_caught
        raise DeadlineExceeded(
            f"nothing came to mailbox {self.address!r} before timeout={seconds:g}s",
            node=self._runtime.name,
            elapsed=self._runtime.clock() - started,
        )

    async def _take(self) -> Envelope:
        try:
            return await self._inbox.take()
        except (trio.ClosedResourceError, trio.EndOfChannel):
            text = f"mailbox {self.address!r} is closed; a receive before timeout had nothing to wait for"
            raise WorkerStopped(text, outcome="maybe_handled", node=self._runtime.name) from None

    def _open(self, envelope: Envelope, seconds: float, started: float) -> str:
        if envelope.kind == FAILURE and envelope.failure is not None:
            raise self._router.no_reply(envelope.to, seconds, started, envelope.failure)
        return envelope.body

    async def send(self, address: str, message: str, node: object = None, policy: object = None) -> None:
        """Send a message whose replies come to this mailbox.

        Waits for room as `Node.send_message` does, and raises what that raises. Cancelled, it has not sent the message.
        """
        self._runtime.warn_of_legacy(policy=policy)
        message = check_message(message, self._runtime.max_message_bytes)
        await pause()

        def asked(name: str, _: object) -> Envelope:
            return Envelope(CONVERSATION, name, message, self._inbox.number, self.address)

        await self._router.deliver(address, node, self._runtime.default_timeout, asked, replies=True)

    def close(self) -> None:
        """Take nothing more, and wake who waits in `receive`. Messages that were not read become dead letters."""
        _close(self._inbox, self._forget, self._runtime)

    async def __aenter__(self) -> Mailbox:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        await pause()

    def __aiter__(self) -> Mailbox:
        """Iterate over replies and messages, without a limit of time, until the mailbox is closed."""
        return self

    @both
    async def __anext__(self) -> str:
        started = self._runtime.clock()
        try:
            envelope = await self._inbox.take()
        except (trio.ClosedResourceError, trio.EndOfChannel):
            raise StopAsyncIteration from None
        return self._open(envelope, math.inf, started)

    def __del__(self) -> None:
        """Close it, in Trio's thread, wherever it is let go: nothing is dropped in silence (B3)."""
        if not self._inbox.closed:
            with suppress(trio.RunFinishedError):
                self._runtime.token.run_sync_soon(_close, self._inbox, self._forget, self._runtime)


def _close(inbox: Inbox, forget: Callable[[Inbox], None], runtime: Runtime) -> None:
    left = inbox.close()
    forget(inbox)
    runtime.dead_letters.report_messages(left, "its mailbox was closed before it was read")
    runtime.replies.dropped += sum(envelope.kind == REPLY for envelope in left)
