"""Another node of the zone, as programs and workers here see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .. import errors
from .._mixed.worlds import pause
from .._sansio.address import check_name
from .._sansio.border import check_count, check_delay
from .._sansio.management import (
    WORKER,
    Done,
    ListWorkers,
    Order,
    StartWorker,
    StopWorker,
    outcomes,
    text_of,
    written,
)
from .._sansio.members import Member
from .._sansio.reports import WorkerInfo
from .._sansio.restarts import RESUME, Restart, Supervision, check_factory, check_supervision
from .._sansio.rights import check_patterns
from ..abc import NodeRef, OnConflict
from ..errors import AutonomyError, NoReply, ProtocolError, WorkerFailed
from .packing import pack

if TYPE_CHECKING:
    from .._actors.mailbox import Mailbox

Node = Any
"""The node itself, which stands above this floor: a `NodeRef` that can `send`."""
_PREFIX: Final = "Remote node error: "
_PATIENCE: Final = 5.0
_RETURNED: Final = 5.0
"""Seconds that an order and its outcome may be under way, besides what the order itself may take."""


class View:
    """The other nodes, as one of them sees them.

    Args:
        node: That one.
        identity_of: Returns the identity that a node has proven last.

    Attributes:
        members: Returns the live nodes of the zone, sorted by name; None without a zone.
    """

    def __init__(self, node: Node, identity_of: Callable[[str], str]) -> None:
        self.node = node
        self.identity_of = identity_of
        self.members: Callable[[], Sequence[Member]] | None = None

    def neighbours(self, filter: str | None) -> list[NodeRef]:
        """Return the live nodes that a filter admits, the node itself included."""
        node = self.node
        members = [Member(node.name, "", short_name=node.short_name)] if self.members is None else self.members()
        admitted = [member for member in members if member.fits(filter)]
        return [node if member.name == node.name else RemoteNode(self, member) for member in admitted]


class RemoteNode:
    """A node that this one is linked to, or may be. Nothing of it lives here: each call goes there.

    `Node.connect`, `Zone.nodes` and `Zone.node` return these. Two of them are equal if they are the same node as seen
    from the same one.

    Whatever goes wrong with `start_worker`, `stop_worker` and `list_workers` over there has a text that begins with
    ``Remote node error:``.

    Example:
        ```python
        runner = (await Zone.nodes(node, filter="runner"))[0]
        await runner.start_worker("echo", Echo())
        await runner.send_and_receive("echo", "hello")  # the same as
        await node.send_and_receive(f"echo@{runner.name}", "hello")
        ```
    """

    def __init__(self, view: View, member: Member) -> None:
        self._view = view
        self._member = member

    def __repr__(self) -> str:
        return f"<RemoteNode {self.name!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteNode):
            return NotImplemented
        return self._view.node is other._view.node and self.name == other.name

    def __hash__(self) -> int:
        return hash((id(self._view.node), self.name))

    @property
    def name(self) -> str:
        """Full name of the node."""
        return self._member.name

    @property
    def short_name(self) -> str:
        """Name of the node within its cluster and zone."""
        return self._member.short_name or self._member.name

    @property
    def pod(self) -> str:
        """Name of the pod that it is part of; empty without pods."""
        return self._member.pod

    async def identifier(self) -> str:
        """Return the identity that the node has proven last, ``spiffe://ZONE/node/NAME``; empty if never linked."""
        await pause()
        return self._view.identity_of(self.name)

    # --- messages

    async def send_message(
        self, address: str, message: str, node: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Send a message to a worker there, as `Node.send_message` does."""
        await self._view.node.send_message(check_name(address), message, self._only(node), timeout=timeout)

    async def send_and_receive(
        self, address: str, message: str, node: str | None = None, policy: object = None, timeout: float | None = None
    ) -> str:
        """Send a message to a worker there and wait for the first reply, as `Node.send_and_receive` does."""
        asked = self._view.node.send_and_receive(check_name(address), message, self._only(node), policy, timeout)
        reply: str = await asked
        return reply

    async def send(self, address: str, message: str, node: str | None = None, policy: object = None) -> Mailbox:
        """Send a message to a worker there and return the mailbox for its replies, as `Node.send` does."""
        mailbox: Mailbox = await self._view.node.send(check_name(address), message, self._only(node), policy)
        return mailbox

    def _only(self, node: object) -> str:
        wanted = getattr(node, "name", node)
        if wanted not in (None, self.name):
            raise ValueError(f"this is node {self.name!r}, and node={wanted!r:.300} is another one; ask that one")
        return self.name

    # --- workers

    async def start_worker(
        self,
        name: str,
        worker: object,
        *,
        supervision: Supervision = RESUME,
        mailbox_capacity: int = 1000,
        allow: str | Sequence[str] | None = None,
        on_conflict: OnConflict = "error",
        policy: object = None,
        exposed_as: object = None,
        timeout: float | None = None,
    ) -> None:
        """Start a copy of a worker there, and return once its ``on_start`` has succeeded and the zone knows its name.

        Its class is sent by name if that node has the same source, else as source; its attributes as plain data. The
        object itself stays here, and starts nowhere. Over there it has its node as ``self.node``, if it takes that.

        Args:
            name: As for `Node.start_worker`, as are `supervision`, `mailbox_capacity` and `on_conflict`.
            worker: An object with ``handle_message``; with `Restart` a class of such objects.
            allow: Patterns of short node names, ``"local"`` or None; no function, for that cannot be sent.
            policy: Accepted for older programs; has no effect.
            exposed_as: Accepted for older programs; has no effect.
            timeout: Seconds; None for this node's default.

        Raises:
            CodeRefused: It cannot be sent: the text names the attribute or import. Or that node does not take it.
            WorkerExists: The name is taken there.
            NotAllowed: That node does not let this one manage its workers.
            TypeError, ValueError: A value that cannot be; or ``on_start`` raised it.
            WorkerFailed: ``on_start`` raised something else.
            NoReply: The order got no answer. ``outcome`` says whether the worker may have been started.
        """
        del policy, exposed_as
        check_name(name)
        kind = check_supervision(supervision)
        check_count(mailbox_capacity, "mailbox_capacity")
        if callable(allow):
            raise TypeError("allow must be patterns of short node names for a remote worker: a function cannot be sent")
        if allow is not None:
            check_patterns(allow, "allow")
        if isinstance(kind, Restart):
            check_factory(worker, name)
        allowed = list(allow) if isinstance(allow, (list, tuple)) else allow
        order = StartWorker(name, pack(worker), written(kind), mailbox_capacity, allowed, on_conflict)  # type: ignore[arg-type]
        await self._order(order, timeout)

    async def stop_worker(self, name: str, *, timeout: float | None = None) -> None:
        """Stop a worker or a group there, as `Node.stop_worker` does.

        Raises:
            WorkerNotFound: Nobody there has that name.
            NotAllowed: That node does not let this one manage its workers.
            NoReply: The order got no answer.
        """
        check_name(name)
        patience = None if timeout is None else check_delay(timeout, "timeout")
        seconds = 3 * (_PATIENCE if patience is None else patience) + _RETURNED
        await self._order(StopWorker(name, patience), seconds)

    async def list_workers(self) -> list[WorkerInfo]:
        """Return the workers there, sorted by name.

        Raises:
            NotAllowed: That node does not let this one manage its workers.
            NoReply: The order got no answer.
        """
        return (await self._order(ListWorkers(), None)).infos()

    async def _order(self, order: Order, timeout: float | None) -> Done:
        try:
            answer = await self._view.node.send_and_receive(WORKER, text_of(order), self.name, timeout=timeout)
        except NoReply as why:
            text = f"{_PREFIX}{why}"
            raise type(why)(text, outcome=why.outcome, worker=why.worker, node=why.node, elapsed=why.elapsed) from None
        try:
            outcome = outcomes.decode(answer)
        except msgspec.MsgspecError as error:
            raise ProtocolError(f"{_PREFIX}node {self.name!r} answered what nobody understands: {error}") from None
        if isinstance(outcome, Done):
            return outcome
        raise _error_of(outcome.kind, outcome.text, outcome.traceback, self.name)


def _error_of(kind: str, text: str, traceback: str, node: str) -> Exception:
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, NoReply):
        return known(_PREFIX + text, node=node)
    if isinstance(known, type) and issubclass(known, AutonomyError):
        return known(_PREFIX + text)
    error: Exception
    if kind in ("TypeError", "ValueError"):
        error = (TypeError if kind == "TypeError" else ValueError)(_PREFIX + text)
        error.add_note(f"on node {node!r}:\n{traceback}")
        return error
    said = f"{_PREFIX}{kind}: {text}"
    return WorkerFailed(
        said, outcome="handled", node=node, remote_type=kind, remote_message=text, remote_traceback=traceback
    )
