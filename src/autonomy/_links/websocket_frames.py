"""Websocket frames: those that nodes send, and no others.

Nodes send each message as one binary frame, and control frames beside. Who sends anything else is no node of ours, and
is cut off, judged by the first bytes of a frame and before what follows them is kept: a far side costs at most one
message of memory, and as many pings as it may send.

Pure: no I/O and no clock. RFC 6455 section 5 draws what is read and written here.
"""

from __future__ import annotations

import math
import secrets
from collections import deque
from typing import Final

from ..abc import LinkLost

MESSAGE, CLOSE, PING, PONG = 0x82, 0x88, 0x89, 0x8A
"""First bytes of whole frames, without extensions, that hold bytes, a close, a ping and a pong."""
_KNOWN: Final = (0x0, 0x1, 0x2, 0x8, 0x9, 0xA)
"""The kinds of frames that RFC 6455 knows, in the lower half of the first byte."""
_CONTROL: Final = 125
"""The most bytes of a control frame, and of a frame whose length is in its second byte."""
_IN_ORDER: Final = (1000).to_bytes(2)
"""The code of a close that is no error."""
_LONG: Final = 4096
"""Bytes from which on tables are faster than a large number; both do the same."""


class RuleBroken(LinkLost):
    """The far side sent what no node sends."""


class FrameReader:
    """Takes what comes from one far side, in order, and returns what it holds.

    Args:
        server: Whether this side accepted the connection.
        message: The most bytes of a message.
        controls: The most pings and pongs in a second.

    Attributes:
        messages: Whole messages that nobody has taken yet.
        pings: What the far side wants to see again in pongs.
        closed: What the far side said of why it closes, perhaps nothing; None if it has not closed.
    """

    __slots__ = (
        "_begun",
        "_controls",
        "_counted",
        "_first",
        "_key",
        "_message",
        "_missing",
        "_payload",
        "_second",
        "_server",
        "closed",
        "messages",
        "pings",
    )

    def __init__(self, *, server: bool, message: int, controls: int) -> None:
        self._server = server
        self._message = message
        self._controls = controls
        self._begun = b""  # the header of a frame, of which more is to come
        self._first = 0
        self._key = b""
        self._payload = bytearray()  # of a frame of which more is to come
        self._missing = 0
        self._second = -math.inf
        self._counted = 0
        self.messages: deque[bytes] = deque()
        self.pings: list[bytes] = []
        self.closed: str | None = None

    def take(self, data: bytes | bytearray, now: float) -> None:
        """Take what came.

        Raises:
            RuleBroken: What follows must not be looked at. What came before it was taken.
        """
        data = bytes(data)
        at = self._go_on(data, now) if self._missing else 0
        if self._begun:
            data, at = self._begun + data, 0  # a header is begun, so no frame is
            self._begun = b""
        while at < len(data):
            header = self._header(data, at)
            if header is None:
                self._begun = data[at:]
                return
            start, end = header
            if end > len(data):
                self._payload += data[start:]
                self._missing = end - len(data)
                return
            self._end(data[start:end], now)
            at = end

    def _go_on(self, data: bytes, now: float) -> int:
        """Add to the frame that is begun; return how much of the data belonged to it."""
        size = min(self._missing, len(data))
        self._payload += data[:size]
        self._missing -= size
        if not self._missing:
            payload, self._payload = self._payload, bytearray()
            self._end(payload, now)
        return size

    def _header(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Return where the payload of a frame begins and ends, or None if the header is not complete."""
        if len(data) < at + 2:
            return None
        first, second = data[at], data[at + 1]
        self._judge(first, second)
        length = second & 0x7F
        at += 2
        if length > _CONTROL:
            wide = 2 if length == 126 else 8
            if len(data) < at + wide:
                return None
            length = int.from_bytes(data[at : at + wide])
            at += wide
            if length <= (_CONTROL if wide == 2 else 0xFFFF):
                raise RuleBroken("it sent a frame whose length is written the long way")
        if length > self._message:
            raise RuleBroken(f"it sent a message of {length} bytes, at most {self._message} are taken")
        if self._server:
            if len(data) < at + 4:
                return None
            self._key = data[at : at + 4]
            at += 4
        self._first = first
        return at, at + length

    def _judge(self, first: int, second: int) -> None:
        if self.closed is not None:
            raise RuleBroken("it sent something after its close")
        if bool(second & 0x80) is not self._server:
            raise RuleBroken("it masked its frames as only the other side may")
        if first not in (MESSAGE, CLOSE, PING, PONG):
            kind = first & 0x0F
            if kind not in _KNOWN:
                raise RuleBroken(f"it sent a frame of kind {kind}")
            raise RuleBroken("it sent text" if kind == 1 else "it sent a fragment, or used an extension")
        if first != MESSAGE and second & 0x7F > _CONTROL:
            raise RuleBroken(f"it sent a control frame of more than {_CONTROL} bytes")

    def _end(self, raw: bytes | bytearray, now: float) -> None:
        payload = masked(raw, self._key) if self._server else bytes(raw)
        if self._first == MESSAGE:
            self.messages.append(payload)
        elif self._first == CLOSE:
            # Its code, if any, is for programs that have several; nobody here asks what it is, or whether it is one.
            self.closed = payload[2:].decode(errors="replace")
        else:
            self._count(now)
            if self._first == PING:
                self.pings.append(payload)

    def _count(self, now: float) -> None:
        if now - self._second >= 1.0:
            self._second, self._counted = now, 0
        self._counted += 1
        if self._counted > self._controls:
            raise RuleBroken(f"it sent more than {self._controls} pings in a second")


def write_frame(first: int, payload: bytes, *, server: bool) -> bytes:
    """Return a frame; `first` is one of the four above, `server` whether this side accepted the connection."""
    size = len(payload)
    mask = 0 if server else 0x80
    if size <= _CONTROL:
        header = bytes((first, mask | size))
    elif size <= 0xFFFF:
        header = bytes((first, mask | 126)) + size.to_bytes(2)
    else:
        header = bytes((first, mask | 127)) + size.to_bytes(8)
    if server:
        return header + payload
    key = secrets.token_bytes(4)
    return b"".join((header, key, masked(payload, key)))


def write_close(reason: str, *, server: bool) -> bytes:
    """Return a close, with as much of the reason as it has room for."""
    said = reason.encode()[: _CONTROL - len(_IN_ORDER)].decode(errors="ignore")
    return write_frame(CLOSE, _IN_ORDER + said.encode(), server=server)


def masked(data: bytes | bytearray, key: bytes) -> bytes:
    """Return the data with a mask of 4 bytes put on, or taken off."""
    size = len(data)
    if size < _LONG:
        mask = int.from_bytes((key * (size // 4 + 1))[:size])
        return (int.from_bytes(data) ^ mask).to_bytes(size)
    result = bytearray(size)
    for place in range(4):
        result[place::4] = data[place::4].translate(_TABLES[key[place]])
    return bytes(result)


_TABLES: Final = [bytes(byte ^ key for byte in range(256)) for key in range(256)]
"""For each byte of a key, what it makes of a byte."""
