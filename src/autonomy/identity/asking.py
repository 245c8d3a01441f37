"""Small requests and small answers over one stream, by HTTP/1.1: what enrollment is spoken in.

The rule of this file: everything has a bound, and nothing is known here of what is asked. The protocol is h11's.
Deadlines are the callers'.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import h11
import trio

_LARGEST_HEAD: Final = 8 * 1024
_PIECE: Final = 16 * 1024
_REQUESTS: Final = 4
"""On one connection; two are enough for whoever is honest."""


class Nonsense(Exception):
    """What came is no request, or no answer, within the bounds. The text says why."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request.

    Attributes:
        method: ``GET`` or ``POST``.
        path: Beginning with a slash.
        body: What came with it.
    """

    method: str
    path: str
    body: bytes


class Asker:
    """Asks over one stream, one request after the other.

    Args:
        stream: To whoever answers.
        host: What is written into the requests.
        longest: Bytes of an answer that are read.
    """

    def __init__(self, stream: trio.abc.Stream, host: str, longest: int) -> None:
        self._stream = stream
        self._host = host
        self._longest = longest
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LARGEST_HEAD)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request; return the status and the body of the answer.

        Raises:
            Nonsense: The answer is none, or too long.
            trio.BrokenResourceError: The stream broke.
        """
        headers = [("host", self._host), ("content-length", str(len(body)))]
        if body:
            headers.append(("content-type", "application/json"))
        events: list[h11.Event] = [h11.Request(method=method, target=path, headers=headers)]
        events += [h11.Data(data=body)] if body else []
        try:
            await _send(self._stream, self._http, [*events, h11.EndOfMessage()])
            answer = await _next(self._stream, self._http)
            if not isinstance(answer, h11.Response):
                raise Nonsense("it hung up before it answered")
            text = await _body(self._stream, self._http, self._longest)
            if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
                self._http.start_next_cycle()
        except h11.ProtocolError as error:
            raise Nonsense(f"what answers there does not speak HTTP: {error!s:.120}") from None
        return answer.status_code, text


async def answer_all(
    stream: trio.abc.Stream, answer: Callable[[Asked], Awaitable[tuple[int, bytes]]], *, longest: int
) -> None:
    """Answer the requests that come on a stream, a few, until the other end hangs up.

    Args:
        stream: From whoever asks.
        answer: Returns the status and the body of the answer to a request.
        longest: Bytes of a request's body that are read.

    Raises:
        Nonsense: What came is no request, or too long. It was told so, if it still listens.
        trio.BrokenResourceError: The stream broke.
    """
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
    for _ in range(_REQUESTS):
        try:
            asked = await _read(stream, http, longest)
        except (h11.RemoteProtocolError, Nonsense) as error:
            status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 413
            if http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await _reply(stream, http, status, b"", close=True)
            raise Nonsense(str(error)[:120]) from None
        if asked is None:
            return
        status, body = await answer(asked)
        await _reply(stream, http, status, body, close=False)
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
            return
        http.start_next_cycle()


async def _read(stream: trio.abc.Stream, http: h11.Connection, longest: int) -> Asked | None:
    event = await _next(stream, http)
    if not isinstance(event, h11.Request):
        return None
    body = await _body(stream, http, longest)
    return Asked(event.method.decode("ascii"), event.target.decode("ascii"), body)


async def _reply(stream: trio.abc.Stream, http: h11.Connection, status: int, body: bytes, *, close: bool) -> None:
    headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("cache-control", "no-store")]
    if close:
        headers.append(("connection", "close"))
    events: list[h11.Event] = [h11.Response(status_code=status, headers=headers)]
    events += [h11.Data(data=body)] if body else []
    await _send(stream, http, [*events, h11.EndOfMessage()])


async def _send(stream: trio.abc.Stream, http: h11.Connection, events: list[h11.Event]) -> None:
    await stream.send_all(b"".join(http.send(event) or b"" for event in events))


async def _next(stream: trio.abc.Stream, http: h11.Connection) -> h11.Event | type[h11.PAUSED]:
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            if http.they_are_waiting_for_100_continue:
                raise Nonsense("a request that waits to be told to go on gets no answer here")
            http.receive_data(bytes(await stream.receive_some(_PIECE)))
        elif not isinstance(event, h11.InformationalResponse):
            return event  # type: ignore[return-value]  # NEED_DATA was the other one


async def _body(stream: trio.abc.Stream, http: h11.Connection, longest: int) -> bytes:
    body = bytearray()
    while True:
        event = await _next(stream, http)
        if not isinstance(event, h11.Data):
            return bytes(body)
        body += event.data
        if len(body) > longest:
            raise Nonsense(f"it sent more than {longest} bytes")
