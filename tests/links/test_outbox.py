"""What waits for a link: frames are bounded, large things travel beside others, and nothing is counted twice."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy._links.outbox import PART, Outbox, size_of
from autonomy._sansio import cargo
from autonomy._sansio.cargo import Failed, Gone, Item, Message, Part, Reply
from autonomy._sansio.envelope import Failure

LARGE = Message(1, "x" * 3 * PART, "")


def emptied(outbox: Outbox) -> list[list[Item]]:
    """Send everything; return the items of each frame."""
    frames = []
    while frame := outbox.frame():
        frames.append(cargo.decode_all(frame))
        outbox.went(len(frames))
    return frames


def test_a_frame_has_no_more_than_a_thousand_and_some_items() -> None:
    outbox = Outbox()
    for number in range(3000):
        outbox.add(Reply(number, ""))

    frames = emptied(outbox)

    assert [len(frame) for frame in frames] == [1024, 1024, 952]
    assert not outbox
    assert outbox.size == 0


def test_a_large_item_goes_in_parts_beside_others() -> None:
    outbox = Outbox()
    outbox.add(LARGE)
    for number in range(2000):
        outbox.add(Reply(number, ""))

    frames = emptied(outbox)

    assert [sum(isinstance(item, Part) for item in frame) for frame in frames] == [1, 1, 1, 1]
    assert (outbox.size, outbox.large_size) == (0, 0)


@pytest.mark.parametrize(
    "item",
    [
        Message(1, "x" * 1000, ""),
        Reply(1, "x" * 1000),
        Gone(1, "", "x" * 1000),
        Failed(1, Failure("WorkerFailed", "x" * 500, "handled", remote_traceback="x" * 500)),
    ],
)
def test_the_texts_of_an_item_count_for_its_size(item: Item) -> None:
    assert 1000 <= size_of(item) <= len(cargo.encode(item)) + 100


def test_the_end_of_a_session_loses_what_is_large_whole_and_once() -> None:
    outbox = Outbox()
    outbox.add(LARGE)
    first = outbox.frame()
    outbox.went(1)

    assert outbox.lost([first], []) == ([], [LARGE])
    assert not outbox
    assert (outbox.size, outbox.large_size) == (0, 0)
    assert outbox.lost([first], []) == ([], [])


def test_what_was_large_is_kept_until_its_last_part_has_arrived() -> None:
    outbox = Outbox()
    outbox.add(LARGE)
    frames = []
    while frame := outbox.frame():
        frames.append(frame)
        outbox.went(len(frames))

    outbox.arrived(len(frames) - 1)
    assert outbox.lost(frames[-1:], []) == ([LARGE], [])

    outbox.add(LARGE)
    frames = []
    while frame := outbox.frame():
        frames.append(frame)
        outbox.went(len(frames))
    outbox.arrived(len(frames))
    assert outbox.lost(frames[-1:], []) == ([], [])


def test_frames_of_a_session_that_is_over_mean_nothing_to_the_next() -> None:
    outbox = Outbox()
    outbox.add(LARGE)
    emptied(outbox)
    outbox.lost([], [])
    outbox.add(LARGE)
    last = b""
    while frame := outbox.frame():
        last = frame
        outbox.went(100)

    outbox.arrived(50)

    assert outbox.lost([last], []) == ([LARGE], [])


async def test_a_large_item_that_is_given_up_goes_no_further_and_the_far_side_is_told(
    autojump_clock: MockClock,
) -> None:
    outbox = Outbox()
    large = outbox.add_large(cargo.encode(LARGE))
    assert len(cargo.decode_all(outbox.frame())) == 1
    outbox.went(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(large.settled, lambda: outbox.abandon(large))
        await wait_all_tasks_blocked()
        assert large.is_awaited
        nursery.cancel_scope.cancel()

    assert not large.is_awaited
    assert outbox.large_size == 0
    assert emptied(outbox) == [[Part(large.number, True, b"")]]
    assert outbox.lost([cargo.encode_all([Part(large.number, True, b"")])], []) == ([], [])


def test_a_large_item_that_is_given_up_before_it_has_begun_leaves_no_trace() -> None:
    outbox = Outbox()

    outbox.abandon(outbox.add_large(cargo.encode(LARGE)))

    assert not outbox
    assert outbox.large_size == 0


async def test_whoever_waits_for_a_large_item_is_told_when_the_session_ends_and_it_is_not_reported_besides(
    autojump_clock: MockClock,
) -> None:
    outbox = Outbox()
    large = outbox.add_large(cargo.encode(LARGE))

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(large.settled, lambda: None)
            await wait_all_tasks_blocked()
            assert outbox.lost([], []) == ([], [])

    assert large.left
