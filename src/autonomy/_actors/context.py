"""What a handler gets beside the message.

`WorkerContext` is the `abc.Context` of async handlers; the hot loop uses one again and again for as long as no handler
keeps it. `ThreadContext` is the same for plain handlers, which run in threads: its methods are plain functions that
wait.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar

import trio
from trio.lowlevel import checkpoint_if_cancelled

from .._mixed.worlds import check_world
from .._sansio.border import check_delay, check_message, check_period
from .._sansio.envelope import CONVERSATION, MESSAGE, REPLY, REQUEST, Envelope
from .._sansio.restarts import RESUME, Supervision
from ..abc import Allow, NodeRef, OnConflict, Timer, Watch
from .process import Handling, current_process

T = TypeVar("T")


class WorkerContext(Handling):
    """The message at hand, its sender, and the ways to answer; documented in `abc.Context`."""

    __slots__ = ()

    @property
    def node(self) -> NodeRef:
        """The node that this worker lives on."""
        return self.process.runtime.node

    @property
    def name(self) -> str:
        """This worker's name."""
        return self.process.name

    @property
    def sender(self) -> str:
        """Full address of who sent the message; ``@node`` for the program of a node."""
        return self.envelope.sender or f"@{self.process.runtime.name}"

    @property
    def message_id(self) -> str:
        """An id of this message, unique among those of all nodes."""
        envelope = self.envelope
        if envelope.kind == MESSAGE and not envelope.id:
            envelope.id = self.process.runtime.replies.next_id()  # nobody needed one so far
        return f"{self.process.runtime.incarnation}-{envelope.id}"

    @property
    def deadline(self) -> float:
        """When the caller gives up, on Trio's clock; infinity if nobody waits for a reply."""
        return self.envelope.deadline if self.envelope.kind == REQUEST else math.inf

    async def reply(self, message: str) -> None:
        """Answer the message."""
        runtime = self.process.runtime
        if type(message) is not str or not message.isascii() or len(message) > runtime.max_message_bytes:
            message = check_message(message, runtime.max_message_bytes)
        try:
            await checkpoint_if_cancelled()
        except RuntimeError:  # an asyncio task, which is cancelled where it waits
            check_world()
        envelope = self.envelope
        replies = runtime.replies
        if envelope.kind == MESSAGE or (self.answered and envelope.kind == REQUEST):
            replies.dropped += 1
            return
        answer = Envelope(REPLY, self.process.name, message, envelope.id)
        if envelope.kind == CONVERSATION:
            await runtime.converse(answer)
        else:
            replies.accept(answer)
        self.answered = True
        if self.process.debts.kept is not None:
            self._release()

    async def forward(self, address: str) -> None:
        """Hand the message on to another worker."""
        runtime, envelope = self.process.runtime, self.envelope
        if self.answered:
            raise RuntimeError(
                f"worker {self.name!r} has answered this message already; forward it instead of replying, not after"
            )
        passed_on = Envelope(
            envelope.kind,
            address,
            envelope.body,
            envelope.id,
            self.process.address,
            envelope.deadline,
            envelope.chain,
            forwarded=True,
        )
        await runtime.forward(passed_on)
        self.answered = True
        self._release()

    def _release(self) -> None:
        """Owe no answer any more."""
        if self.process.debts.kept is not None:
            self.process.debts.kept.pop(id(self.envelope), None)

    async def send_message(
        self, address: str, message: str, node: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Send a message that wants no reply."""
        call = self.node.send_message(address, message, node, timeout=timeout)
        await (call if current_process.get() is not None else self._as_worker(call))

    async def send_and_receive(
        self, address: str, message: str, node: str | None = None, policy: object = None, timeout: float | None = None
    ) -> str:
        """Send a message and wait for the first reply."""
        call = self.node.send_and_receive(address, message, node, policy, timeout)
        return await (call if current_process.get() is not None else self._as_worker(call))

    async def _as_worker(self, call: Awaitable[T]) -> T:
        """Await a call of a task that is no worker's, and was given this context: the worker is the sender (D4)."""
        before = current_process.set(self.process)
        try:
            return await call
        finally:
            current_process.reset(before)

    def send_after(self, delay: float, address: str, message: str) -> Timer:
        """Send a message in `delay` seconds, unless this worker ends before."""
        return self.process.runtime.start_timer(check_delay(delay, "delay"), None, address, message, self.process)

    def send_every(self, period: float, address: str, message: str) -> Timer:
        """Send a message every `period` seconds until this worker ends."""
        seconds = check_period(period)
        return self.process.runtime.start_timer(seconds, seconds, address, message, self.process)

    async def start_worker(
        self,
        name: str,
        worker: object,
        *,
        supervision: Supervision = RESUME,
        mailbox_capacity: int = 1000,
        allow: Allow = None,
        on_conflict: OnConflict = "error",
    ) -> None:
        """Start a worker as a child of this one."""
        await self.process.runtime.start_worker(
            name, worker, supervision, mailbox_capacity, allow, on_conflict, self.process
        )

    def stop(self) -> None:
        """Stop this worker once its handler has returned."""
        self.process.end("finished")

    def watch(self, address: str) -> AbstractAsyncContextManager[Watch]:
        """Look out for the end of a worker."""
        return self.process.runtime.watch(address)

    def for_thread(self) -> FromThread:
        """Return what a plain handler gets in place of this."""
        return FromThread(self)


class FromThread:
    """An object of Trio's thread, for a plain handler in its own: async methods wait, plain ones run over there.

    A context gives out its node the same way. Called in Trio's thread after all, by
    ``trio.from_thread.run(context.reply, "done")``, a method is what it is there.
    """

    def __init__(self, target: object) -> None:
        self._target = target

    def __repr__(self) -> str:
        return f"<{self._target!r}, from a thread>"

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name == "node":
            return FromThread(found)
        if not inspect.ismethod(found):
            return found
        run = trio.from_thread.run if inspect.iscoroutinefunction(found) else trio.from_thread.run_sync

        def call(*args: object, **kwargs: object) -> object:
            if trio.lowlevel.in_trio_run():
                return found(*args, **kwargs)
            return run(partial(found, *args, **kwargs))

        return call
