"""The laws of `machine` hold for random programs, and each planted bug breaks one of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.stateful import run_state_machine_as_test

from autonomy import Context
from autonomy._actors.deadlines import Deadlines
from autonomy._actors.process import Process
from autonomy._actors.queue import Queue
from autonomy._actors.replies import Replies, Slot
from autonomy._sansio.envelope import Envelope
from tests.machine import NodeMachine

STEPS = 50


def run(examples: int, **more: Any) -> None:
    """Run so many random programs of `STEPS` steps each."""
    chosen = settings(
        max_examples=examples, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck), **more
    )
    run_state_machine_as_test(NodeMachine, settings=chosen)


@pytest.mark.slow
def test_the_laws_of_a_node_hold_for_random_programs() -> None:
    run(examples=500)


@pytest.mark.soak
def test_the_laws_of_a_node_hold_for_a_million_steps() -> None:
    steps = int(os.environ.get("AUTONOMY_MACHINE_STEPS", "1000000"))
    run(examples=steps // STEPS, database=InMemoryExampleDatabase())
    print(f"{steps} steps, 0 violations")  # noqa: T201  # the figure that the soak is for


def takes_newest_first(patch: pytest.MonkeyPatch) -> None:
    close = Queue.__init__

    def broken(self: Queue, capacity: int) -> None:
        close(self, capacity)
        take = self.take

        def newest() -> Envelope:
            taken = [take() for _ in range(self.queued)]
            for envelope in taken[:-1]:
                self.append(envelope)
            return taken[-1]

        self.take = newest

    patch.setattr(Queue, "__init__", broken)


def handles_twice(patch: pytest.MonkeyPatch) -> None:
    plain = Process._handler_of

    def broken(self: Process, worker: Any) -> Callable[[Any, str], Any]:
        handle = plain(self, worker)

        async def twice(context: Context, message: str) -> None:
            await handle(context, message)
            await handle(context, message)

        return twice

    patch.setattr(Process, "_handler_of", broken)


def handles_two_at_a_time(patch: pytest.MonkeyPatch) -> None:
    plain = Process._handler_of

    def broken(self: Process, worker: Any) -> Callable[[Any, str], Any]:
        handle = plain(self, worker)

        async def soon(context: Context, message: str) -> None:
            if not message.endswith("sleep"):
                await handle(context, message)
                return

            async def run_later() -> None:
                await handle(context, message)

            self.runtime.node._nursery.start_soon(run_later)  # type: ignore[attr-defined]

        return soon

    patch.setattr(Process, "_handler_of", broken)


def forgets_what_was_queued(patch: pytest.MonkeyPatch) -> None:
    plain = Queue.close

    def broken(self: Queue, reason: str) -> list[Envelope]:
        plain(self, reason)
        return []

    patch.setattr(Queue, "close", broken)


def does_not_withdraw(patch: pytest.MonkeyPatch) -> None:
    def stay(self: Slot) -> None:
        self._pending[self.id] = Slot(self._pending, self.id)

    patch.setattr(Slot, "withdraw", stay)


def mixes_up_replies(patch: pytest.MonkeyPatch) -> None:
    plain = Replies.accept

    def broken(self: Replies, answer: Envelope) -> None:
        if self.pending:
            answer.id = next(iter(self.pending))
        plain(self, answer)

    patch.setattr(Replies, "accept", broken)


def forgets_deadlines(patch: pytest.MonkeyPatch) -> None:
    def broken(self: Deadlines[Any], number: int, entry: Any, when: float) -> None:
        self.pending[number] = entry

    patch.setattr(Deadlines, "add", broken)


def retries_what_failed(patch: pytest.MonkeyPatch) -> None:
    plain = Process._handler_failed
    again: list[Envelope] = []

    def broken(self: Process, envelope: Envelope, error: Exception, *, answered: bool) -> None:
        plain(self, envelope, error, answered=answered)
        retried = envelope in again
        again.append(envelope)
        with suppress(trio.WouldBlock):
            if retried:
                return
            self.queue.put_nowait(envelope)

    patch.setattr(Process, "_handler_failed", broken)


def loses_a_message_now_and_then(patch: pytest.MonkeyPatch) -> None:
    plain = Queue.__init__

    def broken(self: Queue, capacity: int) -> None:
        plain(self, capacity)
        take = self.take

        def second() -> Envelope:
            envelope = take()
            if self.queued > 1:
                self.queued -= 1
                return take()
            return envelope

        self.take = second

    patch.setattr(Queue, "__init__", broken)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [
        takes_newest_first,
        handles_twice,
        handles_two_at_a_time,
        forgets_what_was_queued,
        does_not_withdraw,
        mixes_up_replies,
        forgets_deadlines,
        retries_what_failed,
        loses_a_message_now_and_then,
    ],
)
def test_a_planted_bug_breaks_a_law(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)

    with pytest.raises((AssertionError, BaseExceptionGroup, trio.TooSlowError)):
        run(examples=300, phases=[Phase.generate], database=None)
