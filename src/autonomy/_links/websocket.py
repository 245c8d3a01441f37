"""Links as websockets over streams whose other end is known.

How to get a stream of bytes comes in from outside: TCP here, streams in memory in tests. So does what makes it secure,
`Security`: mutual TLS, which is not the websocket library's to do, because who is at the other end must be known before
anything is parsed that he says. Every wait for the far side that is not a wait for its next message has a deadline.

trio-websocket is kept behind this file. What it lacks is beside: `reading` holds its task, `frame_rules` says what it
may be fed, `door` counts who comes in.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, cast

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection

from .. import logs
from .._sansio.spiffe import PeerIdentity
from ..abc import Link, LinkLost, LinkRefused
from ..errors import IdentityError
from .addresses import parse_address, write_address
from .door import Door
from .frame_rules import FrameRules
from .limits import LinkLimits
from .reading import CheckedStream, Reading
from .reasons import is_refused, why, why_closed
from .security import Security

_log = logs.get_logger("links")
_security = logs.get_logger("security")
SUBPROTOCOL: Final = "autonomy.link.v1"
"""Strangers that speak something else fail in the opening handshake."""
_PATH: Final = "/"
_HOST: Final = "autonomy"
"""For the header that HTTP wants. Not the true host: the library would encode it as IDNA, which long names fail."""
_QUEUE: Final = 16
"""Messages. While they wait, the library reads nothing, neither pings nor a close: who holds a link must not let it."""

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
        async with _bare_nursery() as nursery:
            link = await self._dial(host, port, node, nursery)
            try:
                yield link
            finally:
                await link.close()

    async def _dial(self, host: str, port: int, node: str | None, nursery: trio.Nursery) -> WebSocketLink:
        where = write_address(host, port)
        stream: trio.abc.Stream | None = None
        link: WebSocketLink | None = None
        try:
            with trio.fail_after(self._limits.handshake):
                stream = await self._connect(host, port)
                secure, peer = await self._security.dial(stream, node)
                link = WebSocketLink(secure, peer, self._limits, nursery)
                await link.open(server=False)
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
        async with _bare_nursery() as nursery:
            with self._door.stranger(address):
                link = await self._welcome(stream, address, nursery)
            if link is None:
                return
            with self._door.link():
                try:
                    await handle(link)
                except LinkLost as error:
                    _log.debug("link ended", peer=link.peer.name, reason=error)
                finally:
                    await link.close()

    async def _welcome(self, stream: trio.abc.Stream, address: str, nursery: trio.Nursery) -> WebSocketLink | None:
        """Return the link that somebody wants, or None if he may not have it. He learns nothing but that."""
        link: WebSocketLink | None = None
        try:
            with trio.fail_after(self._limits.handshake):
                secure, peer = await self._security.accept(stream)
                link = WebSocketLink(secure, peer, self._limits, nursery)
                await link.open(server=True)
                return link
        except Exception as error:  # noqa: BLE001  # whatever a stranger's bytes can do in three libraries
            reason = f"{why(error)} (node {link.peer.name})" if link is not None else why(error)
            self._door.refused(address, reason, trio.current_time())
            return None


class WebSocketLink:
    """One websocket over one stream; see `abc.Link`.

    Its nursery must be left only after `close`.
    """

    def __init__(self, stream: trio.abc.Stream, peer: PeerIdentity, limits: LinkLimits, nursery: trio.Nursery) -> None:
        self._stream = stream
        self._peer = peer
        self._limits = limits
        self._reading = Reading(nursery, stream)
        self._socket: WebSocketConnection | None = None
        self._lost = ""

    @property
    def peer(self) -> PeerIdentity:
        """Who is at the far end."""
        return self._peer

    @property
    def is_open(self) -> bool:
        """Whether the opening handshake succeeded, once."""
        return self._socket is not None

    async def open(self, *, server: bool) -> None:
        """Do the opening handshake of the websocket. The caller sees to a deadline.

        Raises:
            LinkLost: The far side does not want a link, or not this kind. The stream is the caller's to close.
        """
        rules = FrameRules(server=server, message=self._limits.message, controls=self._limits.controls)
        checked = CheckedStream(self._stream, rules)
        socket: WebSocketConnection | None = None
        try:
            with self._reading.while_it_lasts():
                socket = await (self._answer(checked) if server else self._ask(checked))
        except ConnectionClosed as error:
            raise LinkLost(why(error)) from error
        finally:
            if socket is None:
                self._reading.stop()
        if socket is None:
            error = self._reading.error
            # In TLS 1.3 a client whose certificate is refused learns it here, behind a handshake that succeeded.
            raise LinkLost("it hung up in the handshake" if error is None else why(error)) from error
        self._socket = socket
        self._reading.peer = self._peer.name

    async def _ask(self, stream: trio.abc.Stream) -> WebSocketConnection:
        socket = await trio_websocket.wrap_client_stream(
            cast(trio.Nursery, self._reading),
            stream,  # type: ignore[arg-type]  # it says SocketStream, and any stream will do
            _HOST,
            _PATH,
            subprotocols=[SUBPROTOCOL],
            message_queue_size=_QUEUE,
            max_message_size=self._limits.message,
            receive_buffer_size=self._limits.receive,
        )
        if socket.subprotocol != SUBPROTOCOL:
            raise LinkLost(f"it does not speak {SUBPROTOCOL}")
        return socket

    async def _answer(self, stream: trio.abc.Stream) -> WebSocketConnection:
        request = await trio_websocket.wrap_server_stream(
            cast(trio.Nursery, self._reading),
            stream,
            message_queue_size=_QUEUE,
            max_message_size=self._limits.message,
            receive_buffer_size=self._limits.receive,
        )
        if SUBPROTOCOL not in request.proposed_subprotocols:
            await request.reject(400)
            raise LinkLost(f"it does not speak {SUBPROTOCOL}")
        return await request.accept(subprotocol=SUBPROTOCOL)

    async def send(self, message: bytes) -> None:
        """Send one message; see `abc.Link`."""
        assert self._socket is not None
        try:
            with trio.fail_after(self._limits.send):
                await self._socket.send_message(message)
        except ConnectionClosed:
            raise await self._loss() from None
        except trio.TooSlowError:
            await self._cut(f"the far side took nothing for {self._limits.send:g} s")
            raise LinkLost(self._lost) from None
        except trio.Cancelled:
            await self._cut("a send was cancelled")  # a part of the message may be on its way
            raise

    async def receive(self) -> bytes:
        """Return the next message; see `abc.Link`."""
        assert self._socket is not None
        try:
            message = await self._socket.get_message()
        except ConnectionClosed:
            raise await self._loss() from None
        assert isinstance(message, bytes)  # FrameRules lets no text through
        return message

    async def close(self, reason: str = "") -> None:
        """Close in good order; see `abc.Link`."""
        if self._lost or self._socket is None:
            await trio.lowlevel.checkpoint()
            return
        self._lost = "it was closed here" + (f": {reason}" if reason else "")
        # The library waits for the far side's close without end, and so it does for one whose reader has died.
        deadline = trio.move_on_after(self._limits.close, shield=True)
        with deadline, self._reading.while_it_lasts(), suppress(ConnectionClosed):
            await self._socket.aclose(reason=reason or None)
        await self._cut(self._lost)

    async def _cut(self, reason: str) -> None:
        self._lost = reason
        self._reading.stop()
        await trio.aclose_forcefully(self._stream)

    async def _loss(self) -> LinkLost:
        assert self._socket is not None
        if not self._lost and self._socket.closed is None:
            # The reading task is failing: its channel ends a moment before its error is known.
            with self._reading.while_it_lasts():
                await trio.sleep_forever()
        if self._lost:
            return LinkLost(self._lost)
        if self._reading.error is not None:
            return LinkLost(why(self._reading.error))
        return LinkLost(why_closed(self._socket.closed))


@asynccontextmanager
async def _bare_nursery() -> AsyncGenerator[trio.Nursery]:
    """A nursery for the websocket's own task, whose body's exception comes out bare."""
    outcome: BaseException | None = None
    async with trio.open_nursery() as nursery:
        try:
            yield nursery
        except BaseException as error:  # noqa: BLE001  # raised below
            outcome = error
    if outcome is not None:
        raise outcome


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
