"""Frames against the library that everybody uses: what either writes the other reads, and both see the same."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, Pong

from autonomy._links.websocket_frames import (
    CLOSE,
    MESSAGE,
    PING,
    PONG,
    FrameReader,
    RuleBroken,
    masked,
    write_close,
    write_frame,
)

from .siege import frame

MOST = 1000
EDGES = [0, 1, 124, 125, 126, 127, 4095, 4096, 4097, 0xFFFF - 1, 0xFFFF, 0xFFFF + 1, 0xFFFF + 2, 150_001]

whole = st.builds(frame, st.sampled_from([0x82, 0x88, 0x89, 0x8A]), st.binary(max_size=200), masked=st.booleans())
lying = st.builds(
    frame,
    st.integers(0, 255),
    st.binary(max_size=20),
    masked=st.booleans(),
    length=st.sampled_from([0, 1, 125, 126, 127, MOST, MOST + 1, 2**16, 2**63, 2**64 - 1]),
)
streams = st.lists(whole | lying | st.binary(max_size=20), max_size=8).map(b"".join)
cuts = st.lists(st.integers(0, 2000), max_size=10)
far_cuts = st.lists(st.integers(0, 400_000) | st.integers(0, 50), max_size=30)
sized = st.builds(
    lambda size, seed: (seed * (size // 3 + 1))[:size], st.sampled_from(EDGES), st.binary(min_size=3, max_size=3)
)
payloads = st.lists(sized | st.binary(max_size=300), max_size=5)


def reader(*, server: bool, message: int = MOST) -> FrameReader:
    return FrameReader(server=server, message=message, controls=20)


def library(*, server: bool) -> Connection:
    return Connection(ConnectionType.SERVER if server else ConnectionType.CLIENT)


def verdict(made: FrameReader, pieces: list[bytes]) -> str:
    try:
        for piece in pieces:
            made.take(piece, 0.0)
    except RuleBroken as error:
        return str(error)
    return ""


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[one:other] for one, other in pairwise(edges)]


# ---- with the library at the other end


@given(payloads, far_cuts, st.booleans())
@settings(max_examples=150)
def test_what_the_library_sends_is_read_wherever_the_network_cuts_it(
    messages: list[bytes],
    places: list[int],
    server: bool,  # noqa: FBT001
) -> None:
    sender, made = library(server=not server), reader(server=server, message=2**20)
    events: list[Event] = [BytesMessage(data=message) for message in messages]
    events += [Ping(payload=b"why?"), Pong(payload=b"so."), CloseConnection(code=1000, reason="enough")]
    sent = b"".join(sender.send(event) for event in events)

    assert verdict(made, cut(sent, places)) == ""

    assert list(made.messages) == messages
    assert all(type(message) is bytes for message in made.messages)
    assert made.pings == [b"why?"]
    assert made.closed == "enough"


@given(payloads, far_cuts, st.booleans())
@settings(max_examples=150)
def test_what_is_written_is_read_by_the_library(
    messages: list[bytes],
    places: list[int],
    server: bool,  # noqa: FBT001
) -> None:
    receiver = library(server=not server)
    sent = [write_frame(MESSAGE, message, server=server) for message in messages]
    sent += [write_frame(PING, b"why?", server=server), write_frame(PONG, b"so.", server=server)]
    sent.append(write_close("enough", server=server))
    received, begun, others = [], b"", []
    for piece in cut(b"".join(sent), places):
        receiver.receive_data(piece)
        for event in receiver.events():
            if not isinstance(event, BytesMessage):
                others.append(event)
                continue
            begun += event.data
            if event.message_finished:
                received.append(begun)
                begun = b""

    assert received == messages
    assert others == [Ping(b"why?"), Pong(b"so."), CloseConnection(1000, "enough")]


@given(sized | st.binary(max_size=9000), st.binary(min_size=4, max_size=4))
def test_a_mask_is_put_on_each_byte_and_comes_off_again(data: bytes, key: bytes) -> None:
    hidden = masked(data, key)

    assert hidden == bytes(byte ^ key[place % 4] for place, byte in enumerate(data))
    assert masked(hidden, key) == data


def test_each_frame_of_a_client_has_a_mask_of_its_own() -> None:
    assert len({write_frame(MESSAGE, bytes(8), server=False)[2:6] for _ in range(100)}) == 100


def test_the_reason_of_a_close_is_cut_between_characters() -> None:
    for spaces in range(4):
        written = write_close(" " * spaces + "\N{EURO SIGN}" * 100, server=True)
        made = reader(server=False)
        assert verdict(made, [written]) == ""
        assert made.closed is not None
        assert set(made.closed) <= {" ", "\N{EURO SIGN}"}
        assert written[0] == CLOSE
        assert 120 <= len(made.closed.encode()) <= 123


# ---- with anybody at the other end


@given(streams, cuts, st.booleans())
@example(frame(0x89, bytes(126)), [1, 2, 3], True)
def test_where_the_network_cuts_a_stream_changes_nothing(data: bytes, places: list[int], server: bool) -> None:  # noqa: FBT001
    one, other = reader(server=server), reader(server=server)

    assert verdict(one, [data]) == verdict(other, cut(data, places))

    assert (one.messages, one.pings, one.closed) == (other.messages, other.pings, other.closed)


@given(streams, cuts, st.booleans())
@settings(max_examples=300)
@example(frame(0x82, b""), [], True)
def test_nothing_is_read_that_the_library_reads_otherwise(
    data: bytes,
    places: list[int],
    server: bool,  # noqa: FBT001
) -> None:
    made, other = reader(server=server), library(server=server)
    for piece in cut(data, places):
        if verdict(made, [piece]) or made.closed is not None:
            break  # the payload of a close may be wrong, and the library stops there
        other.receive_data(piece)
    messages = [b""]
    pings: list[bytes] = []
    pongs = 0
    for event in other.events():
        match event:
            case BytesMessage():
                messages[-1] += event.data
                messages += [b""] if event.message_finished else []
            case Ping():
                pings.append(bytes(event.payload))
            case Pong():
                pongs += 1
            case _:
                raise AssertionError(event)
    whole_ones = messages[:-1]
    assert whole_ones == list(made.messages)[: len(whole_ones)]
    assert pings == made.pings[: len(pings)]
    assert all(len(message) <= MOST for message in messages)
    assert len(pings) + pongs <= 20


def test_a_second_later_as_many_pings_may_come_again() -> None:
    made = reader(server=False)
    for second in range(3):
        for _ in range(20):
            made.take(frame(0x89, b"x", masked=False), float(second))
    assert len(made.pings) == 60
    with pytest.raises(RuleBroken, match="more than 20 pings in a second"):
        made.take(frame(0x89, masked=False), 2.9)
