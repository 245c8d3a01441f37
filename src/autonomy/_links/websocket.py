"""Links as websockets over mutual TLS.

How to get a stream of bytes comes in from outside: TCP here, streams in memory in tests, so that both run the same TLS
and the same websocket. TLS is wrapped around it here and not by the websocket library, because who is at the other end
must be known before anything is parsed that he says. Every wait for the far side that is not a wait for its next
message has a deadline.

trio-websocket is kept behind this file. What it lacks is beside: `reading` holds its task, `frame_rules` says what it
may be fed, `door` counts who comes in.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, cast

import trio
import trio_websocket
from trio_websocket import ConnectionClosed, WebSocketConnection

from .. import logs
from ..abc import Link, LinkLost
from .addresses import parse_address, write_address
from .door import Door
from .frame_rules import FrameRules
from .limits import LinkLimits
from .reading import CheckedStream, Reading
from .reasons import why, why_closed

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


@dataclass(frozen=True, slots=True)
class Tls:
    """How TLS is made, afresh for each connection, so that new certificates are used at once.

    Attributes:
        client: Makes a context for dialling.
        server: Makes one for accepting.
        verify: Returns the full name of the node that a certificate (DER) is for, or raises IdentityError.
    """

    client: Callable[[], ssl.SSLContext]
    server: Callable[[], ssl.SSLContext]
    verify: Callable[[bytes], str]


class WebSocketTransport:
    """Links as websockets over mutual TLS; the `abc.Transport` of real zones.

    Args:
        tls: Who this node is, and whom it trusts.
        limits: What others may cost.
        connect: Opens a stream to a host and port; raises OSError.
        listen: Opens listeners at a host and port; raises OSError.
    """

    def __init__(
        self,
        tls: Tls,
        limits: LinkLimits | None = None,
        connect: Streams = trio.open_tcp_stream,
        listen: Listeners | None = None,
    ) -> None:
        self._tls = tls
        self._limits = limits or LinkLimits()
        self._connect = connect
        self._listen = listen or _listen_tcp
        self._door = Door(self._limits)

    @asynccontextmanager
    async def dial(self, address: str, node: str) -> AsyncGenerator[Link]:
        """Open a link to the node `node` at ``wss://host:port``; see `abc.Transport`."""
        host, port = parse_address(address)
        async with _bare_nursery() as nursery:
            link = await self._dial(host, port, node, nursery)
            try:
                yield link
            finally:
                await link.close()

    async def _dial(self, host: str, port: int, node: str, nursery: trio.Nursery) -> WebSocketLink:
        where = write_address(host, port)
        stream: trio.abc.Stream | None = None
        link: WebSocketLink | None = None
        try:
            with trio.fail_after(self._limits.handshake):
                stream = await self._connect(host, port)
                secure = await _encrypt(stream, self._tls.client(), server_side=False)
                peer, certificate = self._identify(secure)
                if peer != node:
                    reason = "not the node that was dialled"
                    _security.warning("node refused", reason=reason, address=where, found=peer, wanted=node)
                    raise LinkLost(f"it is node {peer!r}, not {node!r}")
                link = WebSocketLink(secure, peer, certificate, self._limits, nursery)
                await link.open(server=False)
                return link
        except trio.TooSlowError:
            raise LinkLost(f"{where} did not answer within {self._limits.handshake:g} s") from None
        # UnicodeError: how a host name that cannot be one fails in the resolver.
        except (LinkLost, OSError, UnicodeError, trio.BrokenResourceError) as error:
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
                    _log.debug("link ended", peer=link.peer, reason=error)
                finally:
                    await link.close()

    async def _welcome(self, stream: trio.abc.Stream, address: str, nursery: trio.Nursery) -> WebSocketLink | None:
        """Return the link that somebody wants, or None if he may not have it. He learns nothing but that."""
        link: WebSocketLink | None = None
        try:
            with trio.fail_after(self._limits.handshake):
                secure = await _encrypt(stream, self._tls.server(), server_side=True)
                peer, certificate = self._identify(secure)
                link = WebSocketLink(secure, peer, certificate, self._limits, nursery)
                await link.open(server=True)
                return link
        except Exception as error:  # noqa: BLE001  # whatever a stranger's bytes can do in three libraries
            reason = f"{why(error)} (node {link.peer})" if link is not None else why(error)
            self._door.refused(address, reason, trio.current_time())
            return None

    def _identify(self, secure: trio.SSLStream[trio.abc.Stream]) -> tuple[str, bytes]:
        certificate = secure.getpeercert(True)
        if not certificate:
            raise LinkLost("it showed no certificate")
        try:
            return self._tls.verify(certificate), certificate
        except Exception as error:  # a certificate is a stranger's bytes, too: whatever they do, it is a refusal
            raise LinkLost(f"its certificate was refused: {why(error)}") from error


class WebSocketLink:
    """One websocket over one stream; see `abc.Link`.

    Its nursery must be left only after `close`.
    """

    def __init__(
        self, stream: trio.abc.Stream, peer: str, certificate: bytes, limits: LinkLimits, nursery: trio.Nursery
    ) -> None:
        self._stream = stream
        self._peer = peer
        self._certificate = certificate
        self._limits = limits
        self._reading = Reading(nursery, stream)
        self._socket: WebSocketConnection | None = None
        self._lost = ""

    @property
    def peer(self) -> str:
        """Full name of the far node."""
        return self._peer

    @property
    def certificate(self) -> bytes:
        """The far node's certificate, in DER."""
        return self._certificate

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
        self._reading.peer = self._peer

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


async def _encrypt(
    stream: trio.abc.Stream, context: ssl.SSLContext, *, server_side: bool
) -> trio.SSLStream[trio.abc.Stream]:
    # https_compatible: TLS's own goodbye is left out, for the websocket has one, and a far side that is gone would
    # be waited for twice.
    secure = trio.SSLStream(stream, context, server_side=server_side, https_compatible=True)
    await secure.do_handshake()
    return secure


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
