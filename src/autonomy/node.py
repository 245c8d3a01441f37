"""The roof: a node joins the wings, opens them, and closes them in reverse.

What lives on a node does its work in `_actors/`: what `Node` inherits is in `_actors/calls.py`, with the two hottest
paths of the library. Time and chance come in as arguments of `open_node`, so that a simulation can replace them.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from random import Random
from time import perf_counter

import trio

from . import _host, logs
from ._actors.calls import Calls
from ._actors.closing import Closing
from ._actors.process import current_process
from ._actors.runtime import make_runtime
from ._actors.system import ActorSystem
from ._links.addresses import is_everywhere, reached_at
from ._mixed.mixture import Mixture
from ._mixed.worlds import both, pause
from ._opening import Crash, opened
from ._remoting import Remoting, check_credentials, secure_transport
from ._sansio.address import check_node_name
from ._sansio.border import MAX_MESSAGE_BYTES, check_callable, check_delay
from ._sansio.keepalive import LIVENESS, Liveness
from ._sansio.management import WORKER as MANAGEMENT
from ._sansio.members import Member, ZoneInfo
from ._sansio.options import INSTEAD_OF, LEGACY_OF_START, NodeOptions, check_options
from ._sansio.reports import DeadLetter, NodeStatistics, WorkerInfo
from ._sansio.restarts import RESUME, ChildSpec, Strategy, Supervision
from ._sansio.rights import RIGHTS, Rights
from ._sansio.shipment import NO_CODE, CodePolicy
from ._serving import GRACE, HttpServer, serving
from ._web.health import serve_health
from ._zone.enrolled import placed
from ._zone.management import ManagementWorker
from ._zone.membership import Membership
from ._zone.remote import RemoteNode, View
from ._zone.renewal import Renewal
from ._zone.seat import NodeSeat
from ._zone.taking import take
from ._zone.whereabouts import find_address, follow_address
from ._zone.which_node import which_node
from .abc import Allow, Directory, OnConflict, Transport
from .identity import Credentials, Enrolled

_log = logs.get_logger("node")
_CLOSING = 14.0
"""Seconds for stopping workers, after `drain_timeout` and before the last one: 25 in all, by default."""


class Node(Calls):
    """Where workers live: starts and stops them, and sends them messages by name, here and on linked nodes.

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
        transport: Transport | None,
        credentials: Credentials | None,
        directory: Directory | None,
        enrolled: Enrolled | None,
    ) -> None:
        runtime = make_runtime(self, options, crash, mixture)
        super().__init__(runtime, ActorSystem(runtime, nursery))
        self._options = options
        self._short_name = options.short_name
        self._drain_timeout = options.drain_timeout
        self._nursery = nursery
        self._crash = crash
        self._closing = Closing(runtime, self._system.registry, self._router)
        self._leaving = False
        self._left = trio.Event()
        self._on_leaving: Callable[[], object] | None = None
        self._ready = trio.Event()
        self._on_ready: Callable[[], object] | None = None
        self._address: str | None = None
        self._health: str | None = None
        self._credentials = credentials
        self._remoting: Remoting | None = None
        if transport is not None:
            self._remoting = Remoting(
                runtime,
                self._system,
                nursery,
                transport,
                credentials,
                options.liveness,
                options.rights,
                lambda: self._short_name,
            )
        self._directory = directory
        self._enrolled = enrolled
        self._membership: Membership | None = None
        self._view = View(self, self._identity_of)

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
        """Return the node's verified identity, ``spiffe://ZONE/node/NAME``; ``local:<incarnation>`` without one."""
        await pause()
        return f"local:{self.incarnation}" if self._credentials is None else self._credentials.uri

    @property
    def address(self) -> str | None:
        """Where this node listens for others, ``wss://HOST:PORT``; None if it does not."""
        return self._address

    @property
    def health(self) -> str | None:
        """Where this node says how it is, ``http://HOST:PORT``; None if it does not."""
        return self._health

    @property
    def zone(self) -> ZoneInfo | None:
        """The zone that it belongs to, and its place there; None without a directory."""
        return None if self._directory is None else self._options.zone

    def statistics(self) -> NodeStatistics:
        """Return the node's figures at this moment."""
        links = 0 if self._remoting is None else self._remoting.links
        return replace(self._system.statistics(), links=links)

    # --- other nodes

    async def connect(self, address: str, name: str | None = None, *, timeout: float = 10.0) -> RemoteNode:
        """Introduce another node, by the address at which it listens, and return it once the two are linked.

        From then on its workers are reached as ``worker@node``. The link is kept; if it is lost, it is made anew, and
        what was under way arrives once and in order. If the node is lost, it is dialled every two seconds at most until
        it is back. One of the two nodes need connect, and both may.

        Args:
            address: ``wss://HOST:PORT``. Until somebody answers there it is tried again and again.
            name: Full name of the node, if it must be that one.
            timeout: Seconds until it is given up.

        Raises:
            TypeError, ValueError: It is no address, or that of this node; or this node has no credentials.
            IdentityError: Who answers there is no node of this zone, or not the one called `name`.
            Unreachable: Nobody answered there in time.
            NodeDown: This node is stopping.
        """
        if self._remoting is None:
            raise ValueError("a node without credentials has no links: open it with credentials=…")
        if name is not None:
            check_node_name(name)
        self._router.check_open()
        found = await self._remoting.connect(address, name, check_delay(timeout, "timeout", zero=False))
        return RemoteNode(self._view, self._member_named(found))

    def _member_named(self, name: str) -> Member:
        members = self._view.members() if self._view.members is not None else ()
        known = next((member for member in members if member.name == name), None)
        return known or Member(name, "", short_name=name.removeprefix(self._options.zone.prefix))

    def _identity_of(self, name: str) -> str:
        return "" if self._remoting is None else self._remoting.identity_of(name)

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

    async def announce(self, address: str) -> None:
        """Say that others reach this node at another address from now on: its host has moved.

        Links are made anew, and sessions go on with them: nothing is lost if that succeeds in time. The zone is told as
        soon as its directory can be reached. A node that found its address by itself does this by itself.

        Args:
            address: ``wss://HOST:PORT``, where the others reach it.

        Raises:
            TypeError, ValueError: It is no address that others could dial; or this node does not listen.
        """
        if self._address is None:
            raise ValueError("a node that does not listen has no address: open it with listen=…")
        if is_everywhere(address):
            raise ValueError(f"others cannot reach a node at {address}: name one address of its host")
        self._announce(address)
        await pause()

    def _announce(self, address: str) -> None:
        is_new = self._membership is None or self._membership.announce(address)
        if is_new and self._remoting is not None:
            self._remoting.redial("this node is at another address")

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
            allow: Which other nodes may send to it and watch it: None for all that `rights` lets in, ``"local"`` for
                none, a pattern or a list of patterns of short node names, or a function of the `PeerIdentity`.
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
        if not self._ready.is_set():
            self._ready.set()
            if self._membership is not None:
                self._membership.ready()
            if self._on_ready is not None:
                self._on_ready()
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

    @property
    def _is_ready(self) -> bool:
        return not self._leaving and (self._options.ready or self._ready.is_set())

    def _leave(self) -> None:
        if self._leaving:
            return
        self._leaving = True
        self._take_the_long_way()
        self._nursery.start_soon(self._close)
        if self._on_leaving is not None:
            self._on_leaving()

    async def _close(self) -> None:
        if self._membership is not None:
            await self._membership.leave()
        await self._closing.close(self._drain_timeout, self._drain_timeout + _CLOSING)
        if self._remoting is not None:
            await self._remoting.close()
        self._left.set()

    async def _listen(self) -> None:
        if self._options.health is not None:
            # Before all else: a node that waits for its directory is alive, and not ready.
            host, port = self._options.health
            self._health = await self._nursery.start(partial(serve_health, host, port, lambda: self._is_ready))
        if self._remoting is None:
            return
        self._address = await self._remoting.open(self._options.listen)
        manager = ManagementWorker(self, self._nursery.start_soon, partial(take, self._options))
        await self._system.start_internal(MANAGEMENT, manager, "manage")
        if self._enrolled is not None:
            renewal = Renewal(self._enrolled, self._seat(), Random(self.incarnation), self._whereabouts)
            self._nursery.start_soon(renewal.run)
        if self._directory is not None:
            self._membership = await self._join(self._directory, self._remoting)

    def _seat(self) -> NodeSeat:
        """Return this node, as what it asks other nodes by."""
        assert self._remoting is not None
        remoting = self._remoting
        zone, introduce, identify = self._options.zone.key, remoting.introduce, remoting.identify
        return NodeSeat(self.name, self.incarnation, zone, self, self._system, introduce, identify, remoting.down)

    def _whereabouts(self, name: str) -> str:
        return "" if self._membership is None else self._membership.address_of(name)

    async def _join(self, directory: Directory, remoting: Remoting) -> Membership:
        address = reached_at(self._options.zone.address, self._address or "")
        if address and is_everywhere(address):
            if self._options.zone.address or not directory.places:
                raise ValueError(f"others cannot reach a node at {address}: say where they can, ZoneInfo(address=…)")
            listening, address = address, await find_address(address, directory.places)
            self._nursery.start_soon(follow_address, listening, directory.places, address, self._announce)
        me = self._options.member(address)
        membership = Membership(me, directory, self._seat(), remoting.dismiss, self._router.forget)
        self._router.names = self._system.names = membership
        remoting.resumed.append(membership.ways_are_back)
        self._view.members = lambda: membership.members
        await membership.open(self._nursery)
        return membership

    def _run(self) -> None:
        self._nursery.start_soon(self._runtime.replies.deadlines.run)
        self._nursery.start_soon(self._runtime.timers.deadlines.run)

    def _hurry(self) -> None:
        self._closing.hurry()

    def _abandon(self) -> None:
        self._take_the_long_way()
        self._leaving = True
        self._left.set()
        if self._remoting is not None:
            self._remoting.abandon()
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
            name: Short name of the node; else the environment variable NODE, else what its certificate says, else
                ``node``.
            wait_until_interrupted: Whether to go on after `main` has returned.
            http_server: An application to serve; see `HttpServer`.
            options: As for `open_node`.

        Environment:
            ``AUTONOMY_WAIT_UNTIL_INTERRUPTED``: ``1/true/yes/on``, or anything else for no; stronger than the
            parameter. ``CLUSTER``, ``ZONE``: First parts of the node's full name. ``AUTONOMY_LOG_LEVEL``: ``INFO``, or
            ``node=DEBUG,worker=WARNING``. ``AUTONOMY_LOGGING=0``: leave logging alone. ``AUTONOMY_NODE_FILE``: What a
            node that was deployed is told of its zone. ``ENROLLMENT_TICKET``, or the file that
            ``ENROLLMENT_TICKET_FILE`` names: Joins a zone of other machines; the node is kept below ``AUTONOMY_HOME``,
            where ``ZONE`` and NODE find it from then on. ``AUTONOMY_LISTEN``,
            ``AUTONOMY_ADDRESS``: Where such a node listens, else on all addresses, and where others reach it.
            ``AUTONOMY_POD``, ``AUTONOMY_CONTAINER``, ``AUTONOMY_INDEX``: Its place in the zone.
            ``AUTONOMY_HEALTH``: As the option `health`, and stronger.

        Raises:
            TypeError, ValueError: An option that cannot be. Nothing was started.
            IdentityError, Unreachable: The ticket was refused, or nobody answered; see `identity.enroll`.
            BaseException: What `main` raised, or the failure that a worker with `Escalate` ended the node with; bare.
        """
        if http_server is not None and not isinstance(http_server, HttpServer):
            raise TypeError(f"http_server must be an HttpServer, such as HttpServer(app), got {http_server!r:.80}")
        environment = _host.Environment.read(os.environ)
        with _host.machine.get().logging(environment):
            for option in LEGACY_OF_START:
                if options.pop(option, None) is not None:
                    _log.warning(f"option {option} has no effect", instead=INSTEAD_OF[option])
            full_name, options, deployed = which_node(environment, os.environ, name, options)
            options.setdefault("ready", main is None)
            if environment.health is not None:
                options["health"] = environment.health
            opening = open_node(full_name, **options)  # type: ignore[arg-type]  # it checks them

            def beside(node: Node) -> AbstractAsyncContextManager[None]:
                return serving(http_server, node, node._ready, node._nursery.start_soon, node._runtime.crash)

            program = _host.Program(main, wait=environment.waits(wait_until_interrupted), beside=beside)

            def prepare(node: Node) -> float:
                node._on_leaving = program.end
                if deployed is not None:
                    node._on_ready = lambda: deployed.tell_ready(node.incarnation)
                    node._nursery.start_soon(deployed.keep_current)
                return node._drain_timeout + _CLOSING + 1 + (GRACE if http_server is not None else 0)

            program.run(opening, prepare)


def open_node(
    name: str | None = None,
    *,
    credentials: Credentials | None = None,
    listen: str | None = None,
    liveness: Liveness = LIVENESS,
    rights: Rights = RIGHTS,
    code: CodePolicy = NO_CODE,
    zone: ZoneInfo | None = None,
    directory: Directory | str | None = None,
    enrolled: Enrolled | None = None,
    ready: bool = True,
    health: str | None = None,
    transport: Transport | None = None,
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
        name: The node's full name; None for that of its certificate, or without one for a new name.
        credentials: Who it is and whom it trusts; without them it has no links.
        listen: Where other nodes reach it, ``wss://HOST:PORT``, with port 0 for any; None for nowhere.
        liveness: How soon a silent node is noticed.
        rights: What other nodes may do here.
        code: Which code it takes from those that `rights` let ship.
        zone: The zone that it belongs to, and its place there.
        directory: Where the nodes of that zone, and the names of their workers, are found, or its URL: the same for
            all; see `autonomy.directory`. Without one, nodes are reached that were introduced by `Node.connect`.
        enrolled: What `identity.enroll` returned: credentials, zone and directory in one; they are kept up to date.
        ready: Whether its names are complete from the start. False: when `Node.ready` is called, or after 10 s; until
            then whoever looks for a name that nobody has waits for it.
        health: Where it answers probes over HTTP, ``HOST:PORT``: ``/live``, and ``/ready`` from when its names are
            complete until it leaves. Neither answers while a handler holds the node. None for nowhere.
        transport: How links come about, in place of websockets; for tests and simulations.
        drain_timeout: Seconds that workers have to finish what is queued; they are stopped within 15 more.
        default_timeout: Seconds, wherever a call is given no timeout.
        max_message_bytes: Upper bound of a message once encoded.
        threads: How many plain ``def`` handlers may run at once.
        stall_warning: Seconds that an async handler may hold the node before its stack is logged; None for no watchdog.
        slice_clock: Seconds, to measure how long a worker or sender runs on before it lets others run.
        new_incarnation: Makes the id of this start.

    Raises:
        TypeError, ValueError: A value that cannot be; another name than that of the certificate.
        OSError: It cannot listen there, for links or for probes.
    """
    credentials, zone, place = placed(enrolled, credentials, zone, directory)
    check_credentials(credentials, name, needed=transport is None and (listen is not None or place is not None))
    options = check_options(
        name=credentials.name if credentials is not None else name,
        incarnation=check_callable(new_incarnation, "new_incarnation")(),
        drain_timeout=drain_timeout,
        default_timeout=default_timeout,
        max_message_bytes=max_message_bytes,
        threads=threads,
        stall_warning=stall_warning,
        slice_clock=slice_clock,
        listen=listen,
        liveness=liveness,
        rights=rights,
        code=code,
        zone=zone,
        ready=ready,
        health=health,
    )
    if transport is None and credentials is not None:
        transport = secure_transport(credentials)
    parts = transport, credentials, place, enrolled
    opening = opened(lambda nursery, crash, mixture: Node(options, nursery, crash, mixture, *parts))
    return _host.machine.get().opening(options, opening)
