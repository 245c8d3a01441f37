"""Who may reach whom across nodes: a refusal is an answer, and a line of the log, never silence."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, Node, NotAllowed
from autonomy._sansio.rights import Rights
from autonomy._sansio.spiffe import PeerIdentity
from tests.workers import Echo, Recorder
from tests.zone import FaultyNetwork, nodes, on, two_nodes


async def refusal(node: Node, address: str) -> NotAllowed:
    """Return the error of a request that is refused, which names both sides."""
    with pytest.raises(NotAllowed, match="timeout") as caught:
        await node.send_and_receive(address, "hello")
    error = caught.value
    assert (error.outcome, f"{error.worker}@{error.node}") == ("not_sent", address)
    assert repr(node.name) in str(error)
    return error


def security_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged about security."""
    return [record.getMessage() for record in caplog.records if record.name == "autonomy.security"]


async def test_a_node_that_may_not_message_is_told_so_and_it_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with two_nodes(rights=Rights(message="friend-*")) as (a, b):
        recorder = Recorder()
        await b.start_worker("recorder", recorder)

        await refusal(a, "recorder@b")
        for send in (a.send_message, a.send):
            with pytest.raises(NotAllowed):
                await send("recorder@b", "hello")

        assert recorder.received == []
        lines = security_lines(caplog)
        assert len(lines) >= 3
        assert all("not allowed" in line and "peer=a" in line and "worker=recorder" in line for line in lines)
        assert trio.current_time() < 1


async def test_who_may_not_message_does_not_learn_who_is_there(autojump_clock: MockClock) -> None:
    async with two_nodes(rights=Rights(message=())) as (a, b):
        await b.start_worker("there", Echo())

        there, nobody = await refusal(a, "there@b"), await refusal(a, "nobody@b")

        assert str(there).replace("there", "X") == str(nobody).replace("nobody", "X")
        async with a.watch("there@b") as one, a.watch("nobody@b") as other:
            reasons = [(await watch.down()).reason for watch in (one, other)]
        assert all("may not reach" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("allow", "allowed"),
    [
        (None, {"a", "c"}),
        ("local", set()),
        ("a", {"a"}),
        ("[ab]*", {"a"}),
        (["c", "d"], {"c"}),
        ([], set()),
        (lambda peer: peer.name == "c", {"c"}),
    ],
)
async def test_a_worker_narrows_who_reaches_it(autojump_clock: MockClock, allow: object, allowed: set[str]) -> None:
    async with nodes("a", "b", "c") as (a, b, c):
        await b.start_worker("echo", Echo(), allow=allow)
        await b.start_worker("open", Echo())

        for node in (a, c):
            assert await node.send_and_receive("open@b", "hello") == "hello"
            if node.name in allowed:
                assert await node.send_and_receive("echo@b", "hello") == "hello"
            else:
                await refusal(node, "echo@b")
        assert await b.send_and_receive("echo", "hello") == "hello"


async def test_allow_is_given_the_identity_that_the_link_has_proven(autojump_clock: MockClock) -> None:
    seen: list[PeerIdentity] = []

    def allow(peer: PeerIdentity) -> bool:
        seen.append(peer)
        return True

    async with two_nodes() as (a, b):
        await b.start_worker("echo", Echo(), allow=allow)
        await a.send_and_receive("echo@b", "hello")

    assert {peer.name for peer in seen} == {"a"}


async def test_an_allow_that_raises_is_a_no_and_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def allow(peer: PeerIdentity) -> bool:
        raise ZeroDivisionError("a mistake of the application")

    async with two_nodes() as (a, b):
        await b.start_worker("echo", Echo(), allow=allow)

        await refusal(a, "echo@b")

        assert any("allow raised" in line for line in security_lines(caplog))
        await b.start_worker("other", Echo())
        assert await a.send_and_receive("other@b", "still linked") == "still linked"


async def test_a_right_that_was_refused_does_not_stick_to_the_name(autojump_clock: MockClock) -> None:
    async with two_nodes() as (a, b):
        await b.start_worker("echo", Echo(), allow="local")
        await refusal(a, "echo@b")
        await b.stop_worker("echo")
        await b.start_worker("echo", Echo())

        assert await a.send_and_receive("echo@b", "hello") == "hello"


async def test_a_worker_that_opens_again_narrowed_refuses_who_reached_the_one_before(
    autojump_clock: MockClock,
) -> None:
    async with two_nodes() as (a, b):
        await b.start_worker("echo", Echo())
        assert await a.send_and_receive("echo@b", "hello") == "hello"
        await b.stop_worker("echo")
        await b.start_worker("echo", Echo(), allow="local")
        await wait_all_tasks_blocked()

        await refusal(a, "echo@b")


async def test_replies_need_no_right(autojump_clock: MockClock) -> None:
    network = FaultyNetwork()
    async with on(network, "a", rights=Rights(message=())) as a, on(network, "b") as b:
        await b.start_worker("echo", Echo())
        await a.connect("wss://b:1")

        assert await a.send_and_receive("echo@b", "hello") == "hello"
        async with await a.send("echo@b", "hello") as mailbox:
            assert await mailbox.receive() == "hello"
            await refusal(b, "echo@a")


async def test_a_mailbox_of_a_node_that_none_may_message_takes_only_answers(autojump_clock: MockClock) -> None:
    class Guesses:
        async def handle_message(self, context: Context, message: str) -> None:
            await context.reply("an answer")
            with pytest.raises(NotAllowed):
                await context.send_message(message, "not asked for")

    network = FaultyNetwork()
    async with on(network, "a", rights=Rights(message=())) as a, on(network, "b") as b:
        await b.start_worker("guesses", Guesses())
        await a.connect("wss://b:1")
        async with await a.create_mailbox("desk") as desk, await a.send("guesses@b", desk.address) as mailbox:
            assert await mailbox.receive() == "an answer"
            await trio.sleep(1)
            with pytest.raises(TimeoutError):
                await desk.receive(timeout=1)


async def test_forwarding_to_a_worker_that_is_not_allowed_can_still_be_answered(autojump_clock: MockClock) -> None:
    class Tries:
        async def handle_message(self, context: Context, message: str) -> None:
            try:
                await context.forward("echo@b")
            except NotAllowed:
                await context.reply("refused")

    async with two_nodes() as (a, b):
        await b.start_worker("echo", Echo(), allow="local")
        await a.start_worker("tries", Tries())

        assert await a.send_and_receive("tries", "hello") == "refused"
