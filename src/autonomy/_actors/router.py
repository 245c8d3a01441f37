"""The verbs that an envelope moves by.

`find` says which mailbox an address means. `put_within` may wait: that is the back-pressure that a sender feels.
Replies do not come this way; they go straight to `replies`. What a call inherits from the message its worker is
handling is decided here too.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
from trio.lowlevel import current_task, in_trio_task

from .. import errors
from .._mixed.worlds import both, check_world, pause
from .._sansio.address import check_node_name, parse_address
from .._sansio.envelope import MESSAGE, REQUEST, Envelope, Failure
from ..abc import FarMailbox, Names, Route
from ..errors import (
    AmbiguousWorker,
    CallCycle,
    DeadlineExceeded,
    DirectoryUnavailable,
    MailboxFull,
    NodeDown,
    NoReply,
    NotAllowed,
    RestartLimitReached,
    Unreachable,
    WorkerFailed,
    WorkerNotFound,
)
from .inbox import Inbox
from .process import current_process
from .queue import Queue
from .registry import Registry
from .runtime import Runtime

Target = Queue | Inbox | FarMailbox
_KNOWN = 4096
"""Addresses on other nodes that are not looked up anew."""


class NotLookedUp(Exception):
    """A bare name that no worker here has, and that was not looked up in the zone yet."""


class Router:
    """Brings envelopes to the mailboxes of one node.

    Attributes:
        refusal: Why the program may ask nothing more of this node, or None. Workers may, until they have ended.
        route_to: Returns the way to another node, by its full name; None if there is none.
        names: What is known of names in the zone; None without one.
    """

    def __init__(self, runtime: Runtime, registry: Registry, start_soon: Callable[..., object]) -> None:
        self._runtime = runtime
        self._registry = registry
        self._start_soon = start_soon
        self.refusal: str | None = None
        self.route_to: Callable[[str], Route | None] = _nowhere
        self.names: Names | None = None
        self._far: dict[str, tuple[str, FarMailbox]] = {}

    def find(self, address: str, node: object = None) -> tuple[str, Target]:
        """Return the worker's name and the mailbox that an address means.

        Raises:
            TypeError, ValueError: It is no address, or names two nodes.
            WorkerNotFound: Nobody has that name here.
            AmbiguousWorker: Several nodes have a worker of that name, and this one has none.
            Unreachable: It names another node, to which there is no way.
            NodeDown: This node takes no more messages from its program.
            NotLookedUp: It may be the name of a worker elsewhere in the zone: see `look_up`.
        """
        if node is None and self.refusal is None and type(address) is str:
            known = self._far.get(address)
            if known is not None and not known[1].is_over:
                return known
        name, route = self.locate(address, node)
        self.check_open(name)
        if route is None and self.names is not None and node is None and name == address and not self._is_here(name):
            route = self._route_of(name, self.names)
        if route is None:
            return name, self._target(name)
        found = name, route.mailbox(name)
        if node is None:
            if len(self._far) >= _KNOWN:
                self._far.clear()
            self._far[address] = found
        return found

    def _is_here(self, name: str) -> bool:
        return name in self._registry.queues or name in self._registry.inboxes

    def _route_of(self, name: str, names: Names) -> Route:
        """Return the way to the one other node that owns a name."""
        owners = names.known(name)
        if not owners:
            raise NotLookedUp
        if len(owners) > 1:
            text = (
                f"{name!r} is on several nodes: {', '.join(owners)}. Write '{name}@{owners[0]}' for one of them, "
                f"node.any({name!r}, …) for whichever, node.all({name!r}, …) for each"
            )
            raise AmbiguousWorker(text, outcome="not_sent", worker=name)
        route = self.route_to(owners[0])
        if route is None:
            names.forget(name, owners[0])
            text = f"node {owners[0]!r} has a worker {name!r}, and no address"
            raise Unreachable(text, outcome="not_sent", worker=name, node=owners[0])
        return route

    async def find_anywhere(self, address: str, node: object, until: float) -> tuple[str, Queue | FarMailbox]:
        """As `find_worker`, and if it is a bare name that nobody here has, look it up in the zone."""
        while True:  # what was looked up may be in doubt again by the time that it is wanted
            try:
                return self.find_worker(address, node)
            except NotLookedUp:
                await self.look_up(address, self.inherited(until)[2])

    async def owners(self, name: str, until: float) -> tuple[str, ...]:
        """Return the nodes that own a name, this one among them; errors as `look_up`."""
        here = self._runtime.name
        if self.names is None:
            await pause()
            self.find_worker(name)
            return (here,)
        owners = self.names.known(name)
        if not owners:
            try:
                owners = await self.look_up(name, until)
            except (WorkerNotFound, DirectoryUnavailable):
                if not self._is_here(name):
                    raise
        return tuple(sorted({*owners, here})) if self._is_here(name) else owners

    def forget(self, name: str) -> None:
        """Find a bare name anew next time."""
        self._far.pop(name, None)

    def doubt(self, name: str, node: str) -> None:
        """Look a name up anew next time, for that node does not own it."""
        self._far.pop(name, None)
        if self.names is not None:
            self.names.forget(name, node)

    @both
    async def look_up(self, name: str, until: float) -> tuple[str, ...]:
        """Return the nodes that own a name, if that is known by the time `until`: then `find` knows where it is.

        Raises:
            WorkerNotFound: None does, and none is starting.
            DeadlineExceeded: None did in time.
            DirectoryUnavailable: The zone's directory does not answer.
        """
        assert self.names is not None
        self._far.pop(name, None)
        with trio.move_on_at(until):
            owners = await self.names.find(name)
            if not owners:
                text = f"no node of the zone has a worker {name!r}"
                raise WorkerNotFound(text, outcome="not_sent", worker=name)
            return owners
        text = f"no node of the zone had a worker {name!r} yet"
        raise DeadlineExceeded(text, outcome="not_sent", worker=name)

    @both
    async def look_again(self, address: str, node: object, refused: FarMailbox, until: float) -> bool:
        """Whether to try once more, for a worker that a node does not have may be elsewhere, or may be there soon."""
        if self.names is None:
            return False
        name, at = parse_address(address)
        if at is None and node is None:
            self.doubt(name, refused.node)
            return await self.look_up(name, until) != (refused.node,)
        if not self.names.is_starting(refused.node):
            return False
        with trio.move_on_at(until):
            return bool(await self.names.find(name, refused.node))
        return False

    def check_open(self, name: str | None = None) -> None:
        """Raise NodeDown if the node is stopping and it is not one of its workers that asks, for `name` or for more."""
        if self.refusal is not None and not self._is_asked_by_worker():
            here = self._runtime.name
            raise NodeDown(f"node {here!r} {self.refusal}", outcome="not_sent", worker=name, node=here)

    def _is_asked_by_worker(self) -> bool:
        caller = current_process.get()
        return caller is not None and self._registry.workers.get(caller.name) is caller

    def _target(self, name: str) -> Target:
        here = self._runtime.name
        target = self._registry.queues.get(name) or self._registry.inboxes.get(name)
        if target is None:
            what = " (it is a group; address its workers)" if name in self._registry.groups else ""
            raise WorkerNotFound(
                f"no worker {name!r} on node {here!r}{what}", outcome="not_sent", worker=name, node=here
            )
        return target

    def locate(self, address: str, node: object = None) -> tuple[str, Route | None]:
        """Return the worker's name in an address, and the way to its node unless it is this one."""
        name, at = parse_address(address)
        at = self._which_node(address, at, node)
        here = self._runtime.name
        if at is None or at == here:
            return name, None
        route = self.route_to(at)
        if route is None:
            text = f"node {at!r} is not known to node {here!r}"
            raise Unreachable(text, outcome="not_sent", worker=name, node=at)
        return name, route

    async def whereabouts(self, address: str) -> tuple[str, Route | None]:
        """As `locate`, and if it is a bare name that nobody here has, look it up in the zone."""
        name, route = self.locate(address)
        is_bare = route is None and name == address
        if self.names is None or not is_bare or self._is_here(name) or name in self._registry.groups:
            return name, route
        while True:
            try:
                return name, self._route_of(name, self.names)
            except NotLookedUp:
                try:
                    await self.look_up(name, self._runtime.clock() + self._runtime.default_timeout)
                except WorkerNotFound:
                    return name, None

    def _node_of(self, target: Target) -> str:
        return self._runtime.name if isinstance(target, (Queue, Inbox)) else target.node

    def _which_node(self, address: str, at: str | None, node: object) -> str | None:
        if node is None:
            return at
        wanted = check_node_name(getattr(node, "name", node))
        if at is not None and at != wanted:
            raise ValueError(f"address {address!r} and node={wanted!r} name two nodes; write one of them")
        return wanted

    def find_worker(self, address: str, node: object = None) -> tuple[str, Queue | FarMailbox]:
        """As `find`, for something that wants a reply: a `Mailbox` cannot give one."""
        name, target = self.find(address, node)
        if isinstance(target, Inbox):
            here = self._runtime.name
            text = f"{name!r} on node {here!r} is a mailbox, which cannot reply. Use send_message"
            raise WorkerNotFound(text, outcome="not_sent", worker=name, node=here)
        return name, target

    @both
    async def put_within(self, name: str, target: Target, envelope: Envelope, seconds: float) -> None:
        """Add an envelope to a full mailbox as soon as there is room.

        Raises:
            MailboxFull: No room came within `seconds`, or the sender is the worker that should make it.
            Unreachable: No link to its node came within `seconds`.
            WorkerNotFound: The mailbox was closed meanwhile.
            NoReply: What else keeps a message from another node.
        """
        here = self._node_of(target)
        process = current_process.get()
        if process is not None and process.queue is target:
            text = f"mailbox of {name!r} on node {here!r} is full, and it is its own worker that sends to it"
            raise MailboxFull(text, outcome="not_sent", worker=name, node=here)
        started = self._runtime.clock()
        try:
            with trio.move_on_after(max(seconds, 0.0)):
                await target.put(envelope)
                return
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            text = f"mailbox {name!r} on node {here!r} was closed"
            raise WorkerNotFound(text, outcome="not_sent", worker=name, node=here) from None
        elapsed = self._runtime.clock() - started
        within = f"{round(seconds, 3):g} s"
        if isinstance(target, (Queue, Inbox)):
            text = f"mailbox of {name!r} on node {here!r} stayed full for {within}"
        elif target.is_linked:  # it need not be full: the question for room may be on its way yet
            text = f"mailbox of {name!r} on node {here!r} granted no room within {within}"
        else:
            text = f"node {here!r} could not be reached within {within}"
            raise Unreachable(text, outcome="not_sent", worker=name, node=here, elapsed=elapsed)
        raise MailboxFull(text, outcome="not_sent", worker=name, node=here, elapsed=elapsed)

    async def put(self, name: str, target: Target, envelope: Envelope, seconds: float) -> None:
        """Add an envelope, at once or within `seconds`; errors as `put_within`."""
        try:
            target.put_nowait(envelope)
        except trio.WouldBlock:
            await self.put_within(name, target, envelope, seconds)

    async def send(self, address: str, message: str, node: object, seconds: float) -> None:
        """Send a message the long way: to any address, and within any time."""
        await self.deliver(address, node, seconds, lambda name, _: self._message(name, message))

    async def deliver(
        self,
        address: str,
        node: object,
        seconds: float,
        make: Callable[[str, Target], Envelope],
        *,
        replies: bool = False,
    ) -> None:
        """Bring what `make` makes to an address, wherever in the zone that is; it `replies` or need not."""
        find = self.find_worker if replies else self.find
        until = self._runtime.clock() + seconds
        while True:
            try:
                name, target = find(address, node)
            except NotLookedUp:
                await self.look_up(address, until)
                continue
            try:
                await self.put(name, target, make(name, target), seconds)
                return
            except WorkerNotFound:
                if isinstance(target, (Queue, Inbox)) or not await self.look_again(address, node, target, until):
                    raise
            seconds = until - self._runtime.clock()

    def send_far(self, address: object, message: str) -> bool:
        """Send a message to a worker on another node that was sent to before, if there is room; return whether it
        was.
        """
        if self.refusal is not None or type(address) is not str:
            return False
        known = self._far.get(address)
        if known is None or known[1].is_over:
            return False
        try:
            known[1].put_nowait(self._message(known[0], message))
        except trio.WouldBlock:
            return False
        return True

    def send_nowait(self, address: str, message: str) -> None:
        """Send a message, or raise MailboxFull."""
        check_world()
        name, route = self.locate(address)
        if route is not None:
            raise ValueError(f"send_nowait is for workers of this node, got {address!r:.400}; use send_message")
        self.check_open(name)
        target = self._target(name)
        try:
            target.put_nowait(self._message(name, message))
        except trio.WouldBlock:
            text = f"mailbox of {name!r} on node {self._runtime.name!r} is full"
            raise MailboxFull(text, outcome="not_sent", worker=name, node=self._runtime.name) from None

    @staticmethod
    def _message(name: str, message: str) -> Envelope:
        sender = current_process.get()
        return Envelope(MESSAGE, name, message, 0, "" if sender is None else sender.address)

    def put_soon(self, envelope: Envelope, done: Callable[[], None]) -> bool:
        """Add an envelope without waiting; where there is no room, leave it to a task, return False and call `done`
        after it.

        What cannot be delivered becomes a dead letter. Nobody is refused here: of a node that is stopping, no timers
        are left but those that its workers have started since.
        """
        try:
            name, route = self.locate(envelope.to)
            if route is None and self.names is not None and name == envelope.to and not self._is_here(name):
                route = self._route_of(name, self.names)
            target = self._target(name) if route is None else route.mailbox(name)
        except NoReply as error:
            self._runtime.dead_letters.report(envelope, str(error))
            return True
        except NotLookedUp:
            self._start_soon(self._put_or_report, envelope.to, None, envelope, done)
            return False
        try:
            target.put_nowait(envelope)
        except NoReply as error:
            self._runtime.dead_letters.report(envelope, str(error))
        except trio.WouldBlock:
            self._start_soon(self._put_or_report, name, target, envelope, done)
            return False
        return True

    async def _put_or_report(
        self, name: str, target: Target | None, envelope: Envelope, done: Callable[[], None]
    ) -> None:
        seconds = self._runtime.default_timeout
        until = self._runtime.clock() + seconds
        try:
            if target is not None:
                try:
                    await self.put_within(name, target, envelope, seconds)
                    return
                except WorkerNotFound:
                    if isinstance(target, (Queue, Inbox)) or not await self.look_again(
                        envelope.to, None, target, until
                    ):
                        raise
            await self.deliver(envelope.to, None, until - self._runtime.clock(), lambda *_: envelope)
        except (NoReply, DirectoryUnavailable) as error:
            self._runtime.dead_letters.report(envelope, str(error))
        finally:
            done()

    async def converse(self, answer: Envelope) -> None:
        """Hand a reply to the mailbox of its conversation, waiting for room there."""
        replies = self._runtime.replies
        inbox = replies.conversations.get(answer.id)
        if inbox is None or inbox.closed:
            replies.dropped += 1
            return
        try:
            await self.put(inbox.name, inbox, answer, self._runtime.default_timeout)
        except (WorkerNotFound, NodeDown, NotAllowed):  # it was closed while this reply waited for room
            replies.dropped += 1

    async def forward(self, envelope: Envelope) -> None:
        """Bring a message that a worker passes on to the worker it names."""
        await pause()
        seconds = self._runtime.default_timeout
        if envelope.kind == REQUEST:
            seconds = min(seconds, envelope.deadline - self._runtime.clock())

        def passed_on(name: str, target: Target) -> Envelope:
            if envelope.kind == REQUEST:
                self.check_cycle(name, envelope.chain, target)
            envelope.to = name
            return envelope

        await self.deliver(envelope.to, None, seconds, passed_on, replies=envelope.kind != MESSAGE)

    def check_cycle(self, name: str, chain: tuple[str, ...], target: Target | None = None) -> None:
        """Raise CallCycle if the worker `name`, here or where its mailbox is, is one of those that wait."""
        here = self._runtime.name if target is None else self._node_of(target)
        if f"{name}@{here}" in chain:
            text = f"it waits for this very request itself, through {' → '.join((*chain, f'{name}@{here}'))}"
            raise CallCycle(text, outcome="not_sent", worker=name, node=here)

    def inherited(self, deadline: float) -> tuple[str, tuple[str, ...], float]:
        """Return the sender of a call made now, the workers that wait for it, and its deadline if the caller's own is
        `deadline`.
        """
        process = current_process.get()
        if process is None:
            return "", (), deadline
        handled = process.handled_by(current_task() if in_trio_task() else None)
        if handled is None:
            return process.address, (), deadline
        if handled.kind == REQUEST and handled.deadline < deadline:
            deadline = handled.deadline
        return process.address, (*handled.chain, process.address), deadline

    def no_reply(
        self, name: str, seconds: float, started: float, why: NoReply | Failure, target: Target | None = None
    ) -> NoReply:
        """Return the error for a request to `name`, or to ``name@node``, that was given `seconds`, began at `started`,
        and got no reply for `why`.
        """
        name, _, node = name.partition("@")
        if target is not None:
            node = self._node_of(target)
        elif not isinstance(why, Failure):
            node = why.node or node
        node = node or self._runtime.name
        kind = getattr(errors, why.kind) if isinstance(why, Failure) else type(why)
        reason = why.text if isinstance(why, Failure) else str(why)
        error: NoReply = kind(
            f"no reply from '{name}@{node}' before timeout={round(seconds, 3):g}s: {reason}",
            outcome=why.outcome,
            worker=name,
            node=node,
            elapsed=self._runtime.clock() - started,
        )
        if isinstance(why, Failure):
            if isinstance(error, WorkerFailed):
                error.remote_type, error.remote_message = why.remote_type, why.remote_message
                error.remote_traceback = why.remote_traceback
            if why.cause:
                error.__cause__ = RestartLimitReached(why.cause)
        return error


def _nowhere(_: str) -> None:
    """The way to another node, for a node that knows none."""
