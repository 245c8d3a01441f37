"""What all workers of one node share.

`system` makes it once, everybody in this wing reads it. It decides nothing: each part has its own file and its own
owner, and the verbs at its end are those of parts that stand above a worker and that a worker's context must reach.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import NoReturn

import trio

from .. import logs
from .._mixed.mixture import Mixture
from .._sansio.envelope import Envelope
from .._sansio.options import INSTEAD_OF, NodeOptions
from ..abc import NodeRef, Timer, Watch
from .dead_letters import DeadLetters
from .replies import Replies
from .timers import Timers
from .watchdog import Watchdog

_log = logs.get_logger("node")
SLICE = 0.001
"""Seconds that a worker or a sender runs on before it lets others run."""


def _unset(*_: object, **__: object) -> NoReturn:
    raise AssertionError("ActorSystem sets this before it starts a worker")


@dataclass(slots=True, eq=False)
class Runtime:
    """The surroundings of a worker.

    Attributes:
        node: What workers see as ``context.node``.
        name: The node's full name.
        incarnation: Id of this start of the node.
        token: The way into Trio's thread from others.
        clock: Trio's clock, in seconds; virtual in tests.
        slice_clock: What slices are measured with. A simulation passes one that does not depend on the machine.
        default_timeout: Seconds, where a caller names none.
        max_message_bytes: Upper bound of a message, encoded.
        threads: How many plain handlers may run at once.
        crash: Ends the node with an exception.
        mixture: What lets workers await asyncio things.
        warned: Options that were warned of.
        converse: Hands a reply to the mailbox of a conversation, waiting for room there.
        forward: Brings a message that is passed on to the worker it names.
        put_soon: Brings a timer's message to the worker it names, without waiting.
        start_timer: Starts a timer that belongs to a worker.
        start_worker: Starts a worker below another one.
        watch: Looks out for the end of a worker.
    """

    node: NodeRef
    name: str
    incarnation: str
    clock: Callable[[], float]
    token: trio.lowlevel.TrioToken
    slice_clock: Callable[[], float]
    default_timeout: float
    max_message_bytes: int
    threads: trio.CapacityLimiter
    replies: Replies
    timers: Timers
    dead_letters: DeadLetters
    watchdog: Watchdog
    crash: Callable[[BaseException], None]
    mixture: Mixture
    warned: set[str] = field(default_factory=set)
    converse: Callable[[Envelope], Awaitable[None]] = field(default=_unset)
    forward: Callable[[Envelope], Awaitable[None]] = field(default=_unset)
    put_soon: Callable[[Envelope, Callable[[], None]], bool] = field(default=_unset)
    start_timer: Callable[..., Timer] = field(default=_unset)
    start_worker: Callable[..., Awaitable[None]] = field(default=_unset)
    watch: Callable[[str], AbstractAsyncContextManager[Watch]] = field(default=_unset)

    def warn_of_legacy(self, **options: object) -> None:
        """Say once what to use instead of an option that older programs pass and that has no effect."""
        for option, value in options.items():
            if value is not None and option not in self.warned:
                self.warned.add(option)
                _log.warning(f"option {option} has no effect", instead=INSTEAD_OF[option])


def make_runtime(
    node: NodeRef, options: NodeOptions, crash: Callable[[BaseException], None], mixture: Mixture
) -> Runtime:
    """Return a runtime on the clock of this Trio run; `ActorSystem` sets its verbs."""
    clock = trio.lowlevel.current_clock().current_time
    runtime = Runtime(
        node=node,
        name=options.name,
        incarnation=options.incarnation,
        clock=clock,
        token=trio.lowlevel.current_trio_token(),
        slice_clock=options.slice_clock,
        default_timeout=options.default_timeout,
        max_message_bytes=options.max_message_bytes,
        threads=trio.CapacityLimiter(options.threads),
        replies=Replies(clock),
        timers=Timers(clock, lambda envelope, done: runtime.put_soon(envelope, done)),
        dead_letters=DeadLetters(options.name),
        watchdog=Watchdog(options.stall_warning),
        crash=crash,
        mixture=mixture,
    )
    return runtime
