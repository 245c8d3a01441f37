"""The CA's folder as the running authority sees it: what is new there, and what is signed by it.

Whatever blocks is done in a thread, one thing at a time. Nothing here knows of nodes or links.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import trio

from .._deploy.renewing import keep_renewing
from .._sansio.renewal import News, Renewed
from ..errors import IdentityError
from ..identity import Credentials, TrustStore, ZoneAuthority, new_key
from ..identity.enrolling import read_request
from ..identity.pem import write_certificates, write_crls
from ..identity.roots import crl_number
from ..logs import get_logger

_log = get_logger("authority")
_LOOK_EVERY: Final = 0.1
_WATCHED: Final = ("ca.crt", "ca.crl", "serials.log")
T = TypeVar("T")


class Signing:
    """A CA that others work on too.

    Args:
        authority: The CA.
        folder: Where it is.
        lifetime: Of the certificates.
    """

    def __init__(self, authority: ZoneAuthority, folder: Path, lifetime: timedelta) -> None:
        self._authority = authority
        self._folder = folder
        self._lifetime = lifetime
        self._one = trio.Lock()
        self._seen: object = None
        self.news = News("", "", "", "")
        self.cas: tuple[str, ...] = ()
        self.crl = 0
        self._changed = trio.Event()

    async def issue(self, name: str, request: str) -> Renewed:
        """Sign a certificate for the node of that full name.

        Raises:
            IdentityError: The node is barred, or that is no request.
        """
        certificate = await self._do(partial(self._issue, name, request))
        return Renewed(certificate, self.news.ca, self.news.crl)

    def _issue(self, name: str, request: str) -> str:
        certificate = self._authority.issue(name, read_request(request), lifetime=self._lifetime)
        return write_certificates([certificate]).decode()

    async def own(self, name: str) -> Credentials:
        """Return new credentials for the authority's own node."""
        key = new_key()
        certificate = await self._do(partial(self._authority.issue, name, key.public_key(), lifetime=self._lifetime))
        ca, crl = await self._do(lambda: (self._authority.ca, self._authority.crl))
        return Credentials(key, certificate, TrustStore(self._authority.zone, ca=ca, crl=crl))

    async def renew_own(self, credentials: Credentials) -> None:
        """Give the authority's own node a new key and certificate."""
        key = new_key()
        issue = partial(self._authority.issue, credentials.name, key.public_key(), lifetime=self._lifetime)
        credentials.replace(key=key, certificate=await self._do(issue))

    async def sign_crls(self) -> None:
        """Sign new CRLs several times a day of the calendar, for ever."""

        async def sign() -> None:
            await self._do(self._authority.sign_crl)

        await keep_renewing(sign, self._authority.now)

    # --- what is new

    async def wait_news(self, stamp: str) -> News:
        """Return the news, once they are others than those of `stamp`."""
        while self.news.stamp == stamp:
            await self._changed.wait()
        return self.news

    async def look(self) -> bool:
        """Look at the folder; return whether what nodes must know has changed."""
        seen = [_identity(self._folder / name) for name in _WATCHED]
        if seen == self._seen:
            return False
        news, cas, crl = await self._do(self._read)
        self._seen = seen
        if news == self.news:
            return False
        self.news, self.cas, self.crl = news, cas, crl
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        return True

    async def watch(self, adopt: Callable[[], object]) -> None:
        """Look at the folder, again and again, and call `adopt` when something is new; for ever."""
        while True:
            try:
                if await self.look():
                    adopt()
            except (IdentityError, OSError) as error:
                _log.error("the authority's folder cannot be read", folder=self._folder, reason=error)
                await trio.sleep(1)
            await trio.sleep(_LOOK_EVERY)

    def _read(self) -> tuple[News, tuple[str, ...], int]:
        authority = self._authority
        ca, crl = write_certificates(authority.ca).decode(), write_crls(authority.crl).decode()
        issuer = authority.issuer
        stamp = hashlib.sha256("".join((ca, crl, issuer)).encode()).hexdigest()[:32]
        return News(stamp, ca, crl, issuer), authority.ca_ids, max(map(crl_number, authority.crl), default=0)

    async def _do(self, work: Callable[[], T]) -> T:
        async with self._one:
            return await trio.to_thread.run_sync(work)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        state = path.stat()
    except FileNotFoundError:
        return None
    return state.st_ino, state.st_mtime_ns, state.st_size
