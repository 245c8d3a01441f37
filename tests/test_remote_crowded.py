"""Places of far mailboxes, when somebody gives up, or the mailbox ends, while a message is on its way."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, NoReply
from tests.workers import Echo, Recorder, Sleeper
from tests.zone import FaultyNetwork, dead_letters_of, nodes, two_nodes

LARGE = "x" * (12 * 2**20)


async def test_a_worker_that_stops_while_a_large_message_is_on_its_way_ends_nothing_else(
    autojump_clock: MockClock,
) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        letters = [dead_letters_of(a), dead_letters_of(b)]
        await b.start_worker("recorder", Recorder())
        await b.start_worker("sleeper", Sleeper())
        await a.send_message("recorder@b", "first")
        await trio.sleep(1)
        network.silence("a", "b")
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await a.send_and_receive("sleeper@b", "5"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            sent = trio.Event()

            async def send() -> None:
                await a.send_message("recorder@b", LARGE)
                sent.set()

            nursery.start_soon(send)
            await trio.sleep(0.1)
            assert not sent.is_set()
            await b.stop_worker("recorder")
            await trio.sleep(0.1)
            network.heal("a", "b")

        assert answers == ["5"]
        assert [len(letter.message) for some in letters for letter in some] == [len(LARGE)]


async def test_many_who_wait_for_the_link_when_the_worker_stops_end_nothing_else(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        letters = [dead_letters_of(a), dead_letters_of(b)]
        recorder = Recorder()
        await b.start_worker("recorder", recorder)
        await b.start_worker("sleeper", Sleeper())
        await a.send_message("recorder@b", "0")
        await trio.sleep(1)
        network.silence("a", "b")
        outcomes: list[str] = []

        async def send(number: int) -> None:
            try:
                await a.send_message("recorder@b", str(number) * 10_000)
                outcomes.append("sent")
            except NoReply as error:
                outcomes.append(error.outcome)

        async with trio.open_nursery() as nursery:
            for number in range(200):
                nursery.start_soon(send, number)
            await trio.sleep(0.5)
            await b.stop_worker("recorder")
            await trio.sleep(0.5)
            network.heal("a", "b")
            assert await a.send_and_receive("sleeper@b", "1") == "1"

        assert len(outcomes) == 200
        assert set(outcomes) == {"sent", "not_sent"}
        await trio.sleep(1)
        assert outcomes.count("sent") == len([letter for some in letters for letter in some])


async def test_a_place_that_a_cancelled_sender_had_is_free_for_others(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        recorder = Recorder()
        await b.start_worker("recorder", recorder, mailbox_capacity=1)
        await a.send_message("recorder@b", "first")
        await trio.sleep(1)
        network.silence("a", "b")
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def send() -> None:
                with scope:
                    await a.send_message("recorder@b", LARGE)

            nursery.start_soon(send)
            await trio.sleep(0.1)
            nursery.start_soon(b.send_message, "recorder", "from here")
            await trio.sleep(0.1)
            scope.cancel()
            await trio.sleep(0.1)
            network.heal("a", "b")
            with trio.fail_after(5):
                await b.send_message("recorder", "from here too")
                await a.send_message("recorder@b", "from there")

        await trio.sleep(1)
        assert sorted(recorder.received) == ["first", "from here", "from here too", "from there"]


async def test_an_idle_node_keeps_no_places_from_others(autojump_clock: MockClock) -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        recorder = Recorder()
        await b.start_worker("recorder", recorder, mailbox_capacity=1)
        for round_ in range(20):
            for node in (a, b, c):
                with trio.fail_after(1):
                    await node.send_message("recorder" if node is b else "recorder@b", f"{round_}")
        await trio.sleep(1)
        assert recorder.received == [str(round_) for round_ in range(20) for _ in range(3)]


async def test_more_workers_than_a_node_keeps_flows_for_are_reached(autojump_clock: MockClock) -> None:
    async with two_nodes() as (a, b):
        for number in range(4200):
            await b.start_worker(f"w{number}", Echo())
        for number in (*range(4200), *range(0, 4200, 97)):
            assert await a.send_and_receive(f"w{number}@b", str(number)) == str(number)


@pytest.mark.parametrize("address", ["mixed@c", "forwards@b"])
async def test_large_and_small_replies_in_a_conversation_keep_their_order(
    autojump_clock: MockClock, address: str
) -> None:
    class Mixed:
        async def handle_message(self, context: Context, message: str) -> None:
            for number in range(6):
                await context.reply(str(number) * (400_000 if number % 2 == 0 else 1))

    class Forwards:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.forward("mixed@c")

    async with nodes("a", "b", "c") as (a, b, c):
        await c.start_worker("mixed", Mixed())
        await b.start_worker("forwards", Forwards())
        async with await a.send(address, "go") as mailbox:
            assert [(await mailbox.receive())[0] for _ in range(6)] == list("012345")


@pytest.mark.parametrize("capacity", [1, 2, 3])
async def test_senders_here_and_there_share_a_small_mailbox(autojump_clock: MockClock, capacity: int) -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        recorder = Recorder()
        await b.start_worker("recorder", recorder, mailbox_capacity=capacity)

        async def send(name: str) -> None:
            node = {"a": a, "b": b, "c": c}[name[0]]
            for number in range(40):
                await node.send_message("recorder" if node is b else "recorder@b", f"{name} {number}")

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for name in ("a1", "a2", "b1", "b2", "c1", "c2"):
                    nursery.start_soon(send, name)
        await trio.sleep(1)
        for name in ("a1", "a2", "b1", "b2", "c1", "c2"):
            mine = [message for message in recorder.received if message.startswith(name)]
            assert mine == [f"{name} {number}" for number in range(40)]
