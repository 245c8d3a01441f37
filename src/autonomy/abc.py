"""The interfaces the wings meet by: what a worker is, and what it sees.

Protocols live here and nowhere else. Next: `_actors/context.py` for the `Context` that handlers get, `node.py` for the
`NodeRef` of this process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from trio import TaskStatus

from ._sansio.cargo import Item
from ._sansio.envelope import Envelope
from ._sansio.members import Member
from ._sansio.reports import Down, WorkerInfo
from ._sansio.restarts import Supervision
from ._sansio.roster import Changes, Standing
from ._sansio.spiffe import PeerIdentity

Allow = object
"""Who may reach a worker from other nodes: send it messages, and watch it. It narrows `Rights.message` and never widens
it.

None: whoever may message this node. ``"local"``: nobody. A pattern of short node names, such as ``"main*"``, or a list
of patterns. Or a function that is given the peer's `identity.PeerIdentity` and returns whether it may; it runs in the
node's own thread, so it must be quick, and if it raises that is a no.

Asked when a node begins to send to the worker, and not again for each message. Whoever may not gets `NotAllowed`.
Workers and programs of the same node are never asked, and replies need no permission.
"""

OnConflict = Literal["error", "keep", "replace"]


class NodeRef(Protocol):
    """A node as workers see it, be it this one or another."""

    @property
    def name(self) -> str:
        """Full name of the node."""

    @property
    def short_name(self) -> str:
        """Name of the node within its cluster and zone."""

    async def identifier(self) -> str:
        """Return the node's verified identity."""

    async def start_worker(
        self,
        name: str,
        worker: object,
        *,
        supervision: Supervision = ...,
        mailbox_capacity: int = ...,
        allow: str | Sequence[str] | None = ...,
        on_conflict: OnConflict = ...,
    ) -> None:
        """Start a worker there."""

    async def stop_worker(self, name: str, *, timeout: float | None = None) -> None:
        """Stop a worker there."""

    async def list_workers(self) -> list[WorkerInfo]:
        """Return the workers there, sorted by name."""

    async def send_message(
        self, address: str, message: str, node: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Send a message that wants no reply."""

    async def send_and_receive(
        self, address: str, message: str, node: str | None = None, policy: object = None, timeout: float | None = None
    ) -> str:
        """Send a message and wait for the first reply to it."""


class LinkLost(Exception):
    """A link has ended: the far side closed it, the network did, or it broke a rule. The text says which.

    Not a public error: whoever holds a link translates it.
    """


class LinkRefused(LinkLost):
    """Nobody listens at that address, and that is the host's own word, not a guess from its silence."""


class WireDown(Exception):
    """The session with a far node has ended; the text says why. What waited was not sent.

    Not a public error: whoever waits translates it.
    """


class Link(Protocol):
    """One connection to a far node, on which messages of bytes go both ways, in order, whole or not at all.

    One task sends, one task receives. A link that was lost stays lost.
    """

    @property
    def peer(self) -> PeerIdentity:
        """Who is at the far end, as its certificate proves; never what it says of itself."""

    @property
    def heard(self) -> float:
        """When something came last, by Trio's clock, be it a part of a message; minus infinity before anything has.

        On a slow way a message takes longer than a node may be silent (D2). A message counts once it is received.
        """

    async def send(self, message: bytes) -> None:
        """Send one message. Returns once it is handed to the system; waits while the far side takes nothing.

        Cancelled, it loses the link, for a part of the message may have left.

        Raises:
            LinkLost: The link has ended, or the far side took nothing for too long. The message may have arrived.
        """

    async def receive(self) -> bytes:
        """Return the next message. Cancelling loses nothing.

        Raises:
            LinkLost: The link has ended, and all that had arrived by then was returned, unless this side ended it.
        """

    async def close(self, reason: str = "") -> None:
        """Close in good order, within a second or so, also when cancelled. Closing twice does no harm.

        What was sent before arrives, if the far side takes it within that time. The reason is for its log.
        """


class Transport(Protocol):
    """How links come about. Every implementation passes the same tests (`tests/links/check_transport.py`)."""

    def dial(self, address: str, node: str | None) -> AbstractAsyncContextManager[Link]:
        """Open a link to the node `node` at an address, or to whichever node of the zone is there if that is None.

        It is closed when the block is left.

        Raises:
            LinkRefused: Nobody listens there.
            LinkLost: Nobody answered there, or not in time, or it was somebody else.
            ValueError: That is no address.
        """

    async def serve(
        self, address: str, handle: Callable[[Link], Awaitable[None]], *, task_status: TaskStatus[str]
    ) -> None:
        """Listen, and call `handle` in a task of its own for each link, which is closed when that ends. For ever.

        Reports the address at which it listens: its port may have been chosen by the system. `handle` may let
        `LinkLost` out; anything else that it raises ends this. Cancelled, it closes all its links.

        Raises:
            OSError: It cannot listen there.
        """


class Wire(Protocol):
    """The way to one far node, over whatever links there are: what is sent on it arrives once and in order, or the
    session ends and says what did not. Whoever holds one is told what comes, and when a session has ended."""

    @property
    def node(self) -> str:
        """Full name of the far node."""

    @property
    def identity(self) -> PeerIdentity | None:
        """Who it has proven to be."""

    @property
    def is_up(self) -> bool:
        """Whether there is a session with a link at this moment."""

    def want(self) -> None:
        """Have a session, if there is none."""

    def tell(self, item: Item) -> None:
        """Send what is owed. It never waits; what has no room yet goes later, in order."""

    def is_large(self, text: str) -> bool:
        """Whether an item with such a text is for `send`, and for `offer` otherwise."""

    def offer(self, item: Item) -> bool:
        """Send an item that is not large, if there is room now; return whether it was sent."""

    def when_room(self, tell: Callable[[], None]) -> None:
        """Have `tell` called once when there is room again, or never if the session ends before."""

    async def send(self, item: Item) -> None:
        """Send a large item, beside others. Returns when all of it is on its way. Cancelled, it was not sent.

        Raises:
            WireDown: The session ended meanwhile, so it was not sent.
        """


class FarMailbox(Protocol):
    """The mailbox of a worker on another node, as senders see it."""

    @property
    def node(self) -> str:
        """Full name of that node."""

    @property
    def is_over(self) -> bool:
        """Whether it takes nothing more: whoever has more to send asks the `Route` for another one."""

    @property
    def is_linked(self) -> bool:
        """Whether there is a link to that node at this moment; without one, what waits does not wait for room alone."""

    def put_nowait(self, envelope: Envelope) -> None:
        """Send an envelope.

        Raises:
            trio.WouldBlock: There is no room, or others wait for it.
            NoReply: It cannot be sent, and the subclass says why.
        """

    async def put(self, envelope: Envelope) -> None:
        """Send an envelope, waiting for room behind those who wait already. Cancelled, it was not sent.

        Raises:
            NoReply: It cannot be sent, and the subclass says why.
        """


class Route(Protocol):
    """Another node, as far as envelopes can be brought there."""

    def mailbox(self, worker: str) -> FarMailbox:
        """Return the mailbox of a worker there, be there one or not."""

    def watch(self, worker: str, report: Callable[[Down], None]) -> Callable[[], None]:
        """Have `report` called once when a worker there is gone, or the node; return what ends that."""


class Seat(Protocol):
    """A node, as its zone's directory needs it."""

    @property
    def name(self) -> str:
        """Full name of the node."""

    @property
    def incarnation(self) -> str:
        """Id of this start of it."""

    @property
    def zone(self) -> str:
        """What tells its zone from others that are kept in the same place: `ZoneInfo.key`; perhaps nothing."""

    async def ask(self, address: str, message: str, timeout: float) -> str:
        """Send a request to another node, and return the reply; errors as `Node.send_and_receive`."""

    def introduce(self, name: str, address: str) -> None:
        """Say where another node listens."""

    async def identify(self, address: str, timeout: float) -> str:
        """Return the full name of the node that listens at an address, as its certificate proves; it may be this one.

        Raises:
            IdentityError: Who answers there is no node of this zone.
            Unreachable: Nobody answered there in time.
        """

    def when_down(self, tell: Callable[[str], None]) -> None:
        """Have `tell` called with the name of each node with which a session has ended, for whatever reason."""

    async def serve(self, name: str, worker: object) -> None:
        """Start a worker that belongs to the library: other nodes reach it, and no list shows it."""


class NotAMember(Exception):
    """A directory was asked by a node that is not in it: it has forgotten it, or never knew it. It may join again.

    Not a public error: whoever asks translates it.
    """


class DirectoryClient(Protocol):
    """A directory, as one node uses it.

    Each of these may raise DirectoryUnavailable. Then nobody can tell whether it was done; doing it again does no harm.
    `find` and `changes` may raise NotAMember.
    """

    def reconnect(self) -> None:
        """Use no connection of its own any more that there is: this host has another address, or was cut off."""

    async def join(self, member: Member, names: Collection[str], known: Sequence[Member]) -> Standing:
        """Enter this node, with all its names, and with the others that it knows of: a directory that has lost them
        then has them again. Entered once more, what was there before is replaced."""

    async def publish(self, added: Collection[str], removed: Collection[str], *, ready: bool) -> Standing:
        """Change what names this node owns, and prolong its lease. Nothing is changed unless it is a member."""

    async def leave(self) -> None:
        """Be gone. Names may still be looked up: the workers of a node that leaves finish what is queued."""

    async def find(self, name: str, on: str | None = None) -> tuple[str, ...]:
        """Return the nodes that own a name, sorted. While nobody does and another node is starting, wait.

        Args:
            name: Of a worker.
            on: The one node to look on; then only that one is waited for.
        """

    async def changes(self, epoch: str, since: int) -> Changes:
        """Return what has changed since a revision; if nothing has, wait for it."""


class Names(Protocol):
    """The names of a zone's workers, as one node knows them."""

    def known(self, name: str) -> tuple[str, ...]:
        """Return the nodes that own a name, as far as that was looked up before; else nothing."""

    def forget(self, name: str, node: str) -> None:
        """Look a name up again next time: that node does not own it."""

    async def find(self, name: str, on: str | None = None) -> tuple[str, ...]:
        """Return the nodes that own a name, sorted; see `DirectoryClient.find`.

        Raises:
            DirectoryUnavailable: It is not known here, and the directory does not answer.
        """

    def is_starting(self, node: str) -> bool:
        """Whether another node may yet have more names."""

    def add(self, name: str) -> None:
        """Own a name from now on."""

    def remove(self, name: str) -> None:
        """Own a name no more."""

    async def settled(self) -> None:
        """Wait until all nodes can look up what this one owns; with the directory away, say so and do not wait."""


class Directory(Protocol):
    """Where the nodes of a zone, and the names of their workers, are found.

    Every implementation passes the same tests (`tests/directory/check_directory.py`).
    """

    @property
    def places(self) -> Sequence[str]:
        """URLs at which it is reached, none if that is in this process: a node is where its host goes there from."""

    def open(self, seat: Seat) -> AbstractAsyncContextManager[DirectoryClient]:
        """Use the directory from a node, as long as the block runs. It need not answer yet."""


class Timer(Protocol):
    """A message that will be sent later, once or again and again."""

    def cancel(self) -> bool:
        """Send nothing more. Return whether anything was still to be sent; cancelling twice does no harm."""


class Watch(Protocol):
    """A look-out for the end of one worker."""

    async def down(self) -> Down:
        """Wait until the worker is gone, then return what is known of its end; at once if it was gone already."""


class Context(Protocol):
    """What a handler is given beside the message: who asks, how to answer, and the node to work with.

    A handler may keep its context and reply after it has returned. A plain ``def`` handler gets a
    `ThreadContext`.
    """

    @property
    def node(self) -> NodeRef:
        """The node that this worker lives on."""

    @property
    def name(self) -> str:
        """This worker's name."""

    @property
    def sender(self) -> str:
        """Full address of who sent the message, ``worker@node``; ``@node`` for the program of a node."""

    @property
    def message_id(self) -> str:
        """An id of this message, unique among those of all nodes, for logs and traces."""

    @property
    def deadline(self) -> float:
        """When the caller gives up, on Trio's clock; infinity if nobody waits for a reply."""

    async def reply(self, message: str) -> None:
        """Answer the message.

        For a request the first reply wins. A later one, one to a caller who is gone, or one to a message that wanted
        none is dropped and counted. A `Mailbox` gets all replies, in order; when it is full this waits for room.

        Raises:
            TypeError, ValueError: As for `Node.send_message`. Nothing was sent; you may reply again.
            MailboxFull: The sender's mailbox had no room for 30 s. The reply is lost.
        """

    async def forward(self, address: str) -> None:
        """Hand the message on to another worker, as this one's message; a reply goes to the original caller.

        Counts as this worker's reply. Waits for room as `Node.send_message` does.

        Raises:
            WorkerNotFound: Nobody has that name. You may still reply, or forward elsewhere.
            CallCycle: That worker waits for this very request. You may still reply.
            MailboxFull: No room came in time. You may still reply.
        """

    async def send_message(
        self, address: str, message: str, node: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Send a message that wants no reply, as `Node.send_message` does."""

    async def send_and_receive(
        self, address: str, message: str, node: str | None = None, policy: object = None, timeout: float | None = None
    ) -> str:
        """Send a message and wait for the first reply, as `Node.send_and_receive` does, within what is left of the
        request at hand."""

    def send_after(self, delay: float, address: str, message: str) -> Timer:
        """Send a message in `delay` seconds, unless this worker ends before."""

    def send_every(self, period: float, address: str, message: str) -> Timer:
        """Send a message every `period` seconds until this worker ends."""

    async def start_worker(
        self,
        name: str,
        worker: object,
        *,
        supervision: Supervision = ...,
        mailbox_capacity: int = ...,
        allow: Allow = ...,
        on_conflict: OnConflict = ...,
    ) -> None:
        """Start a worker as a child of this one: it stops before this worker stops or is restarted."""

    def stop(self) -> None:
        """Stop this worker once its handler has returned or raised; supervision restarts it no more. Messages that wait
        by then get `WorkerStopped` or become dead letters. A ``permanent`` member of a group is started again."""

    def watch(self, address: str) -> AbstractAsyncContextManager[Watch]:
        """Look out for the end of a worker, as `Node.watch` does."""


class ThreadContext(Protocol):
    """The `Context` of a plain ``def`` handler: the same, with functions that wait in the handler's thread.

    Its `node` has plain functions likewise. Neither may be used after the handler has returned.
    """

    @property
    def node(self) -> Any:
        """The node that this worker lives on, with plain functions in place of async ones."""

    @property
    def name(self) -> str:
        """This worker's name."""

    @property
    def sender(self) -> str:
        """Full address of who sent the message."""

    @property
    def message_id(self) -> str:
        """An id of this message, unique among those of all nodes."""

    @property
    def deadline(self) -> float:
        """When the caller gives up, on Trio's clock; infinity if nobody waits for a reply."""

    def reply(self, message: str) -> None:
        """Answer the message, as `Context.reply` does."""

    def forward(self, address: str) -> None:
        """Hand the message on, as `Context.forward` does."""

    def send_message(
        self, address: str, message: str, node: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Send a message that wants no reply, as `Node.send_message` does."""

    def send_and_receive(
        self, address: str, message: str, node: str | None = None, policy: object = None, timeout: float | None = None
    ) -> str:
        """Send a message and wait for the first reply, as `Node.send_and_receive` does."""

    def send_after(self, delay: float, address: str, message: str) -> Timer:
        """Send a message later, as `Context.send_after` does."""

    def send_every(self, period: float, address: str, message: str) -> Timer:
        """Send a message again and again, as `Context.send_every` does."""

    def stop(self) -> None:
        """Stop this worker once its handler has returned."""


class Worker(Protocol):
    """What handles messages: any object with this method.

    Optional are ``on_start(context)``, which runs before the first message, and ``on_stop(context)``, which runs after
    the last. Each of the three may be ``async def``, or a plain ``def`` that runs in a thread.

    Example:
        ```python
        class Greeter:
            async def handle_message(self, context, message):
                await context.reply(f"Hello, {message}!")
        ```
    """

    def handle_message(self, context: Any, message: str) -> Awaitable[None] | None:
        """Handle one message. The next one is not looked at before this returns or raises."""
