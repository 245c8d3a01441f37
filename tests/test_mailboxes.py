"""`Mailbox`: what comes back from `Node.send`, what comes to `create_mailbox`, and who closes it (Q2, O6, B3)."""

from __future__ import annotations

import gc
import weakref
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import (
    Context,
    DeadLetter,
    DeadlineExceeded,
    Mailbox,
    MailboxFull,
    Node,
    NodeDown,
    WorkerExists,
    WorkerFailed,
    WorkerNotFound,
    WorkerStopped,
    open_node,
)

from .workers import Echo, Failing, Recorder, Silent, Sleeper


class Chatty:
    """Replies with as many numbers as the message says; notes how many replies it could give, and when."""

    def __init__(self) -> None:
        self.replied: list[float] = []
        self.refused: list[float] = []

    async def handle_message(self, context: Context, message: str) -> None:
        for number in range(int(message)):
            try:
                await context.reply(str(number))
            except MailboxFull:
                self.refused.append(trio.current_time())
                return
            self.replied.append(trio.current_time())


# ---- replies ---------------------------------------------------------------------------------------------------------


async def test_a_mailbox_gets_all_replies_in_order(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("chatty", Chatty())

    async with await node.send("chatty", "500") as mailbox:
        replies = [await mailbox.receive() for _ in range(500)]

    assert replies == [str(number) for number in range(500)]
    assert node.statistics().dropped_replies == 0


async def test_a_mailbox_can_be_iterated_over_until_it_is_closed(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("chatty", Chatty())
    replies: list[str] = []

    mailbox = await node.send("chatty", "3")
    async for reply in mailbox:
        replies.append(reply)
        if reply == "2":
            mailbox.close()

    assert replies == ["0", "1", "2"]


async def test_an_error_raises_from_receive_and_the_mailbox_stays_open(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("failing", Failing())
    await node.start_worker("echo", Echo())

    async with await node.send("failing", "boom") as mailbox:
        with pytest.raises(WorkerFailed, match=r"timeout.*ValueError: boom") as caught:
            await mailbox.receive()
        await mailbox.send("echo", "hello")
        assert await mailbox.receive() == "hello"

    assert (caught.value.worker, caught.value.remote_type) == ("failing", "ValueError")


async def test_a_worker_that_returns_without_replying_is_an_error_of_receive(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("silent", Silent())

    async with await node.send("silent", "hello") as mailbox:
        with pytest.raises(WorkerFailed, match="returned without replying"):
            await mailbox.receive()


async def test_a_message_whose_worker_is_stopped_is_an_error_of_receive(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("sleeper", Sleeper())
    await node.send_message("sleeper", "2")

    async with await node.send("sleeper", "1") as mailbox:
        await trio.sleep(1)
        await node.stop_worker("sleeper")
        with pytest.raises(WorkerStopped, match="timeout") as caught:
            await mailbox.receive()

    assert caught.value.outcome == "not_sent"


async def test_receive_waits_no_longer_than_its_timeout(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("sleeper", Sleeper())

    async with await node.send("sleeper", "40") as mailbox:
        for timeout, elapsed in ((3, 3), (0, 0), (-1, 0), (None, 30)):
            with pytest.raises(DeadlineExceeded, match="timeout") as caught:
                await mailbox.receive(timeout=timeout)
            assert caught.value.elapsed == elapsed
        assert await mailbox.receive() == "40"


@pytest.mark.parametrize("timeout", [0, -1, 0.0])
async def test_without_any_time_receive_returns_what_is_there(
    node: Node, autojump_clock: MockClock, timeout: float
) -> None:
    await node.start_worker("chatty", Chatty())
    async with await node.send("chatty", "2") as mailbox:
        await wait_all_tasks_blocked()

        replies = [await mailbox.receive(timeout=timeout) for _ in range(2)]

        with pytest.raises(DeadlineExceeded):
            await mailbox.receive(timeout=timeout)

    assert replies == ["0", "1"]


async def test_when_the_request_at_hand_is_late_receive_returns_what_is_there(
    node: Node, autojump_clock: MockClock
) -> None:
    received: list[str] = []

    class Late:
        async def handle_message(self, context: Context, message: str) -> None:
            async with await context.node.send("echo", message) as mailbox:  # type: ignore[attr-defined]  # a Node
                await trio.sleep(2)
                received.append(await mailbox.receive())

    await node.start_worker("echo", Echo())
    await node.start_worker("late", Late())

    with pytest.raises(DeadlineExceeded):
        await node.send_and_receive("late", "hello", timeout=1)
    await trio.sleep(2)

    assert received == ["hello"]


async def test_a_cancelled_receive_loses_nothing(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("sleeper", Sleeper())

    async with await node.send("sleeper", "2") as mailbox:
        with trio.move_on_after(1) as scope:
            await mailbox.receive()
        assert scope.cancelled_caught
        assert await mailbox.receive() == "2"


async def test_sending_to_nobody_leaves_no_mailbox_behind(node: Node, autojump_clock: MockClock) -> None:
    with pytest.raises(WorkerNotFound):
        await node.send("nobody", "hello")

    gc.collect()
    assert node.statistics().mailboxes == 0


# ---- messages --------------------------------------------------------------------------------------------------------


async def test_a_named_mailbox_takes_messages_of_workers_and_of_the_program(
    node: Node, autojump_clock: MockClock
) -> None:
    class Reporter:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.send_message("box", f"worker says {message}")

    await node.start_worker("reporter", Reporter())

    async with await node.create_mailbox("box") as mailbox:
        assert mailbox.address == "box@n"
        await node.send_message("box", "program says hello")
        await node.send_message("reporter", "hello")
        received = [await mailbox.receive(), await mailbox.receive()]

    assert received == ["program says hello", "worker says hello"]


async def test_a_mailbox_without_a_name_gets_one_that_nobody_has(node: Node, autojump_clock: MockClock) -> None:
    for number in range(1, 20):
        await node.start_worker(f"mailbox-{number}", Echo())

    async with await node.create_mailbox() as box, await node.send("mailbox-1", "hello") as replies:
        await node.send_message(box.address, "found")
        texts = await box.receive(), await replies.receive()

    assert texts == ("found", "hello")


async def test_a_mailbox_is_no_worker_and_cannot_be_asked(node: Node, autojump_clock: MockClock) -> None:
    async with await node.create_mailbox("box"):
        with pytest.raises(WorkerNotFound, match=r"is a mailbox, which cannot reply\. Use send_message"):
            await node.send_and_receive("box", "hello")
        assert await node.list_workers() == []


async def test_a_mailbox_name_is_taken_while_it_is_open_and_free_when_it_is_closed(
    node: Node, autojump_clock: MockClock
) -> None:
    mailbox = await node.create_mailbox("box")
    with pytest.raises(WorkerExists, match="already has a mailbox 'box'"):
        await node.start_worker("box", Echo())
    with pytest.raises(WorkerExists):
        await node.create_mailbox("box")

    mailbox.close()

    await node.start_worker("box", Echo())


# ---- the end of one --------------------------------------------------------------------------------------------------


async def test_messages_that_were_not_read_become_dead_letters_and_replies_are_counted(
    node: Node, autojump_clock: MockClock
) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    await node.start_worker("chatty", Chatty())

    async with await node.create_mailbox("box") as mailbox:
        await node.send_message("box", "unread")
        await mailbox.send("chatty", "2")
        await wait_all_tasks_blocked()

    assert [(letter.to, letter.message) for letter in lost] == [("box@n", "unread")]
    assert node.statistics().dropped_replies == 2


async def test_a_closed_mailbox_wakes_who_waits_for_it(node: Node, autojump_clock: MockClock) -> None:
    mailbox = await node.create_mailbox()

    async def receive() -> None:
        with pytest.raises(WorkerStopped, match="is closed"):
            await mailbox.receive()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        mailbox.close()

    with pytest.raises(WorkerStopped, match="is closed"):
        await mailbox.receive()
    assert trio.current_time() == 0


async def test_messages_to_a_closed_mailbox_find_nobody(node: Node, autojump_clock: MockClock) -> None:
    mailbox = await node.create_mailbox("box")
    mailbox.close()

    with pytest.raises(WorkerNotFound):
        await node.send_message("box", "hello")
    with pytest.raises(WorkerNotFound):
        node.send_nowait("box", "hello")


@pytest.mark.parametrize("end", ["replies", "fails", "returns", "stops"])
async def test_what_a_worker_has_for_a_mailbox_that_is_closed_by_then_is_dropped_and_counted(
    node: Node, autojump_clock: MockClock, end: str
) -> None:
    class Slow:
        async def handle_message(self, context: Context, message: str) -> None:
            await trio.sleep(1)
            if end == "replies":
                await context.reply("too late")
            elif end == "fails":
                raise ValueError("too late")
            elif end == "stops":
                await trio.sleep_forever()

    await node.start_worker("slow", Slow())
    async with await node.send("slow", "hello") as mailbox:
        await trio.sleep(0.5)

    await trio.sleep(1)
    await node.stop_worker("slow", timeout=1)

    assert node.statistics().dropped_replies == 1
    assert mailbox.address.endswith("@n")


async def test_closing_twice_does_no_harm(node: Node, autojump_clock: MockClock) -> None:
    async with await node.create_mailbox("box") as mailbox:
        mailbox.close()

    mailbox.close()


async def test_a_mailbox_that_a_worker_made_is_closed_when_that_worker_ends(
    node: Node, autojump_clock: MockClock
) -> None:
    class Maker:
        mailboxes: ClassVar[list[Mailbox]] = []

        async def handle_message(self, context: Context, message: str) -> None:
            self.mailboxes.append(await context.node.create_mailbox())  # type: ignore[attr-defined]  # this is a Node
            await context.reply("done")

    await node.start_worker("maker", Maker())
    await node.send_and_receive("maker", "make one")

    await node.stop_worker("maker")

    with pytest.raises(WorkerStopped, match="is closed"):
        await Maker.mailboxes[0].receive()


async def test_a_mailbox_is_closed_when_its_node_ends(autojump_clock: MockClock) -> None:
    async with open_node(stall_warning=None) as node:
        mailbox = await node.create_mailbox("box")

    with pytest.raises(WorkerStopped, match="is closed"):
        await mailbox.receive()
    with pytest.raises(NodeDown):
        await node.create_mailbox("box")


async def test_a_forgotten_mailbox_is_freed_and_what_it_held_is_reported(node: Node, autojump_clock: MockClock) -> None:
    lost: list[DeadLetter] = []
    node.on_dead_letter = lost.append
    await node.start_worker("recorder", Recorder())
    forgotten = [weakref.ref(await node.create_mailbox("box")), weakref.ref(await node.send("recorder", "hello"))]
    held = await node.create_mailbox("held")
    await node.send_message("held", "unread")

    del held
    gc.collect()
    for _ in range(3):  # its inbox is closed in Trio's thread, soon
        await trio.lowlevel.checkpoint()

    assert [mailbox() for mailbox in forgotten] == [None, None]
    assert node.statistics().mailboxes == 0
    assert [letter.message for letter in lost] == ["unread"]
    await node.start_worker("box", Echo())


# ---- a full one ------------------------------------------------------------------------------------------------------


async def test_a_worker_that_replies_to_a_full_mailbox_waits_for_room(node: Node, autojump_clock: MockClock) -> None:
    chatty = Chatty()
    await node.start_worker("chatty", chatty)

    async with await node.send("chatty", "1002") as mailbox:
        await trio.sleep(5)
        assert len(chatty.replied) == 1000
        replies = [await mailbox.receive() for _ in range(1002)]

    assert replies == [str(number) for number in range(1002)]
    assert chatty.replied[1000:] == [5, 5]


async def test_a_reply_that_finds_no_room_for_30_seconds_is_mailbox_full(node: Node, autojump_clock: MockClock) -> None:
    chatty = Chatty()
    await node.start_worker("chatty", chatty)

    async with await node.send("chatty", "1001"):
        await trio.sleep(40)

    assert len(chatty.replied) == 1000
    assert chatty.refused == [30]


async def test_a_worker_that_waits_to_reply_goes_on_when_the_mailbox_is_closed(
    node: Node, autojump_clock: MockClock
) -> None:
    chatty = Chatty()
    await node.start_worker("chatty", chatty)

    async with await node.send("chatty", "1001"):
        await trio.sleep(5)
    await wait_all_tasks_blocked()

    [info] = await node.list_workers()
    assert (info["handled"], info["failed"]) == (1, 0)
    assert trio.current_time() == 5


async def test_a_sender_to_a_full_mailbox_waits_then_gets_mailbox_full(node: Node, autojump_clock: MockClock) -> None:
    async with await node.create_mailbox("box") as mailbox:
        for _ in range(1000):
            await node.send_message("box", "hello")

        with pytest.raises(MailboxFull) as caught:
            await node.send_message("box", "one more", timeout=3)
        assert (caught.value.outcome, caught.value.elapsed) == ("not_sent", 3)

        await mailbox.receive()
        await node.send_message("box", "one more")
