"""HTTP with one client: a request is read within bounds, and answered at once or piece by piece.

h11 knows the protocol; here are the limits, and the headers that every answer has. Nothing here knows any page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl, unquote

import h11
import trio

_LARGEST_HEAD: Final = 16 * 1024
_REQUEST_WITHIN: Final = 30.0
_SEND_WITHIN: Final = 30.0
_DRAIN_WITHIN: Final = 1.0
_PIECE: Final = 16 * 1024
_DRAINED: Final = 64
"""Pieces that a refused client may still send without its answer being lost to a reset."""
_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
TEXT: Final = "text/plain; charset=utf-8"
Send = Callable[[bytes], Awaitable[None]]
"""Sends one piece of an answer, and waits until the client has room for more."""


class Refused(Exception):
    """The request gets this status and this text, and nothing else."""

    def __init__(self, status: int, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for.

    Attributes:
        path: The parts of the path, decoded after they were parted: a name cannot climb.
        headers: By name in lower case; of several with one name, the last.
    """

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]


class Conversation:
    """One client, from its first byte to its last."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
        self._method = ""

    async def next_request(self) -> Request | None:
        """Wait for a request.

        Returns:
            The request; None if the client is gone, or has not asked for anything in time.

        Raises:
            Refused: It is no request that is answered here.
        """
        if self._http.our_state is h11.MUST_CLOSE or self._http.our_state is h11.CLOSED:
            return None
        if self._http.our_state is h11.DONE:
            self._http.start_next_cycle()
        with trio.move_on_after(_REQUEST_WITHIN):
            try:
                return await self._read_request()
            except h11.RemoteProtocolError as error:
                raise Refused(error.error_status_hint, f"this is no request: {error}") from None
        return None

    async def _read_request(self) -> Request | None:
        event = await self._next_event()
        if not isinstance(event, h11.Request):
            return None
        self._method = event.method.decode("ascii")
        if not isinstance(self._http.next_event(), h11.EndOfMessage):
            raise Refused(413, "a request has no body here")
        if not event.target.startswith(b"/"):
            raise Refused(400, "the target of a request begins with a slash here")
        path, _, query = event.target.decode("ascii").partition("?")
        return Request(
            self._method,
            tuple(unquote(part) for part in path.split("/")[1:]),
            dict(parse_qsl(query, keep_blank_values=True)),
            {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers},
        )

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(bytes(await self._stream.receive_some(_PIECE)))
        return event

    async def answer(self, status: int, content_type: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer at once."""
        with trio.fail_after(_SEND_WITHIN):
            await self._start(status, {"content-type": content_type, "content-length": str(len(body)), **headers})
            if self._method != "HEAD":
                await self._send(h11.Data(data=body))
            await self._send(h11.EndOfMessage())

    async def refuse(self, refused: Refused) -> None:
        """Tell the client why, and part from it in good order."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = {name.replace("_", "-"): value for name, value in refused.headers.items()} | {"connection": "close"}
        await self.answer(refused.status, TEXT, f"{refused.text}\n".encode(errors="backslashreplace"), headers)
        await self._stream.send_eof()
        with trio.move_on_after(_DRAIN_WITHIN):
            for _ in range(_DRAINED):
                if not await self._stream.receive_some(_PIECE):
                    break

    async def stream(self, content_type: str, produce: Callable[[Send], Awaitable[None]]) -> None:
        """Answer piece by piece, as `produce` sends them; it is cancelled when the client goes.

        There is no limit to the time that a client takes for a piece: it may be a pager. It is the last answer.
        """
        await self._start(200, {"content-type": content_type, "connection": "close"})
        if self._method != "HEAD":
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, nursery.cancel_scope)
                with suppress(trio.BrokenResourceError):
                    await produce(self._send_piece)
                nursery.cancel_scope.cancel()
        await self._send(h11.EndOfMessage())

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Cancel `scope` when the client is gone; what it still says is of no interest."""
        with suppress(trio.BrokenResourceError):
            while await self._stream.receive_some(_PIECE):
                pass
        scope.cancel()

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        head = list((_HEADERS | dict(headers)).items())
        await self._send(h11.Response(status_code=status, reason=HTTPStatus(status).phrase, headers=head))

    async def _send_piece(self, data: bytes) -> None:
        await self._send(h11.Data(data=data))

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            await self._stream.send_all(data)
