"""A node has its certificate renewed by its authority, for days: in virtual time, with the zone's own CA."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
import trio
from cryptography.hazmat.primitives.serialization import Encoding
from trio.testing import MockClock, memory_stream_pair

from autonomy._sansio.enrollment import Place
from autonomy._sansio.renewal import LONG, News, Refused, Renew, Renewed, asked, text_of
from autonomy._zone.renewal import Renewal
from autonomy.errors import IdentityError, NodeDown
from autonomy.identity import Credentials, Enrolled, TrustStore, ZoneAuthority, enrolled_in, new_key
from autonomy.identity.admitting import Admission
from autonomy.identity.enrolling import read_request
from autonomy.identity.pem import write_certificates, write_crls
from autonomy.identity.tickets import TicketBook

BEGIN = datetime(2031, 4, 5, tzinfo=UTC)
DAY = 24 * 3600.0
NAME = "local-shop-runner-1"
PLACE = Place(
    name=NAME,
    zone="shop",
    cluster="local",
    directory="embedded://local-shop-authority@10.0.0.1:7400",
    authority="local-shop-authority",
    authority_address="wss://10.0.0.1:7400",
    enrollment="10.0.0.1:7401",
)


def calendar() -> datetime:
    return BEGIN + timedelta(seconds=trio.current_time())


class Authority:
    """Answers as the authority's worker does, by the zone's own CA. It can be away.

    Attributes:
        renewed: When certificates were issued.
    """

    def __init__(self, folder: Path) -> None:
        self.now: Callable[[], datetime] = lambda: BEGIN
        self.ca = ZoneAuthority.create(folder, "shop", clock=lambda: self.now())
        self._folder = folder
        self._seen: object = None
        self._stamped = ""
        self.is_away = False
        self.address = "wss://10.0.0.1:7400"
        self.introduced: set[tuple[str, str]] = set()
        self._dialled = ""
        self.renewed: list[float] = []
        self.tried: list[float] = []

    name = incarnation = zone = ""

    def introduce(self, name: str, address: str) -> None:
        self.introduced.add((name, address))
        self._dialled = address

    async def identify(self, address: str, timeout: float) -> str:
        raise NotImplementedError

    def when_down(self, tell: Callable[[str], None]) -> None:
        raise NotImplementedError

    async def serve(self, name: str, worker: object) -> None:
        raise NotImplementedError

    async def ask(self, address: str, message: str, timeout: float) -> str:
        question = asked.decode(message)
        if isinstance(question, Renew):
            self.tried.append(trio.current_time())
        if self.is_away or self._dialled != self.address:
            await trio.sleep(1)
            raise NodeDown("the authority is away")
        if isinstance(question, Renew):
            self.ca.sign_crl()
            try:
                leaf = self.ca.issue(NAME, read_request(question.request))
            except IdentityError as error:
                return text_of(Refused(str(error)))
            self.renewed.append(trio.current_time())
            return text_of(Renewed(write_certificates([leaf]).decode(), *self._trusted()))
        if question.stamp == self._stamp():
            await trio.sleep(LONG)
        return text_of(News(self._stamp(), *self._trusted(), self.ca.issuer))

    def _stamp(self) -> str:
        files = [(self._folder / name).stat() for name in ("ca.crt", "ca.crl", "serials.log")]
        state = [(each.st_ino, each.st_size) for each in files]
        if state != self._seen:
            self._seen = state
            self._stamped = f"{hash((*self._trusted(), self.ca.issuer)) % 2**64:x}"
        return self._stamped

    def _trusted(self) -> tuple[str, str]:
        return write_certificates(self.ca.ca).decode(), write_crls(self.ca.crl).decode()


pytestmark = pytest.mark.slow


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "zone")


def enrolled_by(authority: Authority, folder: Path | None = None) -> Enrolled:
    key = new_key()
    leaf = authority.ca.issue(NAME, key.public_key())
    authority.now = calendar
    trust = TrustStore("shop", ca=authority.ca.ca, crl=authority.ca.crl, clock=calendar)
    return Enrolled(Credentials(key, leaf, trust), PLACE, folder)


def renewal(authority: Authority, enrolled: Enrolled, directory: dict[str, str] | None = None) -> Renewal:
    known = {} if directory is None else directory
    return Renewal(enrolled, authority, Random(7), lambda name: known.get(name, ""))


async def test_a_certificate_is_renewed_at_two_thirds_of_its_life_day_after_day(
    authority: Authority, autojump_clock: MockClock
) -> None:
    enrolled = enrolled_by(authority)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renewal(authority, enrolled).run)

        await trio.sleep(2 * DAY)
        nursery.cancel_scope.cancel()

    lives = [after - before for before, after in zip([0.0, *authority.renewed], authority.renewed, strict=False)]
    assert len(lives) >= 2
    assert all(0.59 * DAY < life < 0.74 * DAY for life in lives)
    assert len({round(life) for life in lives}) == len(lives)  # no two alike: nodes spread out
    assert enrolled.credentials.not_after > calendar()
    assert authority.introduced == {("local-shop-authority", "wss://10.0.0.1:7400")}


async def test_while_the_authority_is_away_pauses_grow_and_the_log_says_what_is_left(
    authority: Authority, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "autonomy")
    enrolled = enrolled_by(authority)
    authority.is_away = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renewal(authority, enrolled).run)

        await trio.sleep(0.9 * DAY)
        tried = list(authority.tried)
        authority.is_away = False
        await trio.sleep(600)
        nursery.cancel_scope.cancel()

    pauses = [after - before for before, after in itertools.pairwise(tried)]
    assert all(after > before - 0.01 for before, after in itertools.pairwise(pauses))
    assert (pauses[0], pauses[-1]) == pytest.approx((2, 301))
    assert len(authority.renewed) == 1
    lines = [record.getMessage() for record in caplog.records]
    late = [line for line in lines if "certificate not renewed yet" in line]
    assert re.search(r'lasts="[789] h" retry_in=1 ', late[0])
    assert 'lasts="2 h" retry_in=300' in late[-1]
    assert "the authority is away" in late[-1]
    assert any("the zone's authority is back" in line for line in lines)


async def test_who_is_barred_is_told_why_and_whom_it_trusts_goes_on(
    authority: Authority, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    enrolled = enrolled_by(authority)
    authority.ca.bar(NAME)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renewal(authority, enrolled).run)

        await trio.sleep(0.8 * DAY)
        nursery.cancel_scope.cancel()

    assert not authority.renewed
    assert "is barred from zone 'shop'" in caplog.text


async def test_a_new_crl_is_heeded_within_a_long_poll(authority: Authority, autojump_clock: MockClock) -> None:
    enrolled = enrolled_by(authority)
    other = authority.ca.issue("local-shop-runner-2", new_key().public_key())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renewal(authority, enrolled).run)
        await trio.sleep(10)

        authority.ca.revoke("local-shop-runner-2")
        await trio.sleep(LONG)
        nursery.cancel_scope.cancel()

    assert [entry.serial_number for crl in enrolled.credentials.trust.crl for entry in crl] == [other.serial_number]


async def test_when_another_ca_issues_a_node_renews_at_once(authority: Authority, autojump_clock: MockClock) -> None:
    enrolled = enrolled_by(authority)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renewal(authority, enrolled).run)
        await trio.sleep(10)
        authority.ca.roll_over()
        await trio.sleep(2 * LONG)
        before = len(authority.renewed)

        authority.ca.switch_over()
        await trio.sleep(2 * LONG)
        by_new_ca = enrolled.credentials.issuer == authority.ca.issuer
        authority.ca.retire()
        await trio.sleep(2 * LONG)
        nursery.cancel_scope.cancel()

    assert before == 0
    assert by_new_ca
    assert len(authority.renewed) == 1
    assert enrolled.credentials.trust.ca == authority.ca.ca


# ---- an authority that has moved


async def test_an_authority_that_has_moved_is_found_where_the_directory_knows_it_and_that_is_kept(
    authority: Authority, autojump_clock: MockClock, tmp_path: Path
) -> None:
    folder, directory = tmp_path / "node", dict[str, str]()
    enrolled = enrolled_by(authority, folder)
    enrolled.save()
    authority.address = "wss://10.0.0.2:7400"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renewal(authority, enrolled, directory).run)
        await trio.sleep(60)
        before = enrolled_in(folder, clock=calendar)

        directory["local-shop-authority"] = "wss://10.0.0.2:7400"
        await trio.sleep(DAY)
        nursery.cancel_scope.cancel()

    after = enrolled_in(folder, clock=calendar)
    assert before is not None
    assert after is not None
    assert before.place.authority_address == "wss://10.0.0.1:7400"
    assert after.place.authority_address == "wss://10.0.0.2:7400"
    assert after.place.enrollment == "10.0.0.2:7401"
    assert after.place.directory == "embedded://local-shop-authority@10.0.0.2:7400"
    assert authority.renewed


async def test_once_the_directory_knows_it_no_more_an_authority_is_sought_where_it_answered_last(
    authority: Authority, autojump_clock: MockClock
) -> None:
    enrolled, directory = enrolled_by(authority), {"local-shop-authority": "wss://10.0.0.2:7400"}
    authority.address = "wss://10.0.0.2:7400"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renewal(authority, enrolled, directory).run)
        await trio.sleep(60)

        directory.clear()
        await trio.sleep(DAY)
        nursery.cancel_scope.cancel()

    assert authority.renewed
    assert authority.introduced == {("local-shop-authority", "wss://10.0.0.2:7400")}


async def test_an_address_at_which_nobody_answered_is_not_kept(authority: Authority, autojump_clock: MockClock) -> None:
    enrolled, directory = enrolled_by(authority), {"local-shop-authority": "wss://10.0.0.9:1"}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(renewal(authority, enrolled, directory).run)
        await trio.sleep(60)

        directory.clear()
        await trio.sleep(DAY)
        nursery.cancel_scope.cancel()

    assert authority.renewed


# ---- a machine that has slept


async def test_a_machine_that_slept_for_twenty_hours_asks_in_public_for_the_list_it_has_missed(
    authority: Authority, mock_clock: MockClock, tmp_path: Path
) -> None:
    authority.ca.sign_crl()
    authority.now = lambda: BEGIN + timedelta(hours=4)
    key = new_key()
    leaf = authority.ca.issue(NAME, key.public_key())
    clock = lambda: BEGIN + timedelta(hours=24.5)  # noqa: E731
    trust = TrustStore("shop", ca=authority.ca.ca, crl=authority.ca.crl, clock=lambda: BEGIN + timedelta(hours=5))
    enrolled = Enrolled(Credentials(key, leaf, trust), PLACE, tmp_path / "node")
    trust.clock = clock
    authority.now = clock
    authority.ca.sign_crl()
    shown = authority.ca.credentials("local-shop-authority")
    admission = Admission(authority.ca, TicketBook(tmp_path / "zone", clock), shown, lambda name: PLACE)
    authority.is_away = True  # as it is for whom nobody is believed
    mock_clock.rate = 100
    async with trio.open_nursery() as nursery:

        async def connect(host: str, port: int) -> trio.abc.Stream:
            assert (host, port) == ("10.0.0.1", 7401)
            here, there = memory_stream_pair()
            nursery.start_soon(meet, there)
            return here

        async def meet(stream: trio.abc.Stream) -> None:
            with suppress(trio.BrokenResourceError):
                await admission.meet(stream, "192.0.2.1")

        nursery.start_soon(Renewal(enrolled, authority, Random(7), lambda name: "", connect).run)
        with trio.fail_after(1000):
            while trust.is_outdated:  # noqa: ASYNC110  # of a renewal
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()

    assert trust.crl == authority.ca.crl
    assert trust.verify(shown.certificate.public_bytes(Encoding.DER)).name == "local-shop-authority"
