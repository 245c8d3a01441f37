"""Frames to bytes and back.

One message of the transport holds any number of frames, each behind its length: 4 bytes, big-endian. The writer of a
link fills a message with whatever is queued, because a message costs the transport a hundred times what a frame costs
here. Whatever the bytes are, `decode` returns frames or raises `ProtocolError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from ..errors import ProtocolError
from .frames import OPTIONAL, Frame

MAX_FRAMES: Final = 65_536
"""In one message of the transport."""
LENGTH_BYTES: Final = 4

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)
_kind_decoder: msgspec.msgpack.Decoder[list[msgspec.Raw]] = msgspec.msgpack.Decoder(list[msgspec.Raw])
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that do not fit."""


def encode(frame: Frame) -> bytes:
    """Return one frame with its length before it. Frames of one message are simply joined."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(LENGTH_BYTES) + body


def encode_all(frames: Iterable[Frame]) -> bytes:
    """Return several frames as one message."""
    return b"".join(map(encode, frames))


def decode(message: bytes) -> Iterator[Frame]:
    """Return the frames of one message, one after the other.

    Raises:
        ProtocolError: The bytes are no frames. Those before them have been returned.
    """
    view, start, count = memoryview(message), 0, 0
    while start < len(view):
        begin = start + LENGTH_BYTES
        start = begin + int.from_bytes(view[start:begin])
        count += 1
        if begin > len(view) or start > len(view):
            raise ProtocolError(f"a frame ends {max(begin, start) - len(view)} bytes behind its message")
        if count > MAX_FRAMES:
            raise ProtocolError(f"a message has more than {MAX_FRAMES} frames")
        frame = _decode_one(view[begin:start])
        if frame is not None:
            yield frame


def _decode_one(body: memoryview) -> Frame | None:
    """Return a frame, or None for an optional one of a kind that is not known here."""
    try:
        return _decoder.decode(body)
    except UNREADABLE as error:
        if _kind(body) >= OPTIONAL:
            return None
        raise ProtocolError(f"a frame of {len(body)} bytes cannot be read: {error}") from None


def _kind(body: memoryview) -> int:
    try:
        return msgspec.msgpack.decode(_kind_decoder.decode(body)[0], type=int)
    except (*UNREADABLE, IndexError):
        return 0
