"""The roof: a node joins the wings, opens them, and closes them in reverse.

What lives on a node does its work in `_actors/`: what `Node` inherits is in `_actors/calls.py`, with the two hottest
paths of the library. Time and chance come in as arguments of `open_node`, so that a simulation can replace them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from time import perf_counter

import trio

from . import _host, logs
from ._actors.calls import Calls
from ._actors.closing import Closing
from ._actors.process import current_process
from ._actors.runtime import make_runtime
from ._actors.system import ActorSystem
from ._mixed.mixture import Mixture
from ._mixed.worlds import both, pause
from ._opening import Crash, opened
from ._sansio.border import MAX_MESSAGE_BYTES, check_callable, check_delay
from ._sansio.options import INSTEAD_OF, LEGACY_OF_START, NodeOptions, check_options
from ._sansio.reports import DeadLetter, NodeStatistics, WorkerInfo
from ._sansio.restarts import RESUME, ChildSpec, Strategy, Supervision
from ._serving import GRACE, HttpServer, serving
from .abc import Allow, OnConflict

_log = logs.get_logger("node")
_CLOSING = 14.0
"""Seconds for stopping workers, after `drain_timeout` and before the last one: 25 in all, by default."""


class Node(Calls):
    """Where workers live: starts and stops them, and sends them messages by name.

    Open one with `open_node` inside a Trio program, or let `Node.start` run a whole program.

    Example:
        ```python
        from autonomy import Node


        class Greeter:
            async def handle_message(self, context, message):
                await context.reply(f"Hello, {message}!")


        async def main(node):
            await node.start_worker("greeter", Greeter())
            print(await node.send_and_receive("greeter", "Alice", timeout=10))


        Node.start(main)
        ```
    """

    def __init__(
        self,
        options: NodeOptions,
        nursery: trio.Nursery,
        crash: Crash,
        mixture: Mixture,
    ) -> None:
        runtime = make_runtime(self, options, crash, mixture)
        super().__init__(runtime, ActorSystem(runtime, nursery))
        self._short_name = options.name
        self._drain_timeout = options.drain_timeout
        self._nursery = nursery
        self._crash = crash
        self._closing = Closing(runtime, self._system.registry, self._router)
        self._leaving = False
        self._left = trio.Event()
        self._on_leaving: Callable[[], object] | None = None
        self._ready = trio.Event()

    def __repr__(self) -> str:
        return f"<Node {self.name!r}>"

    # --- who it is

    @property
    def name(self) -> str:
        """Full name of the node, ``{cluster}-{zone}-{short}`` in a zone."""
        return self._runtime.name

    @property
    def short_name(self) -> str:
        """Name of the node within its cluster and zone; the same as `name` without them."""
        return self._short_name

    @property
    def incarnation(self) -> str:
        """Id of this start of the node; another one after a restart."""
        return self._runtime.incarnation

    async def identifier(self) -> str:
        """Return the node's verified identity; ``local:<incarnation>``, as long as it has no certificate."""
        await pause()
        return f"local:{self.incarnation}"

    def statistics(self) -> NodeStatistics:
        """Return the node's figures at this moment."""
        return self._system.statistics()

    @property
    def on_dead_letter(self) -> Callable[[DeadLetter], None] | None:
        """Called with each message that was accepted and will not be handled, besides a log line and a counter.

        What it raises is logged and goes no further. It runs inside whatever lost the message, so it must be quick.
        """
        return self._runtime.dead_letters.hook

    @on_dead_letter.setter
    def on_dead_letter(self, hook: Callable[[DeadLetter], None] | None) -> None:
        if hook is not None and not callable(hook):
            raise TypeError(f"on_dead_letter must be a function of one DeadLetter, or None, got {hook!r:.80}")
        self._runtime.dead_letters.hook = hook

    # --- workers

    async def start_worker(
        self,
        name: str,
        worker: object,
        *,
        supervision: Supervision = RESUME,
        mailbox_capacity: int = 1000,
        allow: Allow = None,
        on_conflict: OnConflict = "error",
        policy: object = None,
        exposed_as: object = None,
    ) -> None:
        """Start a worker and return once its ``on_start`` has succeeded.

        Args:
            name: 1 to 128 of ``A-Z a-z 0-9 _ -``, unique on this node.
            worker: An object with ``handle_message(context, message)``; with `Restart` a class or factory of such
                objects.
            supervision: What follows when its handler raises: `Resume` (the message fails, the worker goes on),
                `Restart`, `Stop`, `Escalate`.
            mailbox_capacity: How many messages may wait; senders wait when it is full.
            allow: Who on other nodes may reach it; see `abc.Allow`.
            on_conflict: If the name is taken by a worker: ``error``, ``keep`` that one (unless it is stopping: then
                start this one after it), or ``replace`` it.
            policy: Accepted for older programs; has no effect.
            exposed_as: Accepted for older programs; has no effect.

        Raises:
            WorkerExists: The name is taken.
            TypeError, ValueError: A value that cannot be; an object that runs as a worker already.
            NodeDown: The node is stopping.
            Exception: Whatever ``on_start`` or the factory raised.

        In each of these cases nothing was started, and the name is free. The same if it is cancelled.
        """
        self._runtime.warn_of_legacy(policy=policy, exposed_as=exposed_as)
        await self._system.start_worker(name, worker, supervision, mailbox_capacity, allow, on_conflict)

    async def stop_worker(self, name: str, *, timeout: float | None = None) -> None:
        """Stop a worker or a group: finish the message at hand, stop its children, run ``on_stop``. The name is free
        afterwards.

        Messages that wait are not handled: requests get `WorkerStopped`, others become dead letters. Called from a
        handler of the worker itself, of a child of it, or of a member of the group, this returns at once, and that
        worker stops when the handler has returned.

        Args:
            name: Of a worker or group of this node.
            timeout: Seconds for the message at hand, after which its handler is cancelled, again for the children
                together, and again for ``on_stop``; of a group, for all members together. None for 5.

        Raises:
            WorkerNotFound: Nobody has that name.

        Cancelling this does not undo the stop.
        """
        await self._system.stop_worker(name, 5.0 if timeout is None else check_delay(timeout, "timeout"))

    async def list_workers(self) -> list[WorkerInfo]:
        """Return this node's workers, sorted by name."""
        await pause()
        return self._system.list_workers()

    async def start_group(
        self,
        name: str,
        children: Sequence[ChildSpec],
        *,
        strategy: Strategy = "one_for_one",
        max_restarts: int = 3,
        within: float = 30.0,
    ) -> None:
        """Start workers that are restarted together, in order, and return when all are started.

        A member whose handler raises ends its life, and the strategy says which others are restarted with it: none
        (``one_for_one``), all (``one_for_all``), or those after it (``rest_for_one``). They are stopped in reverse
        order, then started in order; mailboxes are kept. After more than `max_restarts` restarts in `within` seconds
        all members stop.

        Raises:
            WorkerExists: The group's name or a child's is taken; none of them is free while the group starts.
            TypeError, ValueError: A value that cannot be.
            WorkerStopped, NodeDown: The group or the node was stopped meanwhile; the children were stopped again.
            Exception: Whatever a child's ``on_start`` raised; the children before it were stopped again.

        Source: OTP's ``supervisor``.
        """
        await self._system.start_group(name, children, strategy, max_restarts, within)

    # --- the end

    async def ready(self) -> None:
        """Say that this node's names are complete, so that nobody waits for more of them: no zone, no HTTP request."""
        self._ready.set()
        await pause()

    @both
    async def stop(self) -> None:
        """Let workers finish what waits for them, stop them, and refuse everything else. Returns when that is done.

        Under `Node.start` the program then ends. Called from a worker it returns at once. Stopping twice does no harm.
        """
        self._leave()
        caller = current_process.get()
        if caller is not None and caller.runtime is self._runtime:
            await pause()
        else:
            await self._left.wait()

    def _leave(self) -> None:
        if self._leaving:
            return
        self._leaving = True
        self._take_the_long_way()
        self._nursery.start_soon(self._close)
        if self._on_leaving is not None:
            self._on_leaving()

    async def _close(self) -> None:
        await self._closing.close(self._drain_timeout, self._drain_timeout + _CLOSING)
        self._left.set()

    def _run(self) -> None:
        self._nursery.start_soon(self._runtime.replies.deadlines.run)
        self._nursery.start_soon(self._runtime.timers.deadlines.run)

    def _hurry(self) -> None:
        self._closing.hurry()

    def _abandon(self) -> None:
        self._take_the_long_way()
        self._leaving = True
        self._left.set()
        self._closing.abandon("has stopped")
        self._runtime.watchdog.close()

    @staticmethod
    def start(
        main: Callable[[Node], Awaitable[object]] | None = None,
        name: str | None = None,
        *,
        wait_until_interrupted: bool = True,
        http_server: HttpServer | None = None,
        **options: object,
    ) -> None:
        """Run a program around a node: open it, run ``main(node)``, wait for SIGINT or SIGTERM, let workers finish,
        end.

        Blocks until then. The first signal, or `Node.stop`, ends it in good order, within `drain_timeout` plus 15 s; a
        second one cancels everything at once. If the node cannot end even so, because a handler holds it, all stacks
        are written to stderr and the process leaves with exit code 70.

        Args:
            main: An async function of the node. What it raises comes out of here, after the node has ended in good
                order.
            name: Short name of the node; else the environment variable NODE, else ``node``.
            wait_until_interrupted: Whether to go on after `main` has returned.
            http_server: An application to serve; see `HttpServer`.
            options: As for `open_node`.

        Environment:
            ``AUTONOMY_WAIT_UNTIL_INTERRUPTED``: ``1/true/yes/on``, or anything else for no; stronger than the
            parameter. ``CLUSTER``, ``ZONE``: First parts of the node's full name. ``AUTONOMY_LOG_LEVEL``: ``INFO``, or
            ``node=DEBUG,worker=WARNING``. ``AUTONOMY_LOGGING=0``: leave logging alone.

        Raises:
            TypeError, ValueError: An option that cannot be. Nothing was started.
            BaseException: What `main` raised, or the failure that a worker with `Escalate` ended the node with; bare.
        """
        if http_server is not None and not isinstance(http_server, HttpServer):
            raise TypeError(f"http_server must be an HttpServer, such as HttpServer(app), got {http_server!r:.80}")
        environment = _host.Environment.read(os.environ)
        with _host.logging_as(environment):
            for option in LEGACY_OF_START:
                if options.pop(option, None) is not None:
                    _log.warning(f"option {option} has no effect", instead=INSTEAD_OF[option])
            opening = open_node(environment.full_name(name), **options)  # type: ignore[arg-type]  # it checks them

            def beside(node: Node) -> AbstractAsyncContextManager[None]:
                return serving(http_server, node, node._ready, node._nursery.start_soon, node._runtime.crash)

            program = _host.Program(main, wait=environment.waits(wait_until_interrupted), beside=beside)

            def prepare(node: Node) -> float:
                node._short_name = environment.short(name)
                node._on_leaving = program.end
                return node._drain_timeout + _CLOSING + 1 + (GRACE if http_server is not None else 0)

            program.run(opening, prepare)


def open_node(
    name: str | None = None,
    *,
    drain_timeout: float = 10.0,
    default_timeout: float = 30.0,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    threads: int = 200,
    stall_warning: float | None = 0.1,
    slice_clock: Callable[[], float] = perf_counter,
    new_incarnation: Callable[[], str] = lambda: secrets.token_hex(16),
) -> AbstractAsyncContextManager[Node]:
    """Open a node inside a Trio program: ``async with open_node() as node:``.

    Leaving the block lets workers finish what waits for them, then stops them. Leaving it by an exception or by
    cancellation cancels them, and ``on_stop`` has one second. An exception of the block comes out bare. Nothing
    outside the block is touched, and several nodes in one process do not see each other.

    Args:
        name: The node's full name; None for a new one.
        drain_timeout: Seconds that workers have to finish what is queued; they are stopped within 15 more.
        default_timeout: Seconds, wherever a call is given no timeout.
        max_message_bytes: Upper bound of a message once encoded.
        threads: How many plain ``def`` handlers may run at once.
        stall_warning: Seconds that an async handler may hold the node before its stack is logged; None for no watchdog
            and no thread.
        slice_clock: Seconds, to measure how long a worker or sender runs on before it lets others run.
        new_incarnation: Makes the id of this start.

    Raises:
        TypeError, ValueError: A value that cannot be.
    """
    options = check_options(
        name=name,
        incarnation=check_callable(new_incarnation, "new_incarnation")(),
        drain_timeout=drain_timeout,
        default_timeout=default_timeout,
        max_message_bytes=max_message_bytes,
        threads=threads,
        stall_warning=stall_warning,
        slice_clock=slice_clock,
    )
    return opened(lambda nursery, crash, mixture: Node(options, nursery, crash, mixture))
