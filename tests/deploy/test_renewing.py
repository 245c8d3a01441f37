"""Certificates are renewed in time, also when the machine has slept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

from autonomy._deploy.renewing import keep_renewing

BEGIN = datetime(2026, 11, 27, 18, tzinfo=UTC)


class Machine:
    """A machine that may sleep: its calendar goes on, Trio's clock does not."""

    def __init__(self) -> None:
        self.began = 0.0
        self.slept = timedelta()
        self.renewals: list[datetime] = []
        self.is_disk_full = False

    def now(self) -> datetime:
        return BEGIN + self.slept + timedelta(seconds=trio.current_time() - self.began)

    async def renew(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_disk_full:
            raise OSError(28, "No space left on device")
        self.renewals.append(self.now())


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    """A machine on which certificates were issued just now."""
    machine = Machine()
    machine.began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_renewing, machine.renew, machine.now)
        yield machine
        nursery.cancel_scope.cancel()


async def test_certificates_are_renewed_every_four_hours(autojump_clock: MockClock, machine: Machine) -> None:
    await trio.sleep(12 * 3600 + 300)

    hours = [(each - BEGIN).total_seconds() / 3600 for each in machine.renewals]
    assert hours == pytest.approx([4, 8, 12], abs=0.1)


async def test_they_are_renewed_within_a_minute_when_the_machine_has_slept_for_days(
    autojump_clock: MockClock, machine: Machine
) -> None:
    await trio.sleep(1800)
    machine.slept = timedelta(days=3)
    woken = machine.now()
    await trio.sleep(61)

    assert len(machine.renewals) == 1
    assert machine.renewals[0] - woken <= timedelta(minutes=1)


async def test_they_are_renewed_when_the_clock_was_set_back(autojump_clock: MockClock, machine: Machine) -> None:
    await trio.sleep(1)
    machine.slept = -timedelta(days=1)
    await trio.sleep(61)

    assert len(machine.renewals) == 1


async def test_what_fails_is_tried_again_in_a_minute(autojump_clock: MockClock, machine: Machine) -> None:
    machine.is_disk_full = True
    await trio.sleep(4 * 3600 + 300)
    machine.is_disk_full = False
    await trio.sleep(61)

    assert len(machine.renewals) == 1
