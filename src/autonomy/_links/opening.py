"""The opening handshake of websockets: HTTP up to an upgrade, after which come frames.

wsproto reads the HTTP, and is given nothing but the one head, of bounded length. What comes behind it is ours to read.
"""

from __future__ import annotations

import re
from typing import Final

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Event, RejectConnection, Request

from ..abc import LinkLost
from .reasons import why
from .websocket_frames import RuleBroken

SUBPROTOCOL: Final = "autonomy.link.v1"
"""Strangers that speak something else fail in the opening handshake."""
_PATH: Final = "/"
_HOST: Final = "autonomy"
"""For the header that HTTP wants. Not the true host: the library would encode it as IDNA, which long names fail."""
_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
"""As lenient as h11, which reads the head in earnest: one place for its end and another would let frames slip by."""
_LONGEST_HEAD: Final = 2**14
_HUNG_UP: Final = "it hung up in the handshake"


async def ask(stream: trio.abc.Stream) -> bytes:
    """Ask for a link, as the side that dialled. Return what came behind the answer: frames.

    Raises:
        LinkLost: The far side wants no link, or not this kind.
        trio.BrokenResourceError: The stream broke.
    """
    library = WSConnection(ConnectionType.CLIENT)
    request = library.send(Request(host=_HOST, target=_PATH, subprotocols=[SUBPROTOCOL]))
    try:
        await stream.send_all(request)
    except trio.BrokenResourceError as error:
        raise LinkLost(_HUNG_UP) from error
    answer, rest = await _head(stream, library)
    if isinstance(answer, RejectConnection):
        raise LinkLost(f"it refused the websocket with HTTP status {answer.status_code}")
    if not isinstance(answer, AcceptConnection) or answer.subprotocol != SUBPROTOCOL:
        raise LinkLost(f"it does not speak {SUBPROTOCOL}")
    return rest


async def answer(stream: trio.abc.Stream) -> None:
    """Let the far side have the link that it asks for, as the side that listens.

    Raises:
        LinkLost: It asks for no link, or not for this kind.
        trio.BrokenResourceError: The stream broke.
    """
    library = WSConnection(ConnectionType.SERVER)
    request, rest = await _head(stream, library)
    if rest:
        raise RuleBroken("it sent something before it was answered")  # honest clients do not know yet whether they may
    if not isinstance(request, Request) or SUBPROTOCOL not in request.subprotocols:
        await stream.send_all(library.send(RejectConnection(status_code=400)))
        raise LinkLost(f"it does not speak {SUBPROTOCOL}")
    await stream.send_all(library.send(AcceptConnection(subprotocol=SUBPROTOCOL)))


async def _head(stream: trio.abc.Stream, library: WSConnection) -> tuple[Event, bytes]:
    """Read until the head ends; return what the library says of it, and what came behind."""
    head = b""
    while True:
        data = await stream.receive_some()
        if not data:
            raise LinkLost(_HUNG_UP)
        seen, head = len(head), head + data
        end = _END_OF_HEAD.search(head, max(0, seen - 2))
        if end is None and len(head) > _LONGEST_HEAD:
            raise RuleBroken("its HTTP head is too long")
        for event in _events(library, head[seen:] if end is None else head[seen : end.end()]):
            return event, b"" if end is None else head[end.end() :]
        if end is not None:
            raise LinkLost("it sent HTTP that means nothing here")


def _events(library: WSConnection, data: bytes) -> list[Event]:
    try:
        library.receive_data(data)
        return list(library.events())
    except Exception as error:  # whatever a far side's bytes can do in two libraries
        raise LinkLost(why(error)) from error
