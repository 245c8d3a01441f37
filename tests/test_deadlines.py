"""Deadlines and call chains travel: Q7, whichever handle, task or thread a nested request comes from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import CallCycle, Context, DeadlineExceeded, Node, NoReply, gather, open_node
from autonomy._actors.router import Router
from tests.workers import Echo, Sleeper


class Probe:
    """Replies with the seconds that are left of the request."""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(f"{context.deadline - trio.current_time():.6f}")


# ---- for all chains of requests


class Link:
    """Rests, asks the next one of the chain with its own timeout, and replies with all that was left on the way."""

    def __init__(self, following: str, rest: float, timeout: float | None) -> None:
        self.following = following
        self.rest = rest
        self.timeout = timeout

    async def handle_message(self, context: Context, message: str) -> None:
        left = context.deadline - trio.current_time()
        await trio.sleep(self.rest)
        further = await context.send_and_receive(self.following, message, timeout=self.timeout)
        await context.reply(f"{left:.6f} {further}")


def check_chain(links: Sequence[tuple[float, float | None]], timeout: float) -> None:
    """Send a request through a chain of workers; each must have at most what is left of all requests before it."""
    given_up = False
    expected = [timeout]
    for rest, own in links:
        remaining = expected[-1] - rest
        given_up = given_up or remaining <= 0
        expected.append(min(remaining, 30.0 if own is None else own))

    async def scenario() -> None:
        async with open_node("n", stall_warning=None) as node:
            for number, (rest, own) in enumerate(links):
                await node.start_worker(f"link-{number}", Link(f"link-{number + 1}", rest, own))
            await node.start_worker(f"link-{len(links)}", Probe())
            started = trio.current_time()
            try:
                lefts = await node.send_and_receive("link-0", "x", timeout=timeout)
            except DeadlineExceeded:
                assert given_up  # it must not fail otherwise
                assert trio.current_time() - started == pytest.approx(timeout)
            else:
                assert [float(left) for left in lefts.split()] == pytest.approx(expected, abs=1e-5)

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


@given(
    links=st.lists(
        st.tuples(st.integers(0, 6).map(float), st.none() | st.integers(8, 40).map(lambda n: n + 0.125)), max_size=6
    ),
    timeout=st.integers(1, 50).map(lambda n: n + 0.5),
)
@settings(max_examples=60, deadline=None)
def test_for_all_chains_a_request_has_at_most_what_is_left_of_those_it_serves(
    links: list[tuple[float, float | None]], timeout: float
) -> None:
    if all(own is None for _, own in links) or sum(rest for rest, _ in links) < 8:
        check_chain(links, timeout)


def test_the_check_of_chains_notices_requests_that_have_time_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = [(2.0, None), (1.0, 20.0)]
    check_chain(chain, 10)

    def inherits_no_deadline(router: Router, deadline: float, *, original: Any = Router.inherited) -> Any:
        sender, waiting, _ = original(router, deadline)
        return sender, waiting, deadline

    monkeypatch.setattr(Router, "inherited", inherits_no_deadline)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        check_chain(chain, 10)


# ---- whichever way a handler takes


async def by_context(context: Context, to: str) -> str:
    return await context.send_and_receive(to, "x", timeout=1000)


async def by_node_of_context(context: Context, to: str) -> str:
    return await context.node.send_and_receive(to, "x", timeout=1000)


async def by_any(context: Context, to: str) -> str:
    node = context.node
    assert isinstance(node, Node)
    return await node.any(to, "x", timeout=1000)


async def by_gather(context: Context, to: str) -> str:
    (answer,) = await gather(context.send_and_receive(to, "x", timeout=1000))
    return answer


async def by_grandchild(context: Context, to: str) -> str:
    answers: list[str] = []

    async def grandchild() -> None:
        answers.append(await context.node.send_and_receive(to, "x", timeout=1000))

    async def child() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(grandchild)

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
    except* CallCycle as group:
        cycle = group
    else:
        return answers[0]
    (inner,) = cycle.exceptions
    assert isinstance(inner, ExceptionGroup)
    raise inner.exceptions[0]


async def by_thread(context: Context, to: str) -> str:
    ask = partial(context.node.send_and_receive, to, "x", timeout=1000)
    return await trio.to_thread.run_sync(trio.from_thread.run, ask)


WAYS = [by_context, by_node_of_context, by_any, by_gather, by_grandchild, by_thread]


class Through:
    """Asks the worker that the message names in one of the ways, and replies with its answer or error."""

    def __init__(self, way: Callable[[Context, str], Awaitable[str]]) -> None:
        self.way = way

    async def handle_message(self, context: Context, message: str) -> None:
        try:
            answer = await self.way(context, message)
        except CallCycle as error:
            answer = f"CallCycle: {error}"
        await context.reply(answer)


@pytest.mark.parametrize("way", WAYS)
async def test_a_nested_request_gets_what_is_left_whichever_way_it_is_made(
    way: Callable[[Context, str], Awaitable[str]], mock_clock: MockClock
) -> None:
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("probe", Probe())
        await node.start_worker("through", Through(way))

        assert float(await node.send_and_receive("through", "probe", timeout=7)) == pytest.approx(7)
        assert float(await node.send_and_receive("through", "probe", timeout=5000)) == pytest.approx(1000)


@pytest.mark.parametrize("way", WAYS)
async def test_a_request_that_would_come_back_is_a_call_cycle_whichever_way_it_is_made(
    way: Callable[[Context, str], Awaitable[str]], mock_clock: MockClock
) -> None:
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("through", Through(way))

        answer = await node.send_and_receive("through", "through", timeout=7)

        assert answer.startswith("CallCycle: no reply from 'through@n' before timeout=1000s: ")


# ---- from plain handlers


def plainly(context: Any, node: Node, to: str) -> str:
    answer: str = context.send_and_receive(to, "x", timeout=1000)
    return answer


def through_trio(context: Any, node: Node, to: str) -> str:
    return trio.from_thread.run(partial(node.send_and_receive, to, "x", timeout=1000))


def through_the_node_of_the_context(context: Any, node: Node, to: str) -> str:
    answer: str = trio.from_thread.run(partial(context.node.send_and_receive, to, "x", timeout=1000))
    return answer


def through_a_child_task(context: Any, node: Node, to: str) -> str:
    answers: list[str] = []

    async def child() -> None:
        answers.append(await node.send_and_receive(to, "x", timeout=1000))

    async def parent() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    trio.from_thread.run(parent)
    return answers[0]


class PlainThrough:
    """As `Through`, in a plain handler."""

    def __init__(self, way: Callable[[Any, Node, str], str], node: Node) -> None:
        self.way = way
        self.node = node

    def handle_message(self, context: Any, message: str) -> None:
        try:
            answer = self.way(context, self.node, message)
        except CallCycle as error:
            answer = f"CallCycle: {error}"
        context.reply(answer)


PLAIN_WAYS = [plainly, through_trio, through_the_node_of_the_context]


@pytest.mark.parametrize("way", [*PLAIN_WAYS, through_a_child_task])
async def test_a_plain_handler_s_request_gets_what_is_left(
    way: Callable[[Any, Node, str], str], mock_clock: MockClock
) -> None:
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("probe", Probe())
        await node.start_worker("through", PlainThrough(way, node))

        assert float(await node.send_and_receive("through", "probe", timeout=7)) == pytest.approx(7)
        assert float(await node.send_and_receive("through", "probe", timeout=5000)) == pytest.approx(1000)


@pytest.mark.parametrize("way", PLAIN_WAYS)
async def test_a_plain_handler_s_request_that_would_come_back_is_a_call_cycle(
    way: Callable[[Any, Node, str], str], mock_clock: MockClock
) -> None:
    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("through", PlainThrough(way, node))

        assert (await node.send_and_receive("through", "through")).startswith("CallCycle")


# ---- what a deadline does not bind, and what it does


async def test_a_request_of_a_message_s_handler_has_the_whole_of_its_time(
    node: Node, autojump_clock: MockClock
) -> None:
    class Asker:
        left = ""

        async def handle_message(self, context: Context, message: str) -> None:
            self.left = await context.send_and_receive("probe", message)

    asker = Asker()
    await node.start_worker("probe", Probe())
    await node.start_worker("asker", asker)

    await node.send_message("asker", "x")
    await wait_all_tasks_blocked()

    assert float(asker.left) == pytest.approx(30)


async def test_waiting_in_a_mailbox_is_bound_by_the_request_at_hand(node: Node, autojump_clock: MockClock) -> None:
    class Waiter:
        async def handle_message(self, context: Context, message: str) -> None:
            assert isinstance(context.node, Node)
            async with await context.node.create_mailbox() as mailbox:
                try:
                    await mailbox.receive(timeout=1000)
                finally:
                    self.ended = trio.current_time()

    waiter = Waiter()
    await node.start_worker("waiter", waiter)
    started = trio.current_time()

    with pytest.raises(NoReply):  # its own deadline or the worker's failure, at the same moment
        await node.send_and_receive("waiter", "x", timeout=4)
    await wait_all_tasks_blocked()

    assert waiter.ended - started == pytest.approx(4)


# ---- call cycles


class Next:
    """Asks the first worker that its message lists, passing on the rest; at the end it replies "end"."""

    async def handle_message(self, context: Context, message: str) -> None:
        following, _, rest = message.partition(" ")
        try:
            answer = await context.send_and_receive(following, rest) if following else "end"
        except CallCycle as error:
            answer = f"{error.worker} {error.outcome}"
        await context.reply(answer)


def check_cycles(route: Sequence[str]) -> None:
    """Send a request along a route of workers; it must stop where it would come back, at once."""

    async def scenario() -> None:
        async with open_node("n", stall_warning=None) as node:
            for name in set(route):
                await node.start_worker(name, Next())
            started = trio.current_time()

            answer = await node.send_and_receive(route[0], " ".join(route[1:]), timeout=30)

            again = [name for number, name in enumerate(route) if name in route[:number]]
            assert answer == (f"{again[0]} not_sent" if again else "end")
            assert trio.current_time() == started

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


@given(route=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=7))
@settings(max_examples=60, deadline=None)
def test_for_all_routes_a_request_stops_at_once_where_it_would_come_back(route: list[str]) -> None:
    check_cycles(route)


def test_the_check_of_cycles_notices_requests_that_wait_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    check_cycles("abca")
    monkeypatch.setattr(Router, "check_cycle", lambda *_: None)

    with pytest.raises((AssertionError, BaseExceptionGroup, DeadlineExceeded)):
        check_cycles("abca")


async def test_a_message_back_to_a_worker_that_waits_is_no_cycle(node: Node, autojump_clock: MockClock) -> None:
    class Asks:
        def __init__(self) -> None:
            self.received: list[str] = []

        async def handle_message(self, context: Context, message: str) -> None:
            self.received.append(message)
            if message == "ask":
                await context.reply(await context.send_and_receive("answers", "x"))

    class Answers:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.send_message("asks", "by the way")
            await context.reply("done")

    asks = Asks()
    await node.start_worker("asks", asks)
    await node.start_worker("answers", Answers())

    assert await node.send_and_receive("asks", "ask") == "done"
    await wait_all_tasks_blocked()
    assert asks.received == ["ask", "by the way"]


async def test_a_forward_into_a_cycle_is_refused_and_one_that_only_passes_on_is_not(
    node: Node, autojump_clock: MockClock
) -> None:
    class Forwards:
        async def handle_message(self, context: Context, message: str) -> None:
            try:
                await context.forward(message)
            except CallCycle as error:
                await context.reply(f"{error.worker} {error.outcome}")

    await node.start_worker("forwards", Forwards())
    await node.start_worker("next", Next())
    await node.start_worker("echo", Echo())
    await node.start_worker("sleeper", Sleeper())

    assert await node.send_and_receive("next", "forwards next") == "next not_sent"
    assert await node.send_and_receive("next", "forwards echo") == "echo"
