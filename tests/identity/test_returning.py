"""A machine that was away for hours: whether it comes back by itself, and whom it believes on the way."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from autonomy.errors import IdentityError, Unreachable
from autonomy.identity import Enrolled, ZoneAuthority, catch_up, enrolled_in
from autonomy.identity.admitting import Admission

from .desk import AUTHORITY, Desk, place_of
from .forge import Clock, der

NAME = "local-shop-runner-1"


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Desk:
    return Desk(tmp_path / "zone", clock)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "node"


@asynccontextmanager
async def away(desk: Desk, folder: Path, *, hours: float) -> AsyncGenerator[None]:
    """A machine joins with a list that is four hours old, and is off for some hours; the authority goes on."""
    async with desk.open():
        desk.clock.advance(hours=4)
        await desk.enroll(desk.lend(), folder=folder)
        desk.clock.advance(hours=hours)
        desk.authority.sign_crl()
        desk.credentials.replace(crl=desk.authority.crl)
        desk.credentials = desk.authority.credentials(AUTHORITY)
        desk.admission = Admission(desk.authority, desk.book, desk.credentials, place_of)
        yield


async def back(desk: Desk, folder: Path, timeout: float = 30.0) -> Enrolled:
    found = await catch_up(folder, clock=desk.clock, connect=desk.connect, timeout=timeout)
    assert found is not None
    return found


async def test_a_machine_that_was_off_for_twenty_hours_comes_back_by_itself(desk: Desk, folder: Path) -> None:
    async with away(desk, folder, hours=20.5):
        with pytest.raises(IdentityError, match="get the zone's current CRL"):
            enrolled_in(folder, clock=desk.clock)

        found = await back(desk, folder)

    kept = enrolled_in(folder, clock=desk.clock)
    assert found.credentials.name == NAME
    assert found.credentials.trust.verify(der(desk.credentials.certificate)).name == AUTHORITY
    assert kept is not None
    assert kept.credentials.trust.crl == desk.authority.crl


async def test_a_machine_that_was_off_for_thirty_hours_needs_a_new_ticket(desk: Desk, folder: Path) -> None:
    async with away(desk, folder, hours=30):
        met = desk.met
        with pytest.raises(IdentityError, match="expired") as caught:
            await back(desk, folder)

    assert caught.value.reason == "expired"
    assert desk.met == met  # nobody was asked


async def test_a_machine_whose_list_is_good_asks_nobody(desk: Desk, folder: Path) -> None:
    async with away(desk, folder, hours=10):
        met = desk.met
        found = await back(desk, folder)

    assert found.credentials.name == NAME
    assert desk.met == met


async def test_a_machine_that_was_revoked_meanwhile_does_not_come_back(desk: Desk, folder: Path) -> None:
    async with away(desk, folder, hours=20.5):
        desk.authority.revoke(NAME)
        before = _files(folder)
        with pytest.raises(IdentityError) as caught:
            await back(desk, folder)

    assert caught.value.reason == "revoked"
    assert _files(folder) == before


def _files(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


async def test_another_zone_of_the_same_name_is_not_believed(desk: Desk, folder: Path, tmp_path: Path) -> None:
    async with away(desk, folder, hours=20.5):
        other = ZoneAuthority.create(tmp_path / "other", "shop", clock=desk.clock)
        shown = other.credentials(AUTHORITY)
        desk.admission = Admission(other, desk.book, shown, place_of)

        with pytest.raises(IdentityError) as caught:
            await back(desk, folder)

    assert caught.value.reason in ("untrusted", "revocation_unknown")


async def test_a_node_that_shows_the_list_is_not_taken_for_the_authority(desk: Desk, folder: Path) -> None:
    async with away(desk, folder, hours=20.5):
        node = desk.authority.credentials("local-shop-runner-2")
        desk.admission = Admission(desk.authority, desk.book, node, place_of)

        with pytest.raises(IdentityError, match="the certificate is that of 'local-shop-runner-2'") as caught:
            await back(desk, folder)

    assert caught.value.reason == "name"


async def test_a_list_of_today_with_a_lower_number_is_not_believed(desk: Desk, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(desk.folder, copy)
    for _ in range(5):
        desk.authority.sign_crl()
    async with away(desk, folder, hours=20.5):
        restored = ZoneAuthority(copy, clock=desk.clock)
        restored.sign_crl()
        shown = restored.credentials(AUTHORITY)
        desk.admission = Admission(restored, desk.book, shown, place_of)

        with pytest.raises(IdentityError, match="an older one would bring back what was revoked since"):
            await back(desk, folder)


async def test_while_the_authority_is_away_it_is_asked_again_until_the_time_is_up(
    desk: Desk, folder: Path, mock_clock: MockClock
) -> None:
    tried: list[float] = []

    async def refuse(host: str, port: int) -> trio.abc.Stream:
        tried.append(trio.current_time())
        raise ConnectionRefusedError(111, "Connection refused")

    async with away(desk, folder, hours=20.5):
        mock_clock.autojump_threshold = 0
        began = trio.current_time()
        with pytest.raises(Unreachable, match=r"could not be asked at 10.0.0.1:7401 what was revoked: within 30 s"):
            await catch_up(folder, clock=desk.clock, connect=refuse)

        assert trio.current_time() - began == pytest.approx(30)
    assert len(tried) > 5
