"""Places in a mailbox that are promised to senders on other nodes (B1, B2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, DeadLetter, MailboxFull, Node, WorkerStopped
from autonomy._actors.queue import Queue

from .far import Far, target_of
from .workers import Recorder


class Gated(Recorder):
    """Notes each message, then waits for leave to go on; replies with the message."""

    def __init__(self) -> None:
        super().__init__()
        self.leave = trio.Semaphore(0)

    async def handle_message(self, context: Context, message: str) -> None:
        self.received.append(message)
        await self.leave.acquire()
        await context.reply(message)

    async def go_on(self, messages: int = 1) -> None:
        """Let it finish so many messages, and everybody act on that."""
        for _ in range(messages):
            self.leave.release()
            await wait_all_tasks_blocked()


async def gated(node: Node, capacity: int) -> tuple[Gated, Queue]:
    """Start a worker that is busy with one message and has an empty mailbox."""
    worker = Gated()
    await node.start_worker("worker", worker, mailbox_capacity=capacity)
    await node.send_message("worker", "held")
    await wait_all_tasks_blocked()
    return worker, queue_of(node)


async def gated_with_flow(node: Node, capacity: int) -> tuple[Gated, Queue]:
    """Start one that has known all the time that there are flows; there is one already, and it wants nothing."""
    worker = Gated()
    await node.start_worker("worker", worker, mailbox_capacity=capacity)
    queue = queue_of(node)
    queue.reserve().want(Far(queue, "quiet"), 0)
    await node.send_message("worker", "held")
    await wait_all_tasks_blocked()
    return worker, queue


def queue_of(node: Node) -> Queue:
    """Return the worker's mailbox."""
    queue = target_of(node, "worker")
    assert isinstance(queue, Queue)
    return queue


def sends(node: Node, *messages: str) -> Callable[[], Awaitable[None]]:
    """Return what sends messages to the worker one after the other, waiting for room."""

    async def send() -> None:
        for message in messages:
            await node.send_message("worker", message)

    return send


# ---- far senders -----------------------------------------------------------------------------------------------------


async def test_messages_of_a_far_sender_are_handled_in_order_and_wake_the_worker(
    node: Node, autojump_clock: MockClock
) -> None:
    recorder = Recorder()
    await node.start_worker("worker", recorder)
    far = Far(target_of(node, "worker"))

    far.send("1", "2", "3")
    far.settle()
    await wait_all_tasks_blocked()

    assert recorder.received == ["1", "2", "3"]


async def test_a_far_sender_has_no_more_than_half_of_the_mailbox_ahead(node: Node, autojump_clock: MockClock) -> None:
    _, queue = await gated(node, 10)
    far = Far(queue)

    far.send("1")
    far.settle()

    assert far.flow.credit == 4
    assert queue.used() == 1


async def test_a_message_without_a_place_is_refused(node: Node, autojump_clock: MockClock) -> None:
    _, queue = await gated(node, 4)
    far = Far(queue)
    far.send("1")
    far.settle()
    far.flow.granted(100)

    far.send(*"23456789")
    far.settle()

    assert far.refused == 5
    assert queue.used() == 4


async def test_a_far_sender_that_finds_a_full_mailbox_is_granted_a_place_when_there_is_one(
    node: Node, autojump_clock: MockClock
) -> None:
    worker, queue = await gated_with_flow(node, 1)
    await node.send_message("worker", "here")
    far = Far(queue)
    far.send("far")
    far.settle()
    assert far.flow.total == 0

    await worker.go_on()
    far.settle()
    await worker.go_on(2)

    assert worker.received == ["held", "here", "far"]


async def test_places_that_lie_idle_are_asked_back_for_another_far_sender(
    node: Node, autojump_clock: MockClock
) -> None:
    worker, queue = await gated_with_flow(node, 2)
    idle = [Far(queue, "b"), Far(queue, "c")]
    for far in idle:
        far.send("first")
    for _ in range(4):
        for far in idle:
            far.settle()
        await worker.go_on()
    assert [far.flow.credit for far in idle] == [1, 1]

    late = Far(queue, "d")
    late.send("late")
    late.settle()
    for far in idle:
        far.settle()
    late.settle()
    await wait_all_tasks_blocked()

    assert worker.received == ["held", "first", "first", "late"]


# ---- senders here ----------------------------------------------------------------------------------------------------


async def test_a_sender_here_does_not_get_a_place_that_is_promised(node: Node, autojump_clock: MockClock) -> None:
    _, queue = await gated(node, 4)
    far = Far(queue)
    far.send("1")
    far.settle()
    assert (queue.used(), far.flow.credit) == (1, 1)

    node.send_nowait("worker", "2")
    node.send_nowait("worker", "3")
    with pytest.raises(MailboxFull):
        node.send_nowait("worker", "too many")
    far.send("4")
    far.settle()

    assert (queue.used(), far.refused) == (4, 0)


async def test_a_sender_here_waits_until_an_idle_flow_has_given_back(node: Node, autojump_clock: MockClock) -> None:
    worker, queue = await gated_with_flow(node, 1)
    far = Far(queue)
    far.send("1")
    far.settle()
    await worker.go_on(2)
    far.settle()
    assert far.flow.credit == 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sends(node, "2"))
        await wait_all_tasks_blocked()
        assert (far.asked, queue.used()) == (1, 0)
        far.settle()

    await wait_all_tasks_blocked()
    assert worker.received == ["held", "1", "2"]


async def test_who_waited_before_the_first_flow_came_is_served_first(node: Node, autojump_clock: MockClock) -> None:
    worker, queue = await gated(node, 1)
    far = Far(queue)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sends(node, "queued"))
        await wait_all_tasks_blocked()
        nursery.start_soon(sends(node, "waited"))
        await wait_all_tasks_blocked()
        far.send("far")
        far.settle()
        await worker.go_on()
        far.settle()
        assert far.flow.total == 0

        await worker.go_on(2)
        far.settle()
        await worker.go_on()

    assert worker.received == ["held", "queued", "waited", "far"]


async def test_senders_here_get_places_in_the_order_in_which_they_came(node: Node, autojump_clock: MockClock) -> None:
    worker, queue = await gated(node, 2)
    far = Far(queue)
    far.send("far")
    far.settle()

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(sends(node, str(number)))
            await wait_all_tasks_blocked()
        with pytest.raises(MailboxFull):
            node.send_nowait("worker", "overtakes")
        for _ in range(9):
            far.settle()
            await worker.go_on()

    assert [message for message in worker.received if message.isdigit()] == ["0", "1", "2", "3", "4"]


async def test_a_sender_that_is_cancelled_in_the_line_has_not_sent_and_takes_no_place(
    node: Node, autojump_clock: MockClock
) -> None:
    worker, queue = await gated(node, 1)
    far = Far(queue)
    far.send("far")
    far.settle()

    with pytest.raises(MailboxFull):
        await node.send_message("worker", "cancelled", timeout=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sends(node, "sent"))
        await wait_all_tasks_blocked()
        for _ in range(3):
            far.settle()
            await worker.go_on()

    assert worker.received == ["held", "far", "sent"]


async def test_a_sender_here_need_not_wait_for_the_end_of_a_long_handler_if_the_mailbox_is_empty(
    node: Node, autojump_clock: MockClock
) -> None:
    worker, queue = await gated_with_flow(node, 1)
    far = Far(queue)
    far.send("far")
    far.settle()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sends(node, "here"))
        await wait_all_tasks_blocked()
        await worker.go_on()  # it took the far one's message, and is busy with it
        far.settle()  # it would have had the place, and has nothing to send

    assert worker.received == ["held", "far"]
    assert queue.used() == 1


async def test_when_the_last_flow_has_ended_a_mailbox_is_as_it_was(node: Node, autojump_clock: MockClock) -> None:
    worker, queue = await gated(node, 1)
    plain = (queue.append, queue.take)
    far = Far(queue)
    far.send("far")
    assert (queue.append, queue.take) == plain
    far.settle()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sends(node, "waits"))
        await wait_all_tasks_blocked()
        far.end()
        assert queue.reserved is not None  # there is one who waits
        await worker.go_on(3)

    assert queue.reserved is None
    assert (queue.append, queue.take) == plain
    assert worker.received == ["held", "far", "waits"]


@pytest.mark.parametrize("capacity", [1, 2, 5])
async def test_nobody_starves_however_busy_the_others_are(node: Node, autojump_clock: MockClock, capacity: int) -> None:
    recorder = Recorder()

    class Busy:
        async def handle_message(self, context: Context, message: str) -> None:
            await trio.sleep(0.01)
            recorder.received.append(message)

    await node.start_worker("worker", Busy(), mailbox_capacity=capacity)
    queue = target_of(node, "worker")
    async with trio.open_nursery() as nursery:
        for name in "bcd":
            far = Far(queue, name)
            far.send(*[name] * 1000)
            nursery.start_soon(far.run)
        for name in "xy":
            nursery.start_soon(sends(node, *[name] * 1000))
        await trio.sleep(20)
        nursery.cancel_scope.cancel()

    counts = {name: recorder.received.count(name) for name in "bcdxy"}
    assert min(counts.values()) > 50, counts


# ---- the end ---------------------------------------------------------------------------------------------------------


async def test_when_the_worker_ends_flows_are_told_why_and_nothing_here_is_lost_in_silence(
    node: Node, autojump_clock: MockClock
) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    _, queue = await gated(node, 1)
    far, late = Far(queue), Far(queue, "late")
    far.send("far")
    far.settle()
    failures: list[WorkerStopped] = []

    async def ask() -> None:
        with pytest.raises(WorkerStopped) as caught:
            await node.send_and_receive("worker", "asked")
        failures.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(sends(node, "told"))
        await wait_all_tasks_blocked()
        await node.stop_worker("worker", timeout=0)
    late.send("late")
    late.settle()

    assert (far.reason, late.reason) == ("stopped", "stopped")
    assert [failure.outcome for failure in failures] == ["not_sent"]
    assert sorted(letter.message for letter in lost) == ["far", "held", "told"]


async def test_a_worker_has_something_to_do_as_long_as_somebody_waits_in_the_line(
    node: Node, autojump_clock: MockClock
) -> None:
    worker, queue = await gated_with_flow(node, 1)
    far = Far(queue)
    far.send("1")
    far.settle()
    await worker.go_on(2)
    assert queue.used() == 0

    async def give_up() -> None:
        with pytest.raises(MailboxFull):
            await node.send_message("worker", "2", timeout=3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(give_up)
        await wait_all_tasks_blocked()
        was_so_at_once = await node._system.registry.workers["worker"].wait_idle()

    assert not was_so_at_once
    assert trio.current_time() == 3


# ---- mailboxes of programs -------------------------------------------------------------------------------------------


async def test_a_program_s_mailbox_takes_messages_of_far_senders_too(node: Node, autojump_clock: MockClock) -> None:
    async with await node.create_mailbox("box") as mailbox:
        far = Far(target_of(node, "box"))

        far.send(*map(str, range(1500)))
        received: list[str] = []
        while len(received) < 1500:
            far.settle()
            received.append(await mailbox.receive())

        assert received == [str(number) for number in range(1500)]


async def test_promised_places_of_a_program_s_mailbox_are_kept_and_asked_back(
    node: Node, autojump_clock: MockClock
) -> None:
    mailbox = node._system.mailboxes.open("box", 1)
    far = Far(target_of(node, "box"))
    far.send("far")
    far.settle()
    assert await mailbox.receive() == "far"
    far.settle()
    assert far.flow.credit == 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(node.send_message, "box", "here")
        await wait_all_tasks_blocked()
        assert (far.asked, repr(mailbox)) == (1, "<Mailbox 'box@n', 0 waiting>")
        far.settle()

    assert await mailbox.receive() == "here"
    mailbox.close()


async def test_when_a_program_s_mailbox_is_closed_flows_are_told_and_those_who_wait_have_not_sent(
    node: Node, autojump_clock: MockClock
) -> None:
    mailbox = node._system.mailboxes.open("box", 1)
    far = Far(target_of(node, "box"))
    far.send("far")
    far.settle()

    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(Exception, match="was closed"):
                await node.send_message("box", "here")

        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        mailbox.close()

    assert far.reason == "its mailbox was closed"
