"""What is recorded of calls: when, how they ended, and what is thought of those that failed."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from autonomy import Context, DeadlineExceeded, MailboxFull, Node, WorkerFailed, WorkerNotFound
from autonomy.testing import UNSEEN, History


def test_a_history_has_starts_and_ends_in_order_with_times_of_its_clock() -> None:
    times = iter([1.0, 2.0, 2.0, 5.0])
    history = History(clock=lambda: next(times))

    first = history.call("a", "write", 1)
    second = history.call("b", "read")
    second.ok(0)
    first.ok("ok")

    assert [(event.call, event.moment) for event in history.events] == [
        (first, "start"),
        (second, "start"),
        (second, "end"),
        (first, "end"),
    ]
    assert history.calls == [first, second]
    assert str(first) == "a: write(1) -> 'ok', 1.000 s to 5.000 s"
    assert str(second) == "b: read() -> 0, 2.000 s to 2.000 s"


def test_a_call_that_goes_on_is_of_unknown_outcome() -> None:
    call = History(clock=lambda: 3.0).call("a", "read")

    assert (call.ending, call.ended) == ("unknown", None)
    assert str(call) == "a: read() -> ?, from 3.000 s on"


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (WorkerNotFound("nobody", outcome="not_sent"), "never happened"),
        (MailboxFull("full", outcome="not_sent"), "never happened"),
        (DeadlineExceeded("late"), "unknown"),
        (WorkerFailed("raised halfway", outcome="handled"), "unknown"),
        (ValueError("anything"), "unknown"),
        (KeyboardInterrupt(), "unknown"),
    ],
)
def test_only_what_was_surely_not_sent_never_happened(error: BaseException, ending: str) -> None:
    call = History(clock=lambda: 0.0).call("a", "write", 1)

    call.failed(error)

    assert call.ending == ending


def test_a_call_ends_once() -> None:
    call = History(clock=lambda: 0.0).call("a", "write", 1)
    call.ok("ok")

    with pytest.raises(RuntimeError, match=r"has ended already: a: write\(1\) -> 'ok'"):
        call.failed(ValueError())

    assert (call.ending, call.result) == ("returned", "ok")


def test_a_result_that_nobody_saw_equals_everything() -> None:
    results: list[object] = [None, 0, "x", (), UNSEEN]

    assert all(result == UNSEEN for result in results)
    assert not any(result != UNSEEN for result in results)
    assert all(UNSEEN.__eq__(result) and not UNSEEN.__ne__(result) for result in results)
    assert UNSEEN in (None, 1)


class Register:
    """Answers reads and writes; fails on "fail" and never answers "hang"."""

    value = "0"

    async def handle_message(self, context: Context, message: str) -> None:
        if message == "hang":
            await trio.sleep_forever()
        if message == "fail":
            raise ValueError("no")
        if message != "read":
            self.value = message
        await context.reply(self.value)


async def test_an_operation_records_what_the_block_does(node: Node, autojump_clock: trio.testing.MockClock) -> None:
    history = History(clock=trio.current_time)
    await node.start_worker("register", Register())

    async with history.operation("a", "write", "5") as write:
        write.result = await node.send_and_receive("register", "5")
    with pytest.raises(DeadlineExceeded):
        async with history.operation("a", "read"):
            await node.send_and_receive("register", "hang", timeout=2)
    with pytest.raises(WorkerNotFound):
        async with history.operation("b", "read"):
            await node.send_and_receive("nobody", "read")
    with trio.move_on_after(1):
        async with history.operation("c", "read"):
            await trio.sleep_forever()

    assert [(call.client, call.ending, call.result) for call in history.calls] == [
        ("a", "returned", "5"),
        ("a", "unknown", None),
        ("b", "never happened", None),
        ("c", "unknown", None),
    ]
    assert [round((call.ended or 0) - call.started, 1) for call in history.calls] == [0, 2, 0, 1]


async def test_entering_an_operation_is_a_checkpoint_before_it_starts() -> None:
    history = History(clock=trio.current_time)

    with trio.testing.assert_checkpoints():
        async with history.operation("a", "read"):
            pass
    with trio.CancelScope() as scope:
        scope.cancel()
        async with history.operation("b", "read"):
            pass

    assert [call.client for call in history.calls] == ["a"]
