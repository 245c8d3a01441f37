"""Links as websockets over streams whose other end is known.

How to get a stream of bytes comes in from outside: TCP here, streams in memory in tests. So does what makes it secure,
`Security`: mutual TLS, which is not the websocket library's to do, because who is at the other end must be known before
anything is parsed that he says. Every wait for the far side that is not a wait for its next message has a deadline.

The parts are beside: `opening` asks for a websocket or grants one, `websocket_frames` reads and writes what follows,
`door` counts who comes in. No link has a task of its own: whoever receives reads, and whoever sends writes.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import trio

from .. import logs
from .._sansio.spiffe import PeerIdentity
from ..abc import Link, LinkLost, LinkRefused
from ..errors import IdentityError
from . import opening
from .addresses import parse_address, write_address
from .door import Door
from .limits import LinkLimits
from .reasons import is_refused, why
from .security import Security
from .websocket_frames import MESSAGE, PONG, FrameReader, RuleBroken, write_close, write_frame

_log = logs.get_logger("links")
_security = logs.get_logger("security")

Streams = Callable[[str, int], Awaitable[trio.abc.Stream]]
Listeners = Callable[[str, int], Awaitable[Sequence[trio.abc.Listener[trio.abc.Stream]]]]


class WebSocketTransport:
    """Links as websockets over mutual TLS; the `abc.Transport` of real zones.

    Args:
        security: Who this node is, and whom it trusts.
        limits: What others may cost.
        connect: Opens a stream to a host and port; raises OSError.
        listen: Opens listeners at a host and port; raises OSError.
    """

    def __init__(
        self,
        security: Security,
        limits: LinkLimits | None = None,
        connect: Streams = trio.open_tcp_stream,
        listen: Listeners | None = None,
    ) -> None:
        self._security = security
        self._limits = limits or LinkLimits()
        self._connect = connect
        self._listen = listen or _listen_tcp
        self._door = Door(self._limits)

    @asynccontextmanager
    async def dial(self, address: str, node: str | None) -> AsyncGenerator[Link]:
        """Open a link to a node at ``wss://host:port``; see `abc.Transport`."""
        host, port = parse_address(address)
        link = await self._dial(host, port, node)
        try:
            yield link
        finally:
            await link.close()

    async def _dial(self, host: str, port: int, node: str | None) -> WebSocketLink:
        where = write_address(host, port)
        stream: trio.abc.Stream | None = None
        link: WebSocketLink | None = None
        try:
            with trio.fail_after(self._limits.handshake):
                stream = await self._connect(host, port)
                secure, peer = await self._security.dial(stream, node)
                link = WebSocketLink(secure, peer, self._limits, server=False)
                await link.open()
                return link
        except trio.TooSlowError:
            raise LinkLost(f"{where} did not answer within {self._limits.handshake:g} s") from None
        except IdentityError as error:
            _security.warning("node refused", reason=why(error)[:200], address=where)
            raise LinkLost(f"no link to {where}: {why(error)}") from error
        # ValueError: a node that no certificate can name, or, in the resolver, a host that cannot be one.
        except (LinkLost, OSError, ValueError, trio.BrokenResourceError) as error:
            if is_refused(error):
                raise LinkRefused(f"no link to {where}: nobody listens there") from error
            raise LinkLost(f"no link to {where}: {why(error)}") from error
        finally:
            if stream is not None and (link is None or not link.is_open):
                await trio.aclose_forcefully(stream)

    async def serve(
        self,
        address: str,
        handle: Callable[[Link], Awaitable[None]],
        *,
        task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen at ``wss://host:port``, port 0 for any; see `abc.Transport`."""
        host, port = parse_address(address)
        listeners = await self._listen(host, port)

        async def accept(stream: trio.abc.Stream) -> None:
            await self._accept(stream, handle)

        # With port 0 and a host of several addresses each has a port of its own; the first is reported.
        task_status.started(write_address(host, _port_of(listeners[0], port)))
        await trio.serve_listeners(accept, list(listeners))

    async def _accept(self, stream: trio.abc.Stream, handle: Callable[[Link], Awaitable[None]]) -> None:
        address = _address_of(stream)
        objection = self._door.objection(address)
        if objection:
            self._door.refused(address, objection, trio.current_time())
            return  # and so hang up: who listens closes each stream when this ends
        with self._door.stranger(address):
            link = await self._welcome(stream, address)
        if link is None:
            return
        with self._door.link():
            try:
                await handle(link)
            except LinkLost as error:
                _log.debug("link ended", peer=link.peer.name, reason=error)
            finally:
                await link.close()

    async def _welcome(self, stream: trio.abc.Stream, address: str) -> WebSocketLink | None:
        """Return the link that somebody wants, or None if he may not have it. He learns nothing but that."""
        link: WebSocketLink | None = None
        try:
            with trio.fail_after(self._limits.handshake):
                secure, peer = await self._security.accept(stream)
                link = WebSocketLink(secure, peer, self._limits, server=True)
                await link.open()
                return link
        except Exception as error:  # noqa: BLE001  # whatever a stranger's bytes can do in three libraries
            reason = f"{why(error)} (node {link.peer.name})" if link is not None else why(error)
            self._door.refused(address, reason, trio.current_time())
            return None


class WebSocketLink:
    """One websocket over one stream; see `abc.Link`.

    It reads in `receive` and in `close` only: while nobody receives, pings stay unanswered and a close unseen. There
    is one writer at a time; who wants to answer the far side meanwhile leaves that to it.
    """

    def __init__(self, stream: trio.abc.Stream, peer: PeerIdentity, limits: LinkLimits, *, server: bool) -> None:
        self._stream = stream
        self._peer = peer
        self._limits = limits
        self._server = server
        self._frames = FrameReader(server=server, message=limits.message, controls=limits.controls)
        self._writing = trio.Lock()
        self._owed = b""  # pongs, and the answer to a close
        self._is_reading = False
        self._reader_left = trio.lowlevel.ParkingLot()
        self._is_open = self._is_closed = False
        self._is_silent = False  # whether nothing more will come
        self._end = ""  # why the link has ended, if it has
        self._heard = -math.inf

    @property
    def peer(self) -> PeerIdentity:
        """Who is at the far end."""
        return self._peer

    @property
    def heard(self) -> float:
        """When bytes came last; see `abc.Link`."""
        return self._heard

    @property
    def is_open(self) -> bool:
        """Whether the opening handshake succeeded, once."""
        return self._is_open

    async def open(self) -> None:
        """Do the opening handshake of the websocket. The caller sees to a deadline.

        Raises:
            LinkLost: The far side does not want a link, or not this kind. The stream is the caller's to close.
            trio.BrokenResourceError: The stream broke.
        """
        if self._server:
            await opening.answer(self._stream)
        else:
            # In TLS 1.3 a client whose certificate is refused learns it here, behind a handshake that succeeded.
            rest = await opening.ask(self._stream)
            await self._take(rest)  # its first messages may be right behind
        self._is_open = True

    async def send(self, message: bytes) -> None:
        """Send one message; see `abc.Link`."""
        frame = write_frame(MESSAGE, message, server=self._server)
        try:
            with trio.move_on_after(self._limits.send) as scope:
                await self._write(frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkLost(self._end or why(error)) from None
        except trio.Cancelled:
            await self._cut("a send was cancelled")  # a part of the message may be on its way
            raise
        if scope.cancelled_caught:
            await self._cut(f"the far side took nothing for {self._limits.send:g} s")
            raise LinkLost(self._end)

    async def receive(self) -> bytes:
        """Return the next message; see `abc.Link`."""
        messages = self._frames.messages
        if messages:
            await trio.lowlevel.checkpoint()
        while not messages:
            if self._end:
                raise LinkLost(self._end)
            await self._read()
        return messages.popleft()

    async def close(self, reason: str = "") -> None:
        """Close in good order; see `abc.Link`."""
        if self._is_closed or not self._is_open:
            await trio.lowlevel.checkpoint()
            return
        self._is_closed = True
        self._frames.messages.clear()
        if not self._end:
            self._end = "it was closed here" + (f": {reason}" if reason else "")
            # Shielded, for also while all is cancelled the far side is to get what it was sent, and to know its end.
            with trio.move_on_after(self._limits.close, shield=True):
                await self._say_farewell(reason)
        await self._cut(self._end)

    async def _say_farewell(self, reason: str) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with self._writing:
                await self._stream.send_all(write_close(reason, server=self._server))
        while not self._is_silent:
            if self._is_reading:
                await self._reader_left.park()
            else:
                await self._read()

    async def _cut(self, reason: str) -> None:
        self._end = self._end or reason
        self._is_silent = True
        self._frames.messages.clear()
        await trio.aclose_forcefully(self._stream)

    # --- writing

    async def _write(self, frame: bytes) -> None:
        try:
            self._writing.acquire_nowait()  # where the usual way costs a turn of all tasks
        except trio.WouldBlock:
            await self._writing.acquire()
        try:
            end = self._end
            if not end:
                await self._stream.send_all(frame)
            if self._owed:
                await self._pay()
            if end:
                raise LinkLost(end)
        finally:
            self._writing.release()

    async def _pay(self) -> None:
        while self._owed:
            owed, self._owed = self._owed, b""
            await self._stream.send_all(owed)

    async def _pay_now(self) -> None:
        """Write what is owed, unless somebody is writing, who will do it. It holds up who receives a second at most."""
        try:
            self._writing.acquire_nowait()
        except trio.WouldBlock:
            return
        try:
            # Shielded, for to cancel a receive loses nothing; so its limit is that of a close, and not that of a send.
            with trio.move_on_after(self._limits.close, shield=True) as scope:
                await self._pay()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the next read finds out
        finally:
            self._writing.release()
        if scope.cancelled_caught:
            await self._cut("the far side takes no answer to what it asks")

    # --- reading

    async def _read(self) -> None:
        """Read what has come, once."""
        self._is_reading = True
        try:
            data = await self._stream.receive_some(self._limits.receive)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._is_silent = True
            self._end = self._end or why(error)
            return
        finally:
            self._is_reading = False
            if self._reader_left:
                self._reader_left.unpark_all()
        if data:
            await self._take(data)
        else:
            self._is_silent = True
            self._end = self._end or "the connection broke"

    async def _take(self, data: bytes | bytearray) -> None:
        frames, self._heard = self._frames, trio.current_time()
        try:
            frames.take(data, self._heard)
        except RuleBroken as error:
            _security.warning("peer cut off", peer=self._peer.name, reason=str(error))
            self._is_silent = True
            self._end = self._end or str(error)
            await trio.aclose_forcefully(self._stream)
        if self._is_closed:
            frames.messages.clear()
        if frames.pings or frames.closed is not None:
            await self._answer()

    async def _answer(self) -> None:
        """Answer pings and a close, unless this side has said its last word."""
        frames = self._frames
        pings, frames.pings = frames.pings, []
        self._is_silent = self._is_silent or frames.closed is not None
        if self._end:
            return
        self._owed += b"".join(write_frame(PONG, ping, server=self._server) for ping in pings)
        if frames.closed is not None:
            self._end = f"the far side closed it: {frames.closed}" if frames.closed else "the far side closed it"
            self._owed += write_close("", server=self._server)
        if self._owed:
            await self._pay_now()


async def _listen_tcp(host: str, port: int) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
    return await trio.open_tcp_listeners(port, host=host)


def _port_of(listener: object, port: int) -> int:
    if isinstance(listener, trio.SocketListener):
        return int(listener.socket.getsockname()[1])
    return port


def _address_of(stream: trio.abc.Stream) -> str:
    if isinstance(stream, trio.SocketStream):
        with suppress(OSError):  # it may be gone already
            return str(stream.socket.getpeername()[0])
    return "unknown"
