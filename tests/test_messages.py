"""What a message may be: M1, M2. The same in every call that takes one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import Context, Mailbox, Node, WorkerFailed, open_node
from autonomy._sansio import border
from tests.workers import Echo, Recorder

WAYS = (
    "send_message",
    "send_nowait",
    "send_and_receive",
    "send",
    "Mailbox.send",
    "any",
    "all",
    "send_after",
    "send_every",
    "reply",
)
LIMIT = 20


class Replying:
    """Replies with what it is set to; notes what came of it."""

    def __init__(self) -> None:
        self.reply: Any = ""

    async def handle_message(self, context: Context, message: str) -> None:
        await context.reply(self.reply)


async def send(node: Node, way: str, message: Any, replying: Replying, mailbox: Mailbox) -> None:
    """Give a message to the library in one of the ways there are."""
    match way:
        case "send_nowait":
            node.send_nowait("echo", message)
        case "Mailbox.send":
            await mailbox.send("echo", message)
        case "send_after" | "send_every":
            getattr(node, way)(1, "echo", message)
        case "reply":
            replying.reply = message
            await node.send_and_receive("replying", "x")
        case _:
            await getattr(node, way)("echo", message)


async def outcome_of(way: str, message: object) -> tuple[str, str]:
    """Return name and text of the error that a message is refused with, or nothing twice; hold to what is then true."""
    async with open_node("n", stall_warning=None, max_message_bytes=LIMIT) as node:
        replying = Replying()
        await node.start_worker("replying", replying)
        await node.start_worker("echo", Echo())
        mailbox = await node.create_mailbox()
        await wait_all_tasks_blocked()
        before = node.statistics()
        try:
            await send(node, way, message, replying, mailbox)
        except (TypeError, ValueError) as error:
            assert way != "reply"  # it must not come from there
            name, text = type(error).__name__, str(error)
        except WorkerFailed as error:
            assert way == "reply"  # it must not come from elsewhere
            return error.remote_type, error.remote_message
        else:
            return "", ""
        assert node.statistics() == before
        assert [worker["handled"] for worker in await node.list_workers()] == [0, 0]
        return name, text


def in_virtual_time(scenario: Callable[..., Awaitable[Any]], *args: object) -> Any:
    return trio.run(scenario, *args, clock=MockClock(autojump_threshold=0))


# ---- M1, M2: for all objects


def check_that_exactly_the_allowed_messages_are_taken(way: str, message: object) -> None:
    kind, text = in_virtual_time(outcome_of, way, message)

    if not isinstance(message, str):
        assert kind == "TypeError"
        assert f"message must be a str, got {type(message).__name__}" in text
        assert "json.dumps" in text
    elif any("\ud800" <= character <= "\udfff" for character in message):
        assert kind == "ValueError"
        assert "lone surrogate" in text
    elif len(message.encode()) > LIMIT:
        assert kind == "ValueError"
        assert f"has {len(message.encode())} bytes once encoded" in text
        assert f"at most {LIMIT} (max_message_bytes)" in text
    else:
        assert kind == ""


TEXTS = st.text(st.characters(), max_size=12) | st.text("ab", max_size=25) | st.text("ä\ud800\udc00€😀", max_size=12)
OTHERS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.binary(max_size=5)
    | st.lists(st.text(max_size=2), max_size=2)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
)


@given(way=st.sampled_from(WAYS), message=TEXTS | OTHERS)
@example(way="reply", message="x" * LIMIT)
@example(way="reply", message="x" * (LIMIT + 1))
@example(way="reply", message="€" * 7)
@example(way="send_message", message="€" * 7)
@example(way="send_and_receive", message="\ud800\udc00")
@settings(max_examples=150, deadline=None)
def test_for_all_objects_a_message_is_taken_if_and_only_if_it_is_text_of_the_right_size(
    way: str, message: object
) -> None:
    check_that_exactly_the_allowed_messages_are_taken(way, message)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_send_refuses_what_is_no_message(way: str) -> None:
    for message in (None, b"x", 5, "x" * (LIMIT + 1), "ä" * LIMIT, "\udfff", "x" * LIMIT):
        check_that_exactly_the_allowed_messages_are_taken(way, message)


def takes_everything(message: object, max_bytes: int) -> Any:
    return message


def counts_characters(message: Any, max_bytes: int) -> str:
    if not isinstance(message, str):
        raise TypeError(f"message must be a str, got {type(message).__name__}; json.dumps")
    message.encode(errors="surrogatepass")
    if len(message) > max_bytes:
        raise ValueError(f"message has {len(message):,} bytes once encoded; at most {max_bytes:,} (max_message_bytes)")
    return message


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (takes_everything, None),
        (takes_everything, "\ud800"),
        (counts_characters, "\ud800"),
        (counts_characters, "€" * 7),
    ],
)
@pytest.mark.parametrize("way", ["send_message", "send_and_receive", "send_after"])
def test_the_check_of_messages_notices_a_border_that_lets_things_through(
    way: str, broken: Any, message: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_that_exactly_the_allowed_messages_are_taken(way, message)
    monkeypatch.setattr(border.check_message, "__code__", broken.__code__)

    with pytest.raises((AssertionError, BaseExceptionGroup, TypeError, AttributeError)):
        check_that_exactly_the_allowed_messages_are_taken(way, message)


@given(message=st.text(max_size=30))
@settings(max_examples=50, deadline=None)
def test_for_all_texts_what_arrives_is_what_was_sent(message: str) -> None:
    async def scenario() -> None:
        async with open_node("n", stall_warning=None) as node:
            recorder = Recorder()
            await node.start_worker("recorder", recorder)
            await node.start_worker("echo", Echo())

            assert await node.send_and_receive("echo", message) == message
            await node.send_message("recorder", message)
            node.send_nowait("recorder", message)
            await wait_all_tasks_blocked()

            assert recorder.received == [message, message]

    in_virtual_time(scenario)


# ---- the limit


async def test_sixteen_mebibytes_are_taken_and_one_byte_more_is_not(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("echo", Echo())
    largest = "x" * (16 * 2**20)

    assert await node.send_and_receive("echo", largest) == largest
    with pytest.raises(ValueError, match=r"16,777,217 bytes once encoded; this node takes at most 16,777,216"):
        await node.send_and_receive("echo", largest + "x")


@pytest.mark.parametrize("value", [0, -1, 1.5, "16", None, True])
def test_a_limit_that_cannot_be_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"max_message_bytes must be (an int|at least 1)"):
        open_node("n", max_message_bytes=value)


# ---- replies


async def test_a_worker_whose_reply_was_refused_may_reply_again(node: Node, autojump_clock: MockClock) -> None:
    class Second:
        async def handle_message(self, context: Context, message: str) -> None:
            for reply in (None, 5, "\ud800"):
                with pytest.raises((TypeError, ValueError), match=r"message (must be a str|has a lone surrogate)"):
                    await context.reply(reply)  # type: ignore[arg-type]  # the point of the test
            await context.reply("second try")

    await node.start_worker("second", Second())

    assert await node.send_and_receive("second", "x") == "second try"
    assert node.statistics().dropped_replies == 0


async def test_a_reply_that_is_no_text_fails_the_handler_and_the_caller_learns_how(
    node: Node, autojump_clock: MockClock
) -> None:
    replying = Replying()
    replying.reply = {"a": 1}
    await node.start_worker("replying", replying)

    with pytest.raises(WorkerFailed, match=r"raised TypeError: message must be a str, got dict: \{'a': 1\}\. .*json"):
        await node.send_and_receive("replying", "x")


async def test_a_plain_handler_s_reply_is_checked_in_its_thread() -> None:
    class Plain:
        def handle_message(self, context: Any, message: str) -> None:
            with pytest.raises(TypeError, match=r"json\.dumps"):
                context.reply(5)
            context.reply("text")

    async with open_node("n", stall_warning=None) as node:
        await node.start_worker("plain", Plain())

        assert await node.send_and_receive("plain", "x") == "text"
