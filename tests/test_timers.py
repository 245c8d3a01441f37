"""`send_after` and `send_every`: at their time, cancellable, and in nobody's way."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Backoff, Context, DeadLetter, Node, Restart, Timer, open_node

from .workers import Recorder, Sleeper


class Clocked:
    """Notes each message with the time when it came, then is busy for `busy` seconds."""

    def __init__(self, busy: float = 0.0) -> None:
        self.received: list[tuple[float, str]] = []
        self.busy = busy

    async def handle_message(self, context: Context, message: str) -> None:
        self.received.append((trio.current_time(), message))
        await trio.sleep(self.busy)


class Alarmed:
    """Starts the timers it is told to, and notes what they bring; fails or stops when told to."""

    log: ClassVar[list[str]] = []

    async def handle_message(self, context: Context, message: str) -> None:
        match message:
            case "after":
                context.send_after(5, context.name, "ring")
            case "every":
                context.send_every(5, context.name, "ring")
            case "by the node":
                context.node.send_after(5, context.name, "ring")  # type: ignore[attr-defined]  # this one is a Node
            case "fail":
                raise ValueError(message)
            case "stop":
                context.stop()
            case _:
                self.log.append(f"{context.sender} {message}")


@pytest.fixture
def log() -> list[str]:
    Alarmed.log = []
    return Alarmed.log


# ---- at their time ---------------------------------------------------------------------------------------------------


async def test_a_message_comes_after_its_delay(node: Node, autojump_clock: MockClock) -> None:
    clocked = Clocked()
    await node.start_worker("clocked", clocked)

    for delay in (3, 1, 2.5, 0, 2.5):
        node.send_after(delay, "clocked", f"in {delay}")
    await trio.sleep(10)

    assert clocked.received == [(0, "in 0"), (1, "in 1"), (2.5, "in 2.5"), (2.5, "in 2.5"), (3, "in 3")]
    assert node.statistics().timers == 0


async def test_messages_due_at_one_time_come_in_the_order_of_their_timers(
    node: Node, autojump_clock: MockClock
) -> None:
    recorder = Recorder()
    await node.start_worker("recorder", recorder)

    for number in range(100):
        node.send_after(1, "recorder", str(number))
    await trio.sleep(2)

    assert recorder.received == [str(number) for number in range(100)]


async def test_a_periodic_message_keeps_to_its_rounds_whatever_the_handler_takes(
    node: Node, autojump_clock: MockClock
) -> None:
    clocked = Clocked(busy=0.75)
    await node.start_worker("clocked", clocked)

    timer = node.send_every(1, "clocked", "round")
    await trio.sleep(4.5)
    timer.cancel()
    await trio.sleep(5)

    assert clocked.received == [(1, "round"), (2, "round"), (3, "round"), (4, "round")]


async def test_the_sender_of_a_timers_message_is_who_started_it(
    node: Node, autojump_clock: MockClock, log: list[str]
) -> None:
    await node.start_worker("alarmed", Alarmed())

    node.send_after(5, "alarmed", "ring")
    for way in ("after", "by the node"):
        await node.send_message("alarmed", way)
    await trio.sleep(6)

    assert log == ["@n ring", "alarmed@n ring", "alarmed@n ring"]


# ---- cancel ----------------------------------------------------------------------------------------------------------


async def test_a_cancelled_timer_sends_nothing_and_says_whether_it_would_have(
    node: Node, autojump_clock: MockClock
) -> None:
    recorder = Recorder()
    await node.start_worker("recorder", recorder)
    late, early, periodic = (
        node.send_after(5, "recorder", "late"),
        node.send_after(1, "recorder", "early"),
        node.send_every(2, "recorder", "round"),
    )
    await trio.sleep(3)

    cancelled = [(timer.cancel(), timer.cancel()) for timer in (late, early, periodic)]
    await trio.sleep(10)

    assert cancelled == [(True, False), (False, False), (True, False)]
    assert recorder.received == ["early", "round"]
    assert node.statistics().timers == 0


async def test_a_periodic_timer_may_be_cancelled_by_whoever_gets_its_message(
    node: Node, autojump_clock: MockClock
) -> None:
    class Thrice(Recorder):
        timer: Timer

        async def handle_message(self, context: Context, message: str) -> None:
            self.received.append(message)
            if len(self.received) == 3:
                self.timer.cancel()

    thrice = Thrice()
    await node.start_worker("thrice", thrice)
    thrice.timer = node.send_every(1, "thrice", "round")

    await trio.sleep(10)

    assert thrice.received == ["round"] * 3


@pytest.mark.parametrize("way", ["after", "every", "by the node"])
@pytest.mark.parametrize("end", ["stop", "fail", "stop_worker"])
async def test_a_workers_timers_end_with_its_life(
    node: Node, autojump_clock: MockClock, log: list[str], way: str, end: str
) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    await node.start_worker("alarmed", Alarmed, supervision=Restart(backoff=Backoff(0, 0)))
    await node.send_message("alarmed", way)
    await trio.sleep(1)
    assert node.statistics().timers == 1

    if end == "stop_worker":
        await node.stop_worker("alarmed")
    else:
        await node.send_message("alarmed", end)
    await trio.sleep(20)

    assert log == []
    assert lost == []
    assert node.statistics().timers == 0


async def test_timers_of_the_program_outlive_the_worker_they_are_for(node: Node, autojump_clock: MockClock) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    await node.start_worker("recorder", Recorder())
    node.send_every(2, "recorder", "round")

    await trio.sleep(3)
    await node.stop_worker("recorder")
    await trio.sleep(2)
    recorder = Recorder()
    await node.start_worker("recorder", recorder)
    await trio.sleep(2)

    assert [letter.message for letter in lost] == ["round"]
    assert recorder.received == ["round"]


async def test_the_end_of_the_node_cancels_its_timers(autojump_clock: MockClock) -> None:
    recorder = Recorder()
    async with open_node(stall_warning=None) as node:
        await node.start_worker("recorder", recorder)
        node.send_every(1, "recorder", "round")
        timer = node.send_after(100, "recorder", "late")

    assert recorder.received == []
    assert timer.cancel() is False
    assert node.statistics().timers == 0


# ---- a full mailbox --------------------------------------------------------------------------------------------------


async def test_a_message_for_a_full_mailbox_waits_for_room_and_holds_no_other_timer(
    node: Node, autojump_clock: MockClock
) -> None:
    sleeper, clocked = Sleeper(), Clocked()
    await node.start_worker("sleeper", sleeper, mailbox_capacity=1)
    await node.start_worker("clocked", clocked)
    await node.send_message("sleeper", "10")
    await wait_all_tasks_blocked()
    await node.send_message("sleeper", "1")

    node.send_after(1, "sleeper", "2")
    node.send_after(2, "clocked", "on time")
    await trio.sleep(20)

    assert clocked.received == [(2, "on time")]
    assert sleeper.ended == 3


async def test_rounds_that_come_due_while_one_waits_for_room_are_left_out(
    node: Node, autojump_clock: MockClock
) -> None:
    clocked = Clocked(busy=3.5)
    await node.start_worker("clocked", clocked, mailbox_capacity=1)

    node.send_every(1, "clocked", "round")
    await trio.sleep(11)

    # One is being handled, one lies in the mailbox, one waits for room: no more than these, ever.
    assert [when for when, _ in clocked.received] == [1, 4.5, 8]
    assert node.statistics().queued == 1


async def test_a_timers_message_that_finds_no_room_for_30_seconds_becomes_a_dead_letter(
    node: Node, autojump_clock: MockClock
) -> None:
    lost: list[tuple[float, str]] = []
    node.on_dead_letter = lambda letter: lost.append((trio.current_time(), letter.reason))
    await node.start_worker("sleeper", Sleeper(), mailbox_capacity=1)
    await node.send_message("sleeper", "100")
    await wait_all_tasks_blocked()
    await node.send_message("sleeper", "1")

    node.send_after(1, "sleeper", "2")
    await trio.sleep(50)

    assert lost == [(31, "mailbox of 'sleeper' on node 'n' stayed full for 30 s")]


async def test_a_timers_message_for_nobody_becomes_a_dead_letter(node: Node, autojump_clock: MockClock) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append

    node.send_after(1, "nobody", "hello")
    await trio.sleep(2)

    assert [(letter.to, letter.sender, letter.message) for letter in lost] == [("nobody@n", "@n", "hello")]


@pytest.mark.parametrize("node_name", ["n", "elsewhere"])
async def test_a_dead_letter_names_the_full_address_that_a_timer_was_given(
    node: Node, autojump_clock: MockClock, node_name: str
) -> None:
    letters: list[DeadLetter] = []
    node.on_dead_letter = letters.append

    node.send_after(1, f"nobody@{node_name}", "lost")
    await trio.sleep(2)

    assert [letter.to for letter in letters] == [f"nobody@{node_name}"]


async def test_a_dead_letter_names_the_worker_that_stopped_before_it_came_to_a_timers_message(
    node: Node, autojump_clock: MockClock
) -> None:
    letters: list[DeadLetter] = []
    node.on_dead_letter = letters.append
    await node.start_worker("sleeper", Sleeper())
    await node.send_message("sleeper", "2")

    node.send_after(1, "sleeper@n", "lost")
    await trio.sleep(1.5)
    await node.stop_worker("sleeper")

    assert [letter.to for letter in letters] == ["sleeper@n"]


async def test_a_timers_message_for_a_closed_mailbox_becomes_a_dead_letter(
    node: Node, autojump_clock: MockClock
) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    mailbox = await node.create_mailbox("box")
    node.send_after(1, "box", "hello")

    mailbox.close()
    await trio.sleep(2)

    assert [(letter.to, letter.message) for letter in lost] == [("box@n", "hello")]


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "error"),
    [(-1, ValueError), (float("inf"), ValueError), (float("nan"), ValueError), ("1", TypeError), (True, TypeError)],
)
async def test_a_delay_or_period_that_cannot_be_is_refused(
    node: Node, autojump_clock: MockClock, seconds: Any, error: type[Exception]
) -> None:
    for start in (node.send_after, node.send_every):
        with pytest.raises(error):
            start(seconds, "recorder", "x")

    assert node.statistics().timers == 0


async def test_a_period_must_be_more_than_nothing(node: Node, autojump_clock: MockClock) -> None:
    with pytest.raises(ValueError, match="period must be more than 0"):
        node.send_every(0, "recorder", "x")


async def test_a_message_or_address_that_cannot_be_is_refused_at_once(node: Node, autojump_clock: MockClock) -> None:
    for start in (node.send_after, node.send_every):
        with pytest.raises(TypeError):
            start(1, "recorder", 7)  # type: ignore[arg-type]  # the mistake
        with pytest.raises(ValueError, match="address"):
            start(1, "recorder@", "x")

    assert node.statistics().timers == 0
