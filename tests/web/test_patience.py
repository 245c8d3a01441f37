"""How long the server waits for whom, in virtual time."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from autonomy._web.conversation import Conversation
from autonomy._web.feed import LogFeed

from .folder_zone import small_zone


async def test_who_does_not_finish_a_question_is_left_after_half_a_minute(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    began = trio.current_time()

    async def drip() -> None:
        for byte in b"GET / HTTP/1.1\r\nHost: 127.0.0.1:32101\r\n":
            await theirs.send_all(bytes([byte]))
            await trio.sleep(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        assert await Conversation(ours).next_request() is None
        nursery.cancel_scope.cancel()

    assert trio.current_time() - began == 30


async def test_who_does_not_take_an_answer_is_left_after_half_a_minute(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    conversation = Conversation(ours)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.send_all, b"GET / HTTP/1.1\r\nHost: 127.0.0.1:32101\r\n\r\n")
        assert await conversation.next_request() is not None

    with pytest.raises(trio.TooSlowError):
        await conversation.answer(200, "text/plain", b"hello", {})
    assert trio.current_time() >= 30


async def test_a_pager_may_take_a_day_for_a_piece_of_a_log(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    conversation = Conversation(ours)
    received = b""

    async def read_slowly() -> None:
        nonlocal received
        await theirs.send_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:32101\r\n\r\n")
        while chunk := await theirs.receive_some():
            received += chunk
            await trio.sleep(24 * 3600)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read_slowly)
        assert await conversation.next_request() is not None
        await conversation.stream("text/plain", lambda send: send(b"a piece of a log"))
        await ours.aclose()

    assert b"a piece of a log" in received
    assert trio.current_time() > 2 * 24 * 3600


async def test_a_feed_without_news_gives_a_sign_of_life_every_fifteen_seconds(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    zone, sent = small_zone(tmp_path), []

    async def send(data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(data.partition(b"\n")[0])

    with trio.move_on_after(65):
        await LogFeed(zone, {}, send).run()

    assert sent == [b"event: zone", b"event: ready", *[b": still here"] * 4]


async def test_a_page_that_stops_reading_stops_the_reading_of_files(autojump_clock: MockClock, tmp_path: Path) -> None:
    zone = small_zone(tmp_path)
    zone.write(b"INFO node a line\n" * 100_000)
    sent = 0

    async def send(data: bytes) -> None:
        nonlocal sent
        sent += len(data)
        if sent > 200_000:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()

    with trio.move_on_after(3600):
        await LogFeed(zone, {}, send).run()

    assert sent < 500_000
