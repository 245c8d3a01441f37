"""Frames to bytes and back; and whatever the bytes are, frames or `ProtocolError` (K5)."""

from __future__ import annotations

import os
from random import Random
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._sansio import codec
from autonomy._sansio.codec import MAX_FRAMES, decode, encode, encode_all
from autonomy._sansio.frames import (
    OPTIONAL,
    Ack,
    Close,
    CloseCode,
    Closed,
    Data,
    Frame,
    Hello,
    Ping,
    Pong,
    Ready,
    Reject,
    RejectCode,
    SessionId,
    Welcome,
)
from autonomy.errors import ProtocolError

SOAK = bool(os.environ.get("AUTONOMY_SOAK"))

numbers = st.integers(0, 2**63 - 1)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
times = st.integers(1, 3_600_000)
sessions = st.builds(SessionId, numbers, names, names)
FRAMES: dict[type, st.SearchStrategy[Frame]] = {
    Hello: st.builds(
        Hello,
        st.text("ATNL", max_size=4),
        numbers,
        numbers,
        names,
        names,
        sessions,
        st.booleans(),
        numbers,
        numbers,
        times,
        numbers,
        st.none() | sessions,
    ),
    Welcome: st.builds(Welcome, numbers, names, names, sessions, numbers, numbers, times, numbers),
    Ready: st.just(Ready()),
    Reject: st.builds(Reject, st.sampled_from(RejectCode), numbers, st.booleans(), st.integers(0, 3_600_000), texts),
    Data: st.builds(Data, numbers, numbers, st.binary(max_size=300)),
    Ack: st.builds(Ack, numbers),
    Ping: st.builds(Ping, numbers),
    Pong: st.builds(Pong, numbers),
    Close: st.builds(Close, st.sampled_from(CloseCode), numbers, texts),
    Closed: st.just(Closed()),
}
any_frame = st.one_of(*FRAMES.values())
EXAMPLES: list[Frame] = [
    Hello("ATNL", 1, 1, "b", "b1", SessionId(7, "b", "b1"), True, 1, 2**20, 2000, 0, SessionId(6, "a", "a1")),
    Welcome(1, "a", "a1", SessionId(7, "b", "b1"), 300, 2**20, 2000),
    Ready(),
    Reject(RejectCode.NAME_IN_USE, 70_000, True, 500, "a node is connected and alive"),
    Data(5, 2**40, b"a body of some bytes"),
    Ack(6),
    Ping(2**62),
    Pong(0),
    Close(CloseCode.GOODBYE, 5, "bye"),
    Closed(),
]


def raw(*fields: object) -> bytes:
    body = msgspec.msgpack.encode(fields)
    return len(body).to_bytes(4) + body


def test_every_kind_of_frame_is_tried() -> None:
    assert set(FRAMES) == set(get_args(Frame)) == {type(frame) for frame in EXAMPLES}


@given(st.lists(any_frame, max_size=5))
def test_what_is_encoded_is_decoded(frames: list[Frame]) -> None:
    message = encode_all(frames)

    assert list(decode(message)) == frames
    assert message == b"".join(encode(frame) for frame in frames)


def test_an_unknown_kind_ends_the_connection_unless_it_is_optional() -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        list(decode(raw(OPTIONAL - 1, 1, "x")))

    assert list(decode(raw(OPTIONAL, 1, "x") + encode(Ready()) + raw(255))) == [Ready()]


def test_fields_that_are_not_known_are_passed_over() -> None:
    assert list(decode(raw(0x20, 5, "of a later version", {"a": [1]}))) == [Ping(5)]


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (0x20,),
        (0x20, -1),
        (0x20, 2**63),
        (0x20, 1.5),
        (0x20, "5"),
        (0x20, True),
        ("ping", 5),
        (0x04, 99, 0),
        (0x04, 1, 0, 0),
        (0x04, 1, 0, False, 0, "x" * 201),
        (0x10, 1, 1, "text"),
        (0x02, 1, "", "a1", (1, "a", "a1"), 1, 1, 1),
        (0x02, 1, "a" * 256, "a1", (1, "a", "a1"), 1, 1, 1),
        (0x02, 1, "a", "a1", (1, "a"), 1, 1, 1),
        (0x02, 1, "a", "a1", (1, "a", "a1"), 1, 1, 0),
        (0x02, 1, "a", "a1", (1, "a", "a1"), 1, 1, 3_600_001),
    ],
)
def test_a_frame_out_of_bounds_is_refused(fields: tuple[object, ...]) -> None:
    with pytest.raises(ProtocolError):
        list(decode(raw(*fields)))


@pytest.mark.parametrize(
    "message",
    [
        b"\0",
        b"\0\0\0",
        b"\0\0\0\0",
        b"\0\0\0\1",
        b"\xff\xff\xff\xff\x90",
        encode(Ready())[:-1],
        encode(Ready()) + b"\0",
        b"\0\0\0\1\xc1",
        b"\0\0\0\2\x92\x20",
        (100_000).to_bytes(4) + b"\x91" * 100_000,
        b"\0\0\0\6\x93\x10\x01\x01\xc6\xff",
    ],
)
def test_what_is_cut_off_or_broken_is_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(decode(message))


def test_the_frames_before_a_broken_one_are_returned() -> None:
    frames = decode(encode(Ping(1)) + b"\0\0\0\1\xc1")

    assert next(frames) == Ping(1)
    with pytest.raises(ProtocolError):
        next(frames)


def test_a_message_holds_so_many_frames_and_no_more() -> None:
    many = encode(Ready()) * MAX_FRAMES

    assert sum(1 for _ in decode(many)) == MAX_FRAMES
    with pytest.raises(ProtocolError, match="more than 65536 frames"):
        list(decode(many + encode(Ready())))


def hostile(random: Random) -> bytes:
    """Return a message of some frames, changed at random; or nothing but chance."""
    if random.random() < 0.2:
        body = random.randbytes(random.randrange(40))
        return len(body).to_bytes(4) + body if random.random() < 0.8 else body
    message = bytearray(encode_all(random.choices(EXAMPLES, k=random.randint(1, 3))))
    for _ in range(random.randint(1, 2)):
        place = random.randrange(len(message) + 1)
        match random.randrange(4):
            case 0:
                message[place:place] = random.randbytes(random.randint(1, 4))
            case 1:
                del message[place : place + random.randint(1, 4)]
            case 2:
                message[place : place + 1] = bytes([random.choice([0, 0x7F, 0x80, 0xC0, 0xC1, 0xCF, 0xD9, 0xFF])])
            case _:
                message[place : place + 1] = random.randbytes(1)
    return bytes(message)


@pytest.mark.slow
def test_whatever_the_bytes_are_they_are_frames_or_refused() -> None:
    random = Random(0)
    kinds, count, read, refused = set(get_args(Frame)), 2_000_000 if SOAK else 100_000, 0, 0
    for _ in range(count):
        message = hostile(random)
        try:
            frames = list(decode(message))
        except ProtocolError:
            refused += 1
        else:
            read += 1
            assert {type(frame) for frame in frames} <= kinds
            assert list(decode(encode_all(frames))) == frames, "what is let in has its bounds"

    print(f"{count} messages: {read} read, {refused} refused, nothing else")  # noqa: T201
    assert min(read, refused) > count / 50


def test_the_bytes_that_msgspec_gives_up_on_are_all_foreseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of its errors is not longer than it must be."""
    monkeypatch.setattr(codec, "UNREADABLE", ())

    with pytest.raises(msgspec.DecodeError):
        list(decode(b"\0\0\0\1\xc1"))
