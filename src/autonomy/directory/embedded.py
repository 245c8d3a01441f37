"""A directory that is a worker on one of the zone's nodes, and what the others reach it by: no server to run.

Its state is in memory. When its node starts anew, the others enter themselves again, and tell what they know of each
other; see `_sansio/roster.py`. Meanwhile names that were looked up before, and links, go on working.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
import trio

from .. import logs
from .._sansio.address import check_name, check_node_name
from .._sansio.members import Member, check_member
from .._sansio.roster import Changes, Standing
from ..abc import Context, NotAMember, Seat
from ..errors import DeadlineExceeded, DirectoryUnavailable, NoReply
from .memory import Keeper

_log = logs.get_logger("directory")
_security = logs.get_logger("security")
WORKER: Final = "_directory"
_ANSWER: Final = 5.0
"""Seconds for an answer that nothing has to be waited for."""
_LONG: Final = 300.0
"""Seconds for one that may have to wait; then it is asked for again."""
_NAMES: Final = 100_000
"""Names of workers that one node may own."""
_NODES: Final = 10_000
"""Other nodes that one may have heard of."""
_QUESTIONS: Final = 10_000
"""Questions of one node that may have to wait for their answers."""


class _Request(msgspec.Struct, frozen=True, omit_defaults=True, tag=True, forbid_unknown_fields=True):
    """What a node asks of the directory. Who asks is proven by its link, and never said here."""

    incarnation: str


class Join(_Request, frozen=True, tag="join"):
    """Enter the node."""

    member: Member
    names: tuple[str, ...] = ()
    known: tuple[Member, ...] = ()


class Publish(_Request, frozen=True, tag="publish"):
    """Change what it owns, and prolong its lease."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    ready: bool = False


class Leave(_Request, frozen=True, tag="leave"):
    """Be gone."""


class Find(_Request, frozen=True, tag="find"):
    """Who owns a name?"""

    name: str
    on: str | None = None
    has_left: bool = False


class Look(_Request, frozen=True, tag="look"):
    """What has changed?"""

    epoch: str = ""
    since: int = 0


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the directory says."""

    standing: Standing = "member"
    owners: tuple[str, ...] = ()
    changes: Changes | None = None


_requests = msgspec.json.Decoder(Join | Publish | Leave | Find | Look)
_answers = msgspec.json.Decoder(Answer)


class DirectoryWorker:
    """The directory: a worker that answers the nodes of its zone.

    Args:
        keeper: What it keeps.
        start_soon: Starts a task that lives as long as the worker, for answers that have to be waited for.
        introduce: Says where a node listens.
    """

    def __init__(
        self, keeper: Keeper, start_soon: Callable[..., object], introduce: Callable[[str, str], object]
    ) -> None:
        self._keeper = keeper
        self._start_soon = start_soon
        self._introduce = introduce
        self._waiting: dict[str, int] = {}

    async def handle_message(self, context: Context, message: str) -> None:
        """Answer one node; what cannot be answered yet is answered later."""
        request = _requests.decode(message)
        node = context.sender.rpartition("@")[2]
        try:
            if isinstance(request, (Find, Look)):
                self._begin(context, node, request)
            else:
                await _reply(context, Answer(self._do(node, request)))
        except NotAMember:
            await _reply(context, Answer("unknown"))

    def _begin(self, context: Context, node: str, request: Find | Look) -> None:
        """Answer as soon as there is an answer."""
        if not (isinstance(request, Find) and request.has_left):
            self._keeper.check_in(node, request.incarnation)
        waiting = self._waiting.get(node, 0)
        _check_size("questions", waiting + 1, _QUESTIONS)
        self._waiting[node] = waiting + 1
        self._start_soon(self._answer_later, context, node, request)

    def _do(self, node: str, request: Join | Publish | Leave) -> Standing:
        if isinstance(request, Join):
            return self._join(node, request)
        if isinstance(request, Leave):
            self._keeper.leave(node, request.incarnation)
            return "unknown"
        names = [check_name(name) for name in request.added]
        _check_size("names", self._keeper.count(node) + len(names), _NAMES)
        return self._keeper.publish(node, request.incarnation, names, request.removed, ready=request.ready)

    def _join(self, node: str, request: Join) -> Standing:
        member = check_member(request.member)
        if member.name != node or member.incarnation != request.incarnation:
            _security.warning("a node entered another one", peer=node, entered=member.name)
            raise ValueError(f"node {node!r} may enter itself alone")
        _check_size("names", len(request.names), _NAMES)
        _check_size("nodes", len(request.known), _NODES)
        known = [check_member(other) for other in request.known]
        standing = self._keeper.join(member, [check_name(name) for name in request.names], known)
        if member.address:
            self._introduce(member.name, member.address)
        return standing

    async def _answer_later(self, context: Context, node: str, request: Find | Look) -> None:
        try:
            with trio.move_on_at(context.deadline):
                if isinstance(request, Find):
                    answer = Answer(owners=await self._keeper.find(node, request.name, request.on))
                else:
                    answer = Answer(changes=await self._keeper.changes(request.epoch, request.since))
                await _reply(context, answer)
        finally:
            self._waiting[node] -= 1
            if not self._waiting[node]:
                del self._waiting[node]


def _check_size(what: str, size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"a node may have {most} {what}, got {size}")


async def _reply(context: Context, answer: Answer) -> None:
    await context.reply(msgspec.json.encode(answer).decode())


class EmbeddedDirectory:
    """A directory that one of the zone's nodes keeps: ``directory=EmbeddedDirectory("a-zone-main", "wss://10.0.0.1:7400")``.

    All nodes of the zone are given the same. The one whose name it is keeps the directory, and has to listen at that
    address.

    Args:
        node: Full name of the node that keeps it.
        address: Where that node listens; None if all nodes know that already.

    Raises:
        TypeError, ValueError: It is no node's name.
    """

    def __init__(self, node: str, address: str | None = None) -> None:
        self.node = check_node_name(node)
        self.address = address

    @property
    def places(self) -> Sequence[str]:
        """Where it is reached; see `abc.Directory`."""
        return () if self.address is None else (self.address,)

    def __repr__(self) -> str:
        return f"EmbeddedDirectory({self.node!r}, {self.address!r})"

    @asynccontextmanager
    async def open(self, seat: Seat) -> AsyncGenerator[EmbeddedClient]:
        """Use the directory from a node, or keep it there; see `abc.Directory`."""
        if seat.name != self.node:
            await trio.lowlevel.checkpoint()
            yield EmbeddedClient(self.node, self.address, seat)
            return
        keeper = Keeper(seat.incarnation)
        seat.when_down(keeper.lose)
        async with trio.open_nursery() as nursery:
            await seat.serve(WORKER, DirectoryWorker(keeper, nursery.start_soon, seat.introduce))
            _log.info("directory kept here", node=seat.name)
            yield EmbeddedClient(self.node, None, seat)
            nursery.cancel_scope.cancel()


class EmbeddedClient:
    """A directory on some node, as another one uses it; see `abc.DirectoryClient`."""

    def __init__(self, node: str, address: str | None, seat: Seat) -> None:
        self._node = node
        self._reached_at = address
        self._address = f"{WORKER}@{node}"
        self._seat = seat
        self._incarnation = seat.incarnation
        self._has_left = False
        self._is_lost = True

    def reconnect(self) -> None:
        """Do nothing: it is reached by the node's own links."""

    async def join(self, member: Member, names: Collection[str], known: Sequence[Member]) -> Standing:
        """Enter this node; see `abc.DirectoryClient`."""
        self._has_left = False
        return (await self._ask(Join(self._incarnation, member, tuple(names), tuple(known)))).standing

    async def publish(self, added: Collection[str], removed: Collection[str], *, ready: bool) -> Standing:
        """Change what this node owns; see `abc.DirectoryClient`."""
        return (await self._ask(Publish(self._incarnation, tuple(added), tuple(removed), ready))).standing

    async def leave(self) -> None:
        """Be gone; see `abc.DirectoryClient`."""
        self._has_left = True
        await self._ask(Leave(self._incarnation))

    async def find(self, name: str, on: str | None = None) -> tuple[str, ...]:
        """Return who owns a name; see `abc.DirectoryClient`."""
        return (await self._ask_long(Find(self._incarnation, name, on, self._has_left))).owners

    async def changes(self, epoch: str, since: int) -> Changes:
        """Return what has changed; see `abc.DirectoryClient`."""
        changes = (await self._ask_long(Look(self._incarnation, epoch, since))).changes
        if changes is None:
            raise DirectoryUnavailable(f"the directory on {self._address} answered something else than was asked")
        return changes

    async def _ask_long(self, request: Find | Look) -> Answer:
        while True:
            try:
                answer = await self._ask(request, _LONG)
            except DirectoryUnavailable as error:
                if not isinstance(error.__cause__, DeadlineExceeded):
                    raise
            else:
                if answer.standing != "member":
                    raise NotAMember
                return answer

    async def _ask(self, request: Any, timeout: float = _ANSWER) -> Answer:
        if self._is_lost and self._reached_at is not None:
            self._seat.introduce(self._node, self._reached_at)
        self._is_lost = False
        try:
            return _answers.decode(await self._seat.ask(self._address, msgspec.json.encode(request).decode(), timeout))
        except NoReply as why:
            self._is_lost = True  # it may have moved back, or the way to it be forgotten
            raise DirectoryUnavailable(f"the zone's directory does not answer: {why}") from why
        except msgspec.MsgspecError as why:
            raise DirectoryUnavailable(f"the zone's directory answered what nobody understands: {why}") from why
