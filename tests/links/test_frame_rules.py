"""The rules for frames against the library that reads them in earnest: neither may see what the other does not."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from autonomy._links.frame_rules import FrameRules, RuleBroken

from .siege import frame, request

MOST = 1000
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"

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


def rules(*, server: bool) -> FrameRules:
    """Return rules that have seen the handshake."""
    made = FrameRules(server=server, message=MOST, controls=20)
    made.check(request() if server else ANSWER, 0.0)
    made.answered()
    return made


def verdict(made: FrameRules, pieces: list[bytes]) -> str:
    try:
        for piece in pieces:
            made.check(piece, 0.0)
    except RuleBroken as error:
        return str(error)
    return ""


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[one:other] for one, other in pairwise(edges)]


@given(streams, cuts, st.booleans())
@example(frame(0x89, bytes(126)), [1, 2, 3], True)
def test_where_the_network_cuts_a_stream_changes_nothing(data: bytes, places: list[int], server: bool) -> None:  # noqa: FBT001
    assert verdict(rules(server=server), [data]) == verdict(rules(server=server), cut(data, places))


@given(streams, cuts, st.booleans())
@settings(max_examples=300)
@example(frame(0x82, b""), [], True)
def test_what_the_rules_let_through_is_whole_messages_and_little_else(
    data: bytes,
    places: list[int],
    server: bool,  # noqa: FBT001
) -> None:
    made = rules(server=server)
    library = Connection(ConnectionType.SERVER if server else ConnectionType.CLIENT)
    held, controls = 0, 0
    for piece in cut(data, places):
        if verdict(made, [piece]):
            break
        library.receive_data(piece)
        for event in library.events():
            match event:
                case BytesMessage():
                    held += len(event.data)
                    assert held <= MOST
                    held = 0 if event.message_finished else held
                case Ping() | Pong():
                    controls += 1
                case CloseConnection():
                    return  # its payload may be wrong; the library stops here, whatever it is
                case _:
                    raise AssertionError(event)
    assert controls <= 20


@given(st.binary(max_size=100).filter(lambda rest: rest != b""), cuts)
def test_a_client_that_does_not_wait_for_the_answer_is_refused(rest: bytes, places: list[int]) -> None:
    for end in (b"\r\n\r\n", b"\n\n", b"\r\n\n"):
        made = FrameRules(server=True, message=MOST, controls=20)
        head = request().removesuffix(b"\r\n\r\n") + end
        assert verdict(made, cut(head + rest, places)) == "it sent something before it was answered"


def test_an_answer_that_opens_no_websocket_is_left_to_the_library() -> None:
    made = FrameRules(server=False, message=MOST, controls=20)

    assert verdict(made, [b"HTTP/1.1 200 OK\r\n\r\n", b"<html>", bytes(1000)]) == ""


def test_frames_may_follow_the_answer_at_once() -> None:
    for data, said in ((frame(0x82, b"x", masked=False), ""), (frame(0x81, b"x", masked=False), "it sent text")):
        made = FrameRules(server=False, message=MOST, controls=20)
        assert verdict(made, [ANSWER + data]) == said


@pytest.mark.parametrize("server", [False, True])
def test_a_head_without_end_is_refused(server: bool) -> None:  # noqa: FBT001
    made = FrameRules(server=server, message=MOST, controls=20)

    assert verdict(made, [b"X: y\r\n"] * 10_000) == "its HTTP head is too long"
