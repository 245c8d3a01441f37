"""The authority's node: who it is, what runs on it, and for how long.

The rule of this file: it joins, and decides nothing. The CA is the folder's (`signing.py`), strangers are the desk's
(`desk.py`), nodes the worker's (`worker.py`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final

import trio

from .._deploy.authorities import EMBEDDED, AuthorityFolder, Running
from .._deploy.home import try_lock
from .._links.addresses import is_everywhere, parse_address, reached_at
from .._sansio.enrollment import Place, write_host_port
from .._sansio.members import ZoneInfo
from .._sansio.renewal import WORKER, renewal_due
from ..abc import Directory
from ..directory import EmbeddedDirectory, directory_at
from ..errors import DeployFailed, IdentityError
from ..identity import Credentials
from ..identity.admitting import Admission
from ..identity.lifetimes import LEAF_LIFETIME, SKEW
from ..identity.pem import read_certificates, read_crls
from ..identity.tickets import TicketBook
from ..logs import get_logger
from ..node import Node, open_node
from .desk import EnrollmentDesk
from .signing import Signing
from .worker import AuthorityWorker

_log = get_logger("authority")
_WRITE_EVERY: Final = 0.1


@dataclass(frozen=True, slots=True)
class AuthorityTerms:
    """Where an authority listens and is reached, and how long its certificates last.

    Attributes:
        listen: For nodes, ``wss://HOST:PORT``.
        address: Where nodes reach it, ``wss://HOST:PORT``; port 0 for the one it listens on. Empty if that is `listen`.
        enroll_listen: For machines with a ticket, ``HOST:PORT``; empty for the next port.
        enroll_address: Where these reach it, ``HOST:PORT``; empty for the host of `address`, and the port it has.
        lifetime: Of certificates.
    """

    listen: str
    address: str = ""
    enroll_listen: str = ""
    enroll_address: str = ""
    lifetime: timedelta = LEAF_LIFETIME


async def run_authority(place: AuthorityFolder, terms: AuthorityTerms, told: Callable[[Running], object]) -> None:
    """Be the authority of a zone, until cancelled.

    Args:
        place: Its folder.
        terms: Where it is reached.
        told: Called once, when it is up.

    Raises:
        DeployFailed: It runs already, or its directory needs an extra that is not installed.
        IdentityError: Its folder cannot be used.
        ValueError: An address that cannot be, or that nobody can reach; or its directory's URL names a file that cannot
            be used here.
        OSError: It cannot listen there.
    """
    check_reachable(terms)
    settings = place.settings
    lock = try_lock(place.running_lock)
    if lock is None:
        running = place.last_running
        where = "" if running is None else f" (process {running.pid}, at {running.address})"
        raise DeployFailed(f"the authority of zone {settings.zone!r} runs already{where}")
    try:
        await _Authority(place, terms).run(told)
    finally:
        os.close(lock)


class _Authority:
    def __init__(self, place: AuthorityFolder, terms: AuthorityTerms) -> None:
        self._place = place
        self._terms = terms
        self._settings = place.settings
        self._authority = place.open()
        self._signing = Signing(self._authority, place.folder, terms.lifetime)
        self._name = place.authority_name
        self._is_new = trio.Event()
        self._address = self._enrollment = ""

    async def run(self, told: Callable[[Running], object]) -> None:
        await trio.to_thread.run_sync(self._authority.sign_crl)
        credentials = await self._signing.own(self._name)
        await self._signing.look()
        async with self._open(credentials) as node, trio.open_nursery() as nursery:
            self._address = reached_at(self._terms.address, node.address or "")
            worker = AuthorityWorker(
                self._signing,
                nursery.start_soon,
                lambda: self._authority.now().timestamp(),
                lambda: self._is_new.set(),
                await trio.to_thread.run_sync(lambda: self._place.followers),
            )
            seat = node._seat()
            seat.when_down(worker.lose)
            await seat.serve(WORKER, worker)
            desk = EnrollmentDesk(self._admission(credentials))
            at = await nursery.start(desk.serve, self._terms.enroll_listen or _beside(self._terms.listen))
            self._enrollment = self._enroll_address(at)
            running = Running(pid=os.getpid(), address=self._address, enroll=self._enrollment)
            await trio.to_thread.run_sync(self._place.write, self._place.running_file, running)
            nursery.start_soon(self._signing.watch, partial(self._adopt, credentials))
            nursery.start_soon(self._signing.sign_crls)
            nursery.start_soon(self._renew_own, credentials)
            nursery.start_soon(self._keep_writing, worker)
            _log.info("authority is up", zone=self._settings.zone, address=running.address, enroll=running.enroll)
            told(running)

    def _open(self, credentials: Credentials) -> AbstractAsyncContextManager[Node]:
        settings = self._settings
        return open_node(
            credentials=credentials,
            listen=self._terms.listen,
            zone=ZoneInfo(settings.zone, settings.cluster, visible=False, address=self._terms.address),
            directory=self._directory(),
            rights=settings.rights,
        )

    def _directory(self) -> Directory:
        if self._settings.directory == EMBEDDED:  # its own node keeps it
            return EmbeddedDirectory(self._name)
        try:
            return directory_at(self._settings.directory)
        except ImportError as error:
            raise DeployFailed(str(error)) from None

    def _admission(self, credentials: Credentials) -> Admission:
        book = TicketBook(self._place.folder)
        return Admission(self._authority, book, credentials, self._place_of, self._terms.lifetime)

    def _place_of(self, short_name: str) -> Place:
        settings = self._place.settings  # as it is now: people change it
        host = self._address.removeprefix("wss://")
        directory = f"embedded://{self._name}@{host}" if settings.directory == EMBEDDED else settings.directory
        return Place(
            name=settings.name_of(short_name),
            zone=settings.zone,
            cluster=settings.cluster,
            directory=directory,
            authority=self._name,
            authority_address=self._address,
            enrollment=self._enrollment,
            rights=settings.rights,
            code=settings.code,
        )

    def _enroll_address(self, at: str) -> str:
        if self._terms.enroll_address:
            return self._terms.enroll_address
        host, _ = parse_address(self._address)
        return write_host_port(host, int(at.rpartition(":")[2]))

    # --- as long as it runs

    def _adopt(self, credentials: Credentials) -> None:
        """Believe what is new, so that links to who was revoked are cut here too."""
        news, what = self._signing.news, "the authority's folder"
        credentials.replace(ca=read_certificates(news.ca.encode(), what), crl=read_crls(news.crl.encode(), what))

    async def _renew_own(self, credentials: Credentials) -> None:
        """Keep the certificate of the authority's own node valid, and by the CA that issues."""
        while True:
            ends = credentials.not_after.timestamp()
            begun = (credentials.certificate.not_valid_before_utc + SKEW).timestamp()
            due = renewal_due(begun, ends, 0.5)
            while self._authority.now().timestamp() < due and credentials.issuer == self._signing.news.issuer:
                stamp = self._signing.news.stamp
                with trio.move_on_after(min(max(due - self._authority.now().timestamp(), 0.05), 60)):
                    await self._signing.wait_news(stamp)
            try:
                await self._signing.renew_own(credentials)
            except (IdentityError, OSError) as error:
                _log.error("own certificate not renewed; tried again", reason=error, ends=credentials.not_after)
                await trio.sleep(1)

    async def _keep_writing(self, worker: AuthorityWorker) -> None:
        """Write down what is known of the nodes, for commands to read."""
        while True:
            await self._is_new.wait()
            self._is_new = trio.Event()
            await trio.to_thread.run_sync(self._place.write, self._place.nodes_file, worker.followers)
            await trio.sleep(_WRITE_EVERY)


def _beside(listen: str) -> str:
    """Return where to listen for strangers: at the port after that for nodes, or at any if that is any."""
    host, port = parse_address(listen)
    return write_host_port(host, port + 1 if 0 < port < 65535 else 0)


def check_reachable(terms: AuthorityTerms) -> None:
    """Raise ValueError if nobody could reach an authority on these terms."""
    parse_address(terms.listen)
    if terms.address:
        parse_address(terms.address)
    if is_everywhere(terms.address or terms.listen):
        raise ValueError(f"nobody can reach {terms.address or terms.listen}: say where others can, --address HOST:PORT")
