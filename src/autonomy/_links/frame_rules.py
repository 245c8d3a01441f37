"""Which websocket frames a far side may send: those that nodes send, and no others.

The websocket library bounds the size of a message and nothing else: it answers as many pings as come, and it gathers
fragments of no bytes for ever. So the headers of the frames are looked at before the library sees them. Nodes send
each message as one binary frame; who sends anything else is no node of ours, and is cut off.

Pure: no I/O and no clock. RFC 6455 section 5.2 draws the header that is read here.
"""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import Final

from ..abc import LinkLost

_END_OF_HEAD: Final = re.compile(rb"\n\r?\n")
"""As lenient as h11, which reads the head in earnest: one place for its end and another would let frames slip by."""
_LONGEST_HEAD: Final = 2**15
_MESSAGE, _CLOSE, _PING, _PONG = 0x82, 0x88, 0x89, 0x8A
"""First bytes of whole frames, without extensions, that hold bytes, a close, a ping and a pong."""
_KNOWN: Final = (0x0, 0x1, 0x2, 0x8, 0x9, 0xA)
"""The kinds of frames that RFC 6455 knows, in the lower half of the first byte."""


class RuleBroken(LinkLost):
    """The far side sent what no node sends."""


class _Stage(Enum):
    HEAD = "the head of the HTTP request or answer"
    ANSWER = "our answer is awaited"
    FRAMES = "frames"
    OTHER = "an HTTP answer that opens no websocket"


class FrameRules:
    """Looks at all that comes from one far side, in order.

    Args:
        server: Whether this side accepted the connection.
        message: The most bytes of a message.
        controls: The most pings and pongs in a second.
    """

    def __init__(self, *, server: bool, message: int, controls: int) -> None:
        self._server = server
        self._message = message
        self._controls = controls
        self._stage = _Stage.HEAD
        self._begun = b""  # a head, or the header of a frame, of which more is to come
        self._skip = 0  # what is still to come of a frame whose header was looked at
        self._second = -math.inf
        self._counted = 0
        self._closed = False

    def answered(self) -> None:
        """Note that this side, as a server, sent its answer: frames may come."""
        if self._server:
            self._stage = _Stage.FRAMES

    def check(self, data: bytes | bytearray, now: float) -> None:
        """Look at what came.

        Raises:
            RuleBroken: The rest must not be looked at, by anybody.
        """
        if self._stage is _Stage.HEAD:
            data = self._head(self._begun + data)
        if data and self._stage is _Stage.ANSWER:
            # The library throws away what a client sends behind its request, so that it and we would be at
            # different places of the stream from here on. Honest clients wait for the answer.
            raise RuleBroken("it sent something before it was answered")
        if self._stage is _Stage.FRAMES:
            self._frames(data, now)

    def _head(self, head: bytes) -> bytes:
        """Return what follows the head, if it has ended."""
        end = _END_OF_HEAD.search(head)
        if end is None:
            if len(head) > _LONGEST_HEAD:
                raise RuleBroken("its HTTP head is too long")
            self._begun = head
            return b""
        self._begun = b""
        if self._server:
            self._stage = _Stage.ANSWER
        else:
            self._stage = _Stage.FRAMES if head.startswith(b"HTTP/1.1 101") else _Stage.OTHER
        return head[end.end() :]

    def _frames(self, data: bytes | bytearray, now: float) -> None:
        if self._begun:
            data = self._begun + data
            self._begun = b""
        at, size = self._skip, len(data)
        while at + 2 <= size:
            first, second = data[at], data[at + 1]
            self._kind(first, second)  # before the length is complete, for the library, too, judges as it reads
            length = second & 0x7F
            header = 6 if second & 0x80 else 2
            if length > 125:
                extended = 2 if length == 126 else 8
                if at + 2 + extended > size:
                    break
                length = int.from_bytes(data[at + 2 : at + 2 + extended])
                if length <= (125 if extended == 2 else 0xFFFF):
                    raise RuleBroken("it sent a frame whose length is written the long way")
                header += extended
            if length > self._message:
                raise RuleBroken(f"it sent a message of {length} bytes, at most {self._message} are taken")
            if first != _MESSAGE:
                self._control(first, now)
            at += header + length
        self._begun = bytes(data[at:])
        self._skip = max(0, at - size)

    def _kind(self, first: int, second: int) -> None:
        if self._closed:
            raise RuleBroken("it sent something after its close")
        if bool(second & 0x80) is not self._server:
            raise RuleBroken("it masked its frames as only the other side may")
        if first not in (_MESSAGE, _CLOSE, _PING, _PONG):
            kind = first & 0x0F
            if kind not in _KNOWN:
                raise RuleBroken(f"it sent a frame of kind {kind}")
            raise RuleBroken("it sent text" if kind == 1 else "it sent a fragment, or used an extension")
        if first != _MESSAGE and second & 0x7F > 125:
            raise RuleBroken("it sent a control frame of more than 125 bytes")

    def _control(self, first: int, now: float) -> None:
        if first == _CLOSE:
            self._closed = True
            return
        if now - self._second >= 1.0:
            self._second, self._counted = now, 0
        self._counted += 1
        if self._counted > self._controls:
            raise RuleBroken(f"it sent more than {self._controls} pings in a second")
