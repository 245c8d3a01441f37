"""A node's credentials, kept up to date by its zone's authority, over their link.

Two tasks: one renews the certificate at two thirds of its life; the other asks for news, and has new CAs and CRLs
adopted as they come, so that who was revoked is cut off here at once. When the authority is away both try again, and
the log says how long the certificate still lasts. Where it is the zone's directory knows; what is kept of that is for
when the directory does not. The calendar is the trust store's clock; pauses are Trio's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

import msgspec
import trio

from .. import logs
from .._sansio.backoff import Backoff
from .._sansio.enrollment import moved
from .._sansio.renewal import (
    LONG,
    WORKER,
    Look,
    News,
    Renew,
    Renewed,
    answered,
    pause_before_retry,
    renewal_due,
    text_of,
)
from ..abc import Seat
from ..errors import IdentityError, NoReply
from ..identity import Enrolled, new_key
from ..identity.enrolling import Connect, new_request
from ..identity.lifetimes import SKEW
from ..identity.pem import read_certificates, read_crls
from ..identity.returning import current_crl

_log = logs.get_logger("identity")
_ANSWER: Final = 10.0
_LOOK_AT_CLOCK: Final = 60.0
"""Seconds after which the calendar is looked at again, for machines sleep and clocks are set."""
_SPREAD: Final = 2.0
"""Seconds over which nodes spread out that all are to renew now."""
_WHAT: Final = "the authority's answer"


class _Denied(Exception):
    """The authority has refused, and says why."""


_FAILURES = (NoReply, IdentityError, OSError, msgspec.MsgspecError, _Denied)


class Renewal:
    """Keeps one node's credentials up to date.

    Args:
        enrolled: The node, and where its authority is.
        seat: What it asks by.
        chance: So that nodes that were started together do not come together.
        whereabouts: Returns where the zone's directory knows a node to listen; empty for nowhere.
        connect: Opens a stream to a host and port.
    """

    def __init__(
        self,
        enrolled: Enrolled,
        seat: Seat,
        chance: Random,
        whereabouts: Callable[[str], str],
        connect: Connect = trio.open_tcp_stream,
    ) -> None:
        self._credentials = enrolled.credentials
        self._enrolled = enrolled
        self._seat = seat
        self._chance = chance
        self._whereabouts = whereabouts
        self._connect = connect
        self._backoff = Backoff(0.2, 5.0)
        self._stamp = ""
        self._is_wanted = trio.Event()
        self._look = trio.CancelScope()
        self._saving = trio.Lock()

    async def run(self) -> None:
        """Do so for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._keep)

    # --- the certificate

    async def _keep(self) -> None:
        failures = 0
        while True:
            if not failures:
                await self._until_due()
            try:
                await self._renew()
            except _FAILURES as error:
                failures += 1
                await self._pause(failures, error)
            else:
                failures = 0

    async def _until_due(self) -> None:
        own = self._credentials
        begun = (own.certificate.not_valid_before_utc + SKEW).timestamp()
        due = renewal_due(begun, own.not_after.timestamp(), self._chance.random())
        while (left := due - self._now()) > 0:
            with trio.move_on_after(min(left, _LOOK_AT_CLOCK)):
                await self._is_wanted.wait()
                await trio.sleep(self._chance.random() * _SPREAD)
                break
        self._is_wanted = trio.Event()

    async def _renew(self) -> None:
        key = new_key()
        answer = await self._ask(Renew(new_request(key)), _ANSWER)
        if not isinstance(answer, Renewed):
            raise _Denied("it answered something else than was asked")
        certificate = read_certificates(answer.certificate.encode(), _WHAT)[0]
        ca, crl = read_certificates(answer.ca.encode(), _WHAT), read_crls(answer.crl.encode(), _WHAT)
        self._credentials.replace(key=key, certificate=certificate, ca=ca, crl=crl)
        self._look.cancel()  # so that the authority learns at once which certificate is shown now
        await self._save()

    async def _pause(self, failures: int, error: Exception) -> None:
        left = self._credentials.not_after.timestamp() - self._now()
        pause = pause_before_retry(failures, left)
        if left > 0:
            _log.warning("certificate not renewed yet", lasts=_span(left), retry_in=pause, reason=error)
        else:
            _log.error("certificate has ended; a new ticket makes this node one of the zone again", reason=error)
        await trio.sleep(pause)

    # --- what is trusted

    async def _follow(self) -> None:
        failures = 0
        while True:
            with trio.CancelScope() as self._look:
                try:
                    serial = f"{self._credentials.certificate.serial_number:x}"
                    news = await self._ask(Look(self._stamp, serial), LONG + _ANSWER)
                    if isinstance(news, News) and news.stamp != self._stamp:
                        await self._adopt(news)
                except _FAILURES as error:
                    failures += 1
                    if failures == 3:  # not for an authority that is started anew
                        _log.warning("the zone's authority is away: who it revokes is not known here", reason=error)
                    await trio.sleep(self._backoff.delay(failures))
                    await self._catch_up()
                else:
                    if failures >= 3:
                        _log.info("the zone's authority is back")
                    failures = 0

    async def _adopt(self, news: News) -> None:
        ca, crl = read_certificates(news.ca.encode(), _WHAT), read_crls(news.crl.encode(), _WHAT)
        self._credentials.replace(ca=ca, crl=crl)
        self._stamp = news.stamp
        if news.issuer != self._credentials.issuer:
            self._is_wanted.set()
        await self._save()

    async def _catch_up(self) -> None:
        """Ask in public for a list that this node has slept through: without it, it believes not even the authority."""
        trust = self._credentials.trust
        if not trust.is_outdated:
            return
        try:
            crl = await current_crl(self._enrolled.place, trust, self._connect)
            self._credentials.replace(crl=crl)
        except (NoReply, IdentityError) as error:
            _log.warning("what was revoked is not known here, so nobody is believed", reason=error)
        else:
            await self._save()

    # --- within

    async def _ask(self, question: Renew | Look, timeout: float) -> Renewed | News:
        place = self._enrolled.place
        address = self._whereabouts(place.authority) or place.authority_address
        self._seat.introduce(place.authority, address)  # each time: a way that failed is forgotten
        answer = answered.decode(await self._seat.ask(f"{WORKER}@{place.authority}", text_of(question), timeout))
        found = self._whereabouts(place.authority)  # it may have moved while it thought
        if found not in ("", place.authority_address):
            _log.info("the zone's authority has moved", before=place.authority_address, now=found)
            self._enrolled = replace(self._enrolled, place=moved(place, found))
            await self._save()
        if isinstance(answer, (Renewed, News)):
            return answer
        raise _Denied(answer.why)

    async def _save(self) -> None:
        if self._enrolled.folder is None:
            return
        # A failure to save is no failure to renew: what is in use is new, and the next one is saved again.
        async with self._saving:
            with trio.CancelScope(shield=True):
                try:
                    await trio.to_thread.run_sync(self._enrolled.save)
                except (OSError, IdentityError) as error:
                    _log.error("credentials not saved; a restart would need a ticket once they end", reason=error)

    def _now(self) -> float:
        return self._credentials.trust.clock().timestamp()


def _span(seconds: float) -> str:
    """Return a span of time for people."""
    if seconds >= 7200:
        return f"{seconds / 3600:.0f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
