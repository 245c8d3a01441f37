"""What one node does where DNS alone leads to the others: it meets them, tells them what it is, and hears them.

The rule of this file: all that is known is kept in a roster here, which the others fill, each for itself. So whoever
asks is answered from it. What is said, and in which order it counts, is decided in `_sansio/tellings.py`; where to look
for others in `_sansio/address_book.py`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal

import msgspec
import trio

from .. import logs
from .._sansio.address_book import MOST, AddressBook
from .._sansio.backoff import Backoff
from .._sansio.directory_url import DnsPlace
from .._sansio.members import Member
from .._sansio.roster import Changes, Standing
from .._sansio.tellings import (
    Answer,
    Change,
    Everything,
    Farewell,
    Heard,
    Own,
    Telling,
    check_everything,
    check_names,
    read_answer,
    read_telling,
    write,
)
from ..abc import Context, NotAMember, Seat
from ..errors import DirectoryUnavailable, IdentityError, NoReply, Unreachable
from .memory import Keeper

_log = logs.get_logger("directory")
_security = logs.get_logger("security")
WORKER: Final = "_members"
_LOOK_EVERY: Final = 1.0
_ANSWER: Final = 5.0
"""Seconds for an answer, of DNS or of another node; and that anybody waits until all others were told something."""
_MEETING: Final = 3.0
"""Seconds that a node which comes waits for those whom DNS names to be met."""
_STRANGER: Final = 60.0
"""Seconds after which an address is visited again at which somebody was that is no node of this zone."""
_AT_ONCE: Final = 16
"""Addresses that are visited at the same time."""

Outcome = Literal["heard", "failed", "refused"]
"""What came of telling a node something: it took it; it did not; and it will not."""


@asynccontextmanager
async def using(
    place: DnsPlace, seat: Seat, resolve: Callable[[str], Awaitable[Collection[str]]]
) -> AsyncGenerator[DnsClient]:
    """Tell other nodes what this one is, and hear them, as long as the block runs."""
    async with trio.open_nursery() as nursery:
        client = DnsClient(place, seat, resolve, nursery)
        seat.when_down(client.lose)
        await seat.serve(WORKER, client)
        nursery.start_soon(client.look_out)
        yield client
        nursery.cancel_scope.cancel()


class DnsClient:
    """A zone without a directory, as one node sees it; see `abc.DirectoryClient`. It is also the worker that is told.

    Args:
        place: The name that leads to all nodes, and where they listen.
        seat: This node.
        resolve: Finds the addresses of the name.
        nursery: Where other nodes are met and told.
    """

    def __init__(
        self,
        place: DnsPlace,
        seat: Seat,
        resolve: Callable[[str], Awaitable[Collection[str]]],
        nursery: trio.Nursery,
    ) -> None:
        self._place = place
        self._seat = seat
        self._resolve = resolve
        self._nursery = nursery
        self._keeper = Keeper(seat.incarnation)
        self._own = Own(seat.incarnation, seat.zone)
        self._heard = Heard()
        self._book = AddressBook(seat.name)
        self._backoff = Backoff(0.5, 5.0)
        self._visits = trio.CapacityLimiter(_AT_ONCE)
        self._others: dict[str, trio.Event] = {}
        """The nodes that are told what this one is, each by a task, which its event wakes."""
        self._has_come = trio.Event()
        self._has_left = False
        self._has_looked = False
        self._trouble = ""
        self._address = ""
        self._changed = trio.lowlevel.ParkingLot()

    # --- what this node says

    def reconnect(self) -> None:
        """Do nothing: the others are reached by the node's own links."""

    async def join(self, member: Member, names: Collection[str], known: Sequence[Member]) -> Standing:
        """Tell all others everything; at first look for them. See `abc.DirectoryClient`."""
        self._has_left = False
        self._address = member.address
        standing = self._keeper.join(member, names, ())
        self._own.enter(member, names, trio.current_time())
        self._wake()
        if not self._has_looked:
            await self._come()
        await self._told_all()
        return standing

    async def _come(self) -> None:
        """Wait until those are met whom DNS names."""
        self._has_come.set()
        with trio.move_on_after(_ANSWER):
            while not (self._has_looked or self._trouble):
                await self._changed.park()
        if not self._has_looked:
            raise DirectoryUnavailable(self._trouble or f"DNS does not say where {self._place.name!r} is")
        with trio.move_on_after(_MEETING):
            while self._book.is_waiting:
                await self._changed.park()

    async def publish(self, added: Collection[str], removed: Collection[str], *, ready: bool) -> Standing:
        """Tell all others what has changed; see `abc.DirectoryClient`."""
        standing = self._keeper.publish(self._seat.name, self._seat.incarnation, added, removed, ready=ready)
        if standing == "member":
            self._own.change(added, removed, ready=ready)
            self._wake()
        await self._told_all()
        return standing

    async def leave(self) -> None:
        """Tell all others; see `abc.DirectoryClient`."""
        self._has_left = True
        self._own.leave()
        self._keeper.leave(self._seat.name, self._seat.incarnation)
        self._wake()
        await self._told_all()

    async def _told_all(self) -> None:
        """Wait until all have been told what this node says now, but not for long, and not for those who fail to."""
        version = self._own.version
        await trio.lowlevel.checkpoint()
        with trio.move_on_after(_ANSWER):
            while any(self._own.is_awaited(node, version) for node in self._others):
                await self._changed.park()

    # --- what is known here

    async def find(self, name: str, on: str | None = None) -> tuple[str, ...]:
        """Return who owns a name; see `abc.DirectoryClient`."""
        await trio.lowlevel.checkpoint()
        if not self._has_left:
            self._check_in()
        return await self._keeper.find(self._seat.name, name, on)

    async def changes(self, epoch: str, since: int) -> Changes:
        """Return what has changed; see `abc.DirectoryClient`."""
        await trio.lowlevel.checkpoint()
        self._check_in()
        return await self._keeper.changes(epoch, since)

    def _check_in(self) -> None:
        if not self._own.is_in:
            raise NotAMember
        self._keeper.check_in(self._seat.name, self._seat.incarnation)

    # --- what others say

    async def handle_message(self, context: Context, message: str) -> None:
        """Hear another node."""
        told = read_telling(message)
        node = context.sender.rpartition("@")[2]
        mine = self._own.everything(trio.current_time()) if isinstance(told, Everything) else None
        try:
            answer = Answer(self._hear(node, told), mine)
        except ValueError as error:
            _security.warning("node not heard", peer=node, problem=str(error)[:200])
            answer = Answer("unknown", refusal=str(error)[:500])
        await context.reply(write(answer))

    def _hear(self, node: str, told: Telling) -> Standing:
        """Take what a node says of itself; return what it is here then. Raises ValueError if it cannot be so."""
        if isinstance(told, Farewell):
            if self._heard.takes(node, told):
                self._keeper.leave(node, told.incarnation)
            return "unknown"
        if isinstance(told, Change):
            check_names(told.added, self._keeper.count(node))
            if not self._heard.takes(node, told):
                return "unknown"
            return self._keeper.publish(node, told.incarnation, told.added, told.removed, ready=told.ready)
        check_everything(told, node, self._seat.zone)
        if not self._heard.takes(node, told):
            return "member"  # it has said more since
        standing = self._keeper.join(told.member, told.names, ())
        if told.member.address:
            self._seat.introduce(node, told.member.address)
        self._tell(node)
        return standing

    def _is_known(self, node: str) -> bool:
        """Whether a node is in the zone, as far as this one has heard."""
        return any(member.name == node for member in self._keeper.members)

    def _has_heard(self, node: str, told: Everything) -> bool:
        """Whether nothing is new in what a node answers: an answer is no sign that it is still in the zone."""
        try:
            self._keeper.check_in(node, told.incarnation)
        except NotAMember:
            return False
        return self._heard.has(node, told)

    def lose(self, node: str) -> None:
        """Know that the session with a node has ended: it is gone, or has to be told everything again."""
        self._keeper.lose(node)
        self._own.failed(node)
        self._changed.unpark_all()
        if node in self._others:
            self._others[node].set()

    # --- telling others

    def _wake(self) -> None:
        for news in self._others.values():
            news.set()

    def _tell(self, node: str) -> None:
        """Tell a node what this one is, from now on."""
        if node not in self._others:
            self._others[node] = trio.Event()
            self._own.begin(node)
            self._nursery.start_soon(self._keep_told, node)

    async def _keep_told(self, node: str) -> None:
        """Tell a node all that there is to say, until it does not hear it and is not known any more either."""
        failures, outcome = 0, ""
        while outcome != "refused":
            self._others[node] = trio.Event()
            told = self._own.next_for(node, trio.current_time())
            if told is None:
                await self._others[node].wait()
                continue
            outcome = await self._told(node, told)
            self._changed.unpark_all()
            failures = 0 if outcome == "heard" else failures + 1
            if failures and not self._is_known(node):
                break
            if failures and outcome != "refused":
                await trio.sleep(self._backoff.delay(failures))
        del self._others[node]
        self._own.forget(node)
        self._book.lost(node, trio.current_time(), _STRANGER if outcome == "refused" else 0.0)
        self._changed.unpark_all()

    async def _told(self, node: str, told: Telling) -> Outcome:
        """Tell a node something, and hear what it says of itself; return what came of that."""
        try:
            answer = read_answer(await self._seat.ask(f"{WORKER}@{node}", write(told), _ANSWER))
        except (NoReply, msgspec.MsgspecError) as error:
            _log.debug("node does not hear", peer=node, reason=error)
            self._own.failed(node)
            return "failed"
        try:
            if answer.mine is not None and not self._has_heard(node, answer.mine):
                self._hear(node, answer.mine)
        except ValueError as error:
            answer = Answer("unknown", refusal=str(error))
        if answer.refusal:
            _security.warning("node not met", peer=node, problem=answer.refusal[:200])
            self._own.failed(node)
            return "refused"
        self._own.answered(node, told, answer.standing)
        if answer.standing == "displaced":
            _log.error("another start of this node has taken its place there", peer=node)
            return "failed"
        return "heard"

    # --- meeting others

    async def look_out(self) -> None:
        """Look for others in DNS, for ever."""
        await self._has_come.wait()
        while True:
            if self._own.is_in:
                await self._look()
            await trio.sleep(_LOOK_EVERY)

    async def _look(self) -> None:
        trouble, found = "", []
        try:
            with trio.fail_after(_ANSWER):
                found = sorted(await self._resolve(self._place.name))
        except trio.TooSlowError:
            trouble = f"DNS did not say within {_ANSWER:g} s where {self._place.name!r} is"
        except (OSError, UnicodeError) as error:  # UnicodeError: a label that is too long
            trouble = f"DNS does not say where {self._place.name!r} is: {error}"
        if not trouble and not 0 < len(found) <= MOST:
            trouble = f"DNS knows {len(found)} addresses of {self._place.name!r}: there must be one to {MOST}"
        self._note(trouble)
        if not trouble:
            # Those with a zone, as fe80::1%eth0, are known to one machine alone.
            self._book.update(self._address_of(host) for host in found if "%" not in host)
        members = [member.address for member in self._keeper.members]
        for address in self._book.visit([self._address, *members], trio.current_time()):
            self._nursery.start_soon(self._meet, address)
        self._changed.unpark_all()

    def _note(self, trouble: str) -> None:
        if trouble and not self._trouble and self._has_looked:
            _log.warning("the zone's name cannot be looked up; who is known stays known", reason=trouble)
        elif not trouble and self._trouble:
            _log.info("the zone's name can be looked up", name=self._place.name)
        self._trouble = trouble
        self._has_looked = self._has_looked or not trouble

    def _address_of(self, host: str) -> str:
        return f"wss://[{host}]:{self._place.port}" if ":" in host else f"wss://{host}:{self._place.port}"

    async def _meet(self, address: str) -> None:
        """See who is at an address, and have it told what this node is."""
        try:
            async with self._visits:
                node = await self._seat.identify(address, _ANSWER)
        except IdentityError:  # the link has logged it
            self._book.failed(address, trio.current_time(), _STRANGER)
        except (Unreachable, ValueError) as error:  # ValueError: what DNS says is no address
            _log.debug("nobody was met", address=address, reason=error)
            self._book.failed(address, trio.current_time())
        else:
            self._book.met(address, node, trio.current_time())
            if node != self._seat.name and not self._is_known(node):  # who is known says itself where it is
                self._seat.introduce(node, address)
                self._tell(node)
        self._changed.unpark_all()
