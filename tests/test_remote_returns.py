"""Links that come back and nodes that do: what goes on then, and what has ended."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, Down, NodeDown, NoReply, WorkerFailed
from tests.workers import Echo, Recorder, Sleeper
from tests.zone import FaultyNetwork, dead_letters_of, nodes, on, two_nodes


async def test_a_cut_shorter_than_the_window_is_noticed_by_nobody(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("sleeper", Sleeper())
        answers: list[str] = []

        async def ask() -> None:
            answers.append(await a.send_and_receive("sleeper@b", "2"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.sleep(1)
            network.part("a", "b")
            network.cut("a", "b")
            await trio.sleep(8)
            network.heal("a", "b")
        assert answers == ["2"]
        assert a.statistics().dropped_replies == 0


async def test_a_node_that_comes_back_after_it_was_down_is_reached_again(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        for node in (a, b):
            await node.start_worker("echo", Echo())
        assert await a.send_and_receive("echo@b", "hello") == "hello"
        for _ in range(2):
            network.part("a", "b")
            await trio.sleep(30)
            network.heal("a", "b")

            assert await a.send_and_receive("echo@b", "hello again") == "hello again"
            assert await b.send_and_receive("echo@a", "hello again") == "hello again"


async def test_a_host_that_answers_that_nobody_listens_is_down_within_a_second(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("sleeper", Sleeper())
        async with trio.open_nursery() as nursery:
            errors: list[NoReply] = []

            async def ask() -> None:
                with pytest.raises(NodeDown) as caught:
                    await a.send_and_receive("sleeper@b", "1000", timeout=500)
                errors.append(caught.value)

            nursery.start_soon(ask)
            await trio.sleep(1)
            network.stop_listening("a", "b")
            started = trio.current_time()
        assert trio.current_time() - started < 1
        assert errors[0].outcome == "maybe_handled"
        network.heal("a", "b")


async def test_of_a_node_that_was_started_anew_everything_older_fails(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a") as a:
        letters = dead_letters_of(a)
        errors: list[NoReply] = []
        old, new = Recorder(), Recorder()

        async def ask() -> None:
            with pytest.raises(NodeDown) as caught:
                await a.send_and_receive("sleeper@b", "1000", timeout=500)
            errors.append(caught.value)

        downs: list[Down] = []

        async def look_out() -> None:
            async with a.watch("recorder@b") as watch:
                downs.append(await watch.down())

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as kill:
                async with on(network, "b") as b:
                    await b.start_worker("recorder", old)
                    await b.start_worker("sleeper", Sleeper())
                    await a.connect("wss://b:1")
                    await a.send_message("recorder@b", "first")
                    nursery.start_soon(ask)
                    nursery.start_soon(look_out)
                    await trio.sleep(1)
                    network.part("a", "b")
                    for number in range(5):
                        await a.send_message("recorder@b", f"old {number}")
                    kill.cancel()
                    await trio.sleep_forever()
            async with on(network, "b") as b:
                await b.start_worker("recorder", new)
                await b.start_worker("echo", Echo())
                network.heal("a", "b")
                with pytest.raises(NodeDown, match="it has lost the session"):
                    await a.send_and_receive("echo@b", "hello")
                assert await a.send_and_receive("echo@b", "hello") == "hello"
                await a.send_message("recorder@b", "new")
                await trio.sleep(1)

                assert new.received[-1] == "new"
                assert [(type(error), error.outcome) for error in errors] == [(NodeDown, "maybe_handled")]
                assert [down.reason for down in downs] == ["node 'b' is down: it has lost the session"]
                handled = old.received + new.received
                assert sorted(handled + [letter.message for letter in letters]) == sorted(
                    ["first", "new", *(f"old {number}" for number in range(5))]
                )
                assert handled == sorted(handled, key=["first", *(f"old {n}" for n in range(5)), "new"].index)


async def test_links_are_counted(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with nodes("a", "b", "c", network=network) as (a, b, c):
        await wait_all_tasks_blocked()
        assert [node.statistics().links for node in (a, b, c)] == [2, 2, 2]

        network.part("a", "b")
        await trio.sleep(15)

        assert [node.statistics().links for node in (a, b, c)] == [1, 1, 2]
        network.heal("a", "b")


async def test_a_link_with_nothing_to_say_stays_up(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("echo", Echo())
        dials = network.dials
        await trio.sleep(300)

        assert network.dials == dials
        assert a.statistics().links == 1
        assert await a.send_and_receive("echo@b", "hello") == "hello"


class AsksOn:
    """Asks another worker what it is asked, unless it is asked for nothing but an echo."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def handle_message(self, context: Context, message: str) -> None:
        answer = message if message == "echo" else await context.send_and_receive(self._address, message)
        await context.reply(answer)


async def test_a_worker_has_one_way_to_it_after_a_node_was_down_though_nothing_was_sent_there_before(
    autojump_clock: MockClock,
) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await a.start_worker("one", AsksOn("other@b"))
        await b.start_worker("other", AsksOn("one@a"))
        with pytest.raises(WorkerFailed, match="CallCycle"):  # the way back to the first was found, and not gone
            await a.send_and_receive("one", "in circles")
        network.part("a", "b")
        await trio.sleep(30)
        network.heal("a", "b")

        assert await b.send_and_receive("one@a", "echo") == "echo"
        assert await b.send_and_receive("one", "echo", node="a") == "echo"
