"""Errors as answers: Q3, Q4, Q5, what they say and what they carry."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from autonomy import AutonomyError, Context, Node, NoReply, WorkerFailed, errors
from tests.workers import Echo, Failing, Silent, Sleeper

# ---- Q4: the tree


@pytest.mark.parametrize(
    "name",
    [
        "DeadlineExceeded",
        "WorkerFailed",
        "WorkerStopped",
        "WorkerNotFound",
        "AmbiguousWorker",
        "MailboxFull",
        "NodeDown",
        "Unreachable",
        "CallCycle",
        "NotAllowed",
    ],
)
def test_errors_without_a_reply_are_runtime_errors_with_the_same_attributes(name: str) -> None:
    error = getattr(errors, name)("text", outcome="not_sent", worker="w", node="n", elapsed=1.5)

    assert isinstance(error, NoReply)
    assert isinstance(error, AutonomyError)
    assert isinstance(error, RuntimeError)
    assert (str(error), error.outcome, error.worker, error.node, error.elapsed) == ("text", "not_sent", "w", "n", 1.5)


@pytest.mark.parametrize(
    "name",
    [
        "WorkerExists",
        "IdentityError",
        "DirectoryUnavailable",
        "CodeRefused",
        "ProtocolError",
        "RestartLimitReached",
    ],
)
def test_errors_of_other_calls_are_autonomy_errors_but_not_about_replies(name: str) -> None:
    error = getattr(errors, name)

    assert issubclass(error, AutonomyError)
    assert not issubclass(error, NoReply)


def test_a_passed_deadline_is_a_timeout_error_too() -> None:
    assert issubclass(errors.DeadlineExceeded, TimeoutError)
    assert str(errors.DeadlineExceeded("too late")) == "too late"


# ---- Q5: what each request's error says; Q3: at once; Q4: with its attributes


async def ask_nobody(node: Node) -> str:
    return await node.send_and_receive("nobody", "x", timeout=5)


async def ask_nobody_by_any(node: Node) -> str:
    return await node.any("nobody", "x", timeout=5)


async def ask_nobody_by_all(node: Node) -> object:
    return await node.all("nobody", "x", timeout=5)


async def ask_elsewhere(node: Node) -> str:
    return await node.send_and_receive("echo@other", "x", timeout=5)


async def ask_failing(node: Node) -> str:
    await node.start_worker("failing", Failing())
    return await node.send_and_receive("failing", "no coffee", timeout=5)


async def ask_silent(node: Node) -> str:
    await node.start_worker("silent", Silent())
    return await node.send_and_receive("silent", "x", timeout=5)


async def ask_slow(node: Node) -> str:
    await node.start_worker("slow", Sleeper())
    return await node.send_and_receive("slow", "60", timeout=5)


async def ask_with_no_time(node: Node) -> str:
    await node.start_worker("slow", Sleeper())
    return await node.send_and_receive("slow", "60", timeout=0)


async def ask_full(node: Node) -> str:
    await node.start_worker("full", Sleeper(), mailbox_capacity=1)
    for _ in range(2):
        await node.send_message("full", "10")
        await wait_all_tasks_blocked()
    return await node.send_and_receive("full", "x", timeout=5)


async def ask_oneself(node: Node) -> str:
    caught: list[NoReply] = []

    class Narcissus:
        async def handle_message(self, context: Context, message: str) -> None:
            try:
                await context.send_and_receive("narcissus", "x", timeout=5)
            except NoReply as error:
                caught.append(error)

    await node.start_worker("narcissus", Narcissus())
    await node.send_message("narcissus", "x")
    await wait_all_tasks_blocked()
    raise caught[0]


async def ask_stopping(node: Node) -> str:
    class Quitter:
        async def handle_message(self, context: Context, message: str) -> None:
            self.kept = context
            context.stop()

    await node.start_worker("quitter", Quitter())
    return await node.send_and_receive("quitter", "x", timeout=5)


async def ask_leaving(node: Node) -> str:
    await node.start_worker("echo", Echo())
    await node.stop()
    return await node.send_and_receive("echo", "x", timeout=5)


async def ask_mailbox(node: Node) -> str:
    async with await node.create_mailbox("inbox"):
        return await node.send_and_receive("inbox", "x", timeout=5)


ERRORS = [
    (ask_nobody, "WorkerNotFound", "not_sent", 0, "nobody@n", 5, "no worker 'nobody' on node 'n'"),
    (ask_nobody_by_any, "WorkerNotFound", "not_sent", 0, "nobody@n", 5, "no worker 'nobody' on node 'n'"),
    (ask_nobody_by_all, "WorkerNotFound", "not_sent", 0, "nobody@n", 5, "no worker 'nobody' on node 'n'"),
    (ask_elsewhere, "Unreachable", "not_sent", 0, "echo@other", 5, "node 'other' is not known to node 'n'"),
    (ask_failing, "WorkerFailed", "handled", 0, "failing@n", 5, "the worker raised ValueError: no coffee"),
    (ask_silent, "WorkerFailed", "handled", 0, "silent@n", 5, "the worker returned without replying"),
    (
        ask_slow,
        "DeadlineExceeded",
        "maybe_handled",
        5,
        "slow@n",
        5,
        "the worker has begun to handle the message, and may yet end",
    ),
    (ask_with_no_time, "DeadlineExceeded", "not_sent", 0, "slow@n", 0, "no time was left, and it was not sent"),
    (ask_full, "MailboxFull", "not_sent", 5, "full@n", 5, "mailbox of 'full' on node 'n' stayed full for 5 s"),
    (
        ask_oneself,
        "CallCycle",
        "not_sent",
        0,
        "narcissus@n",
        5,
        "it waits for this very request itself, through narcissus@n → narcissus@n",
    ),
    (ask_stopping, "WorkerStopped", "maybe_handled", 0, "quitter@n", 5, "the worker ended before it replied"),
    (ask_leaving, "NodeDown", "not_sent", 0, "echo@n", 5, "node 'n' is stopping"),
    (
        ask_mailbox,
        "WorkerNotFound",
        "not_sent",
        0,
        "inbox@n",
        5,
        "'inbox' on node 'n' is a mailbox, which cannot reply. Use send_message",
    ),
]


@pytest.mark.parametrize(
    ("ask", "kind", "outcome", "elapsed", "whom", "timeout", "why"), ERRORS, ids=[row[0].__name__ for row in ERRORS]
)
async def test_every_request_without_a_reply_says_timeout_and_why_and_what_is_known(
    node: Node,
    autojump_clock: MockClock,
    ask: Callable[[Node], Awaitable[object]],
    kind: str,
    outcome: str,
    elapsed: float,
    whom: str,
    timeout: float,
    why: str,
) -> None:
    with pytest.raises(RuntimeError) as caught:
        await ask(node)

    error = caught.value
    assert isinstance(error, NoReply)
    assert type(error).__name__ == kind
    assert str(error) == f"no reply from '{whom}' before timeout={timeout}s: {why}"
    assert (error.outcome, f"{error.worker}@{error.node}") == (outcome, whom)
    assert error.elapsed == pytest.approx(elapsed)
    assert error.__suppress_context__ or error.__context__ is None


async def test_a_program_that_looks_for_timeout_takes_its_fallback_at_once(
    node: Node, autojump_clock: MockClock
) -> None:
    await node.start_worker("primary", Failing())
    await node.start_worker("fallback", Echo())
    started = trio.current_time()

    try:
        answer = await node.send_and_receive("primary", "x", timeout=5)
    except RuntimeError as error:
        if "timeout" not in str(error).lower():
            raise
        answer = await node.send_and_receive("fallback", "plan b")

    assert answer == "plan b"
    assert trio.current_time() == started


async def test_errors_of_calls_without_a_timeout_say_what_happened_without_the_word(
    node: Node, autojump_clock: MockClock
) -> None:
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: node.send_message("nobody", "x"),
        lambda: node.send("nobody", "x"),
        lambda: node.stop_worker("nobody"),
        lambda: node.send_message("x@other", "x"),
    ]
    for call in calls:
        with pytest.raises(NoReply) as caught:
            await call()
        assert "timeout" not in str(caught.value)


async def test_a_mailbox_s_errors_say_timeout_too(node: Node, autojump_clock: MockClock) -> None:
    mailbox = await node.create_mailbox("inbox")

    with pytest.raises(errors.DeadlineExceeded, match="nothing came to mailbox 'inbox@n' before timeout=2s") as caught:
        await mailbox.receive(timeout=2)
    mailbox.close()
    with pytest.raises(errors.WorkerStopped, match=r"'inbox@n' is closed.*timeout"):
        await mailbox.receive()

    assert caught.value.elapsed == pytest.approx(2)


# ---- WorkerFailed: the far exception as text


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


class Raising:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def handle_message(self, context: Context, message: str) -> None:
        raise self.error


async def test_a_worker_s_exception_is_carried_as_text_and_never_as_an_object(
    node: Node, autojump_clock: MockClock
) -> None:
    original = KeyError("coffee")
    await node.start_worker("raising", Raising(original))

    with pytest.raises(WorkerFailed) as caught:
        await node.send_and_receive("raising", "x")

    error = caught.value
    assert (error.remote_type, error.remote_message) == ("KeyError", "'coffee'")
    assert error.remote_traceback.startswith("Traceback (most recent call last):\n")
    assert "raise self.error" in error.remote_traceback
    assert error.remote_traceback.endswith("KeyError: 'coffee'\n")
    assert all(value is not original for value in vars(error).values())
    assert pickle.dumps(vars(error))


async def test_an_exception_without_a_text_harms_nobody(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("a", Raising(Unprintable()))
    await node.start_worker("b", Raising(ValueError()))

    with pytest.raises(WorkerFailed, match="raised Unprintable: <its text cannot be had>"):
        await node.send_and_receive("a", "x")
    with pytest.raises(WorkerFailed, match=r"raised ValueError$"):
        await node.send_and_receive("b", "x")


async def test_a_worker_that_failed_goes_on(node: Node, autojump_clock: MockClock) -> None:
    await node.start_worker("failing", Failing())

    for text in ("one", "two"):
        with pytest.raises(WorkerFailed, match=text):
            await node.send_and_receive("failing", text)
