"""Speaks to an etcd by its JSON gateway: one member of it after another, until one answers.

What the requests mean is `etcd.py`'s to say. Nothing that is written to a log or an error from here has a password, a
token or a key in it. Needs the extra `etcd`.
"""

from __future__ import annotations

import math
import ssl
import stat
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import httpx
import msgspec
import trio

from .._sansio import etcd_messages as messages
from .._sansio.directory_url import EtcdPlace
from .._sansio.etcd_messages import RangeAnswer, Trouble, TxnAnswer, WatchAnswer
from ..errors import DirectoryUnavailable
from .etcd_transport import EtcdTransport

T = TypeVar("T")
_ANSWER: Final = 5.0
"""Seconds for an answer, from whichever member."""
_CONNECT: Final = 2.0
_NEXT: Final = 2.0
"""Seconds for the answer of one member, where there are others to ask."""
_NOT_FOUND, _ABSENT, _UNAUTHENTICATED = 5, 14, 16
"""Codes of gRPC."""
_BUSY: Final = {1, 4, 8, 10, _ABSENT}
"""Codes that say: perhaps another member, or later."""


class Refused(Exception):
    """Etcd answers, and does not do it. Not a public error: whoever asks translates it.

    Attributes:
        is_not_found: Whether that is because a lease or key is not there.
    """

    def __init__(self, text: str, *, is_not_found: bool) -> None:
        super().__init__(text)
        self.is_not_found = is_not_found


class Compacted(Exception):
    """What was to be watched from is forgotten."""


class _Elsewhere(Exception):
    """This member does not answer as it should; another one may."""


def open_tls(place: EtcdPlace) -> ssl.SSLContext | None:
    """Return how to speak TLS to an etcd; None for not at all.

    Raises:
        ValueError: A file cannot be used; the text says which.
    """
    if not place.is_secured:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if place.ca is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(cafile=place.ca)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"the CAs of etcd, {place.ca!r}, cannot be used: {error}") from None
    _load_certificate(context, place)
    return context


def _load_certificate(context: ssl.SSLContext, place: EtcdPlace) -> None:
    if place.certificate is None or place.key is None:
        return
    check_unshared(place.key)
    try:
        context.load_cert_chain(place.certificate, place.key, password=lambda: b"")  # else it asks on the terminal
    except (OSError, ssl.SSLError) as error:
        raise ValueError(
            f"the certificate {place.certificate!r} and key {place.key!r} for etcd cannot be used: {error}"
        ) from None


def check_unshared(path: str) -> None:
    """Check that not everybody on this machine may read a file with a secret. Its group may: that is how secrets are
    mounted into containers.

    Raises:
        ValueError: It is not there, or they may.
    """
    try:
        mode = stat.S_IMODE(Path(path).stat().st_mode)
    except OSError as error:
        raise ValueError(f"{path!r} cannot be read: {error.strerror}") from None
    if mode & 0o007:
        raise ValueError(f"{path!r} has mode {mode:04o}, so everybody on this machine may use it: 'chmod 600 {path}'")


def read_password(path: str) -> str:
    """Return the password that a file holds, without the end of its line.

    Raises:
        ValueError: The file cannot be read, is empty, or everybody may read it.
    """
    check_unshared(path)
    try:
        password = Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path!r} cannot be read: {type(error).__name__}") from None
    if not password:
        raise ValueError(f"{path!r} is empty, and should hold a password")
    return password


class Gateway:
    """An etcd. One for each node that uses it, and many tasks may.

    Args:
        place: Where it is.
        tls: How to speak TLS to it, or None.
        lost: Called when etcd is in an older state than it was: it has lost everything, or what came last.
        transport: What carries the requests in place of TCP, for tests.

    Each verb raises DirectoryUnavailable if nobody answers in time, and `Refused` if somebody does with a no.
    """

    def __init__(
        self,
        place: EtcdPlace,
        tls: ssl.SSLContext | None,
        lost: Callable[[], object],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._place = place
        self._tls = tls
        self._lost = lost
        self._at = 0
        self._token: str | None = None
        self._revision = 0
        self._certificate_seen = _seen(place)
        self._transport = transport
        self._http = self._new_client()
        self._old: list[httpx.AsyncClient] = []
        self._asking: dict[trio.CancelScope, None] = {}

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self._transport or EtcdTransport(self._tls), trust_env=False)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Be there while the block runs."""
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                for client in (*self._old, self._http):
                    await client.aclose()

    def reconnect(self) -> None:
        """Ask by new connections from now on, also again what was asked by those there are: they lead nowhere now."""
        if self._transport is None:
            self._old.append(self._http)
            self._http = self._new_client()
        for asking in self._asking:
            asking.cancel()

    # --- verbs

    async def transact(self, body: dict[str, Any]) -> TxnAnswer:
        """Do a transaction. If nobody answers, it may have been done."""
        floor = self._revision
        answer = await self._call("/v3/kv/txn", body, TxnAnswer)
        self._heed(answer.header, floor)
        return answer

    async def read(self, fields: dict[str, str]) -> RangeAnswer:
        """Read what is in a range."""
        floor = self._revision
        answer = await self._call("/v3/kv/range", fields, RangeAnswer)
        self._heed(answer.header, floor)
        return answer

    async def grant(self, seconds: float) -> int:
        """Return a new lease."""
        answer = await self._call("/v3/lease/grant", {"TTL": str(math.ceil(seconds))}, messages.LeaseAnswer)
        return answer.lease

    async def keep_alive(self, lease: int) -> bool:
        """Prolong a lease; return whether there is such a lease."""
        answer = await self._call("/v3/lease/keepalive", {"ID": str(lease)}, messages.KeptAlive)
        return answer.result.seconds > 0

    async def revoke(self, lease: int) -> None:
        """End a lease, and with it all its keys; if there is no such lease, do nothing."""
        try:
            await self._call("/v3/lease/revoke", {"ID": str(lease)}, msgspec.Raw)
        except Refused as error:
            if not error.is_not_found:
                raise

    async def watch(self, fields: dict[str, str], revision: int, take: Callable[[WatchAnswer], bool]) -> None:
        """Hand what happens in a range from a revision on to `take`, until that says False or the stream ends.

        Raises:
            Compacted: What happened since is not known any more.
            DirectoryUnavailable: The stream did not come about, or broke.
        """
        request = {"create_request": fields | {"start_revision": str(revision), "progress_notify": True}}
        endpoint = self._endpoint
        try:
            async with self._by_this_connection():
                await self._stream(endpoint, request, take)
        except (_Elsewhere, httpx.HTTPError) as error:
            self._go_on_from(endpoint)
            raise DirectoryUnavailable(f"the watch at {endpoint} ended: {_reason(error)}") from error

    # --- requests

    @asynccontextmanager
    async def _by_this_connection(self) -> AsyncGenerator[None]:
        """Do what is in the block, unless `reconnect` is called meanwhile."""
        while self._old:
            await self._old.pop().aclose()
        with trio.CancelScope() as asking:
            self._asking[asking] = None
            try:
                yield
            finally:
                del self._asking[asking]
        if asking.cancelled_caught:
            raise _Elsewhere("this host has another address than when it was asked, or was cut off")

    @property
    def _endpoint(self) -> str:
        return self._place.endpoints[self._at]

    def _go_on_from(self, endpoint: str) -> None:
        """Ask another member next time, unless somebody else has found so already."""
        if endpoint == self._endpoint:
            self._at = (self._at + 1) % len(self._place.endpoints)
        seen = _seen(self._place)
        if self._tls is not None and seen != self._certificate_seen:  # it was renewed
            try:
                _load_certificate(self._tls, self._place)
            except ValueError:
                return  # half of it may be written yet: what is loaded goes on
            self._certificate_seen = seen

    def _heed(self, header: messages.Header, floor: int) -> None:
        """Notice that etcd is in an older state than when it was asked: it then answers from a new life."""
        if header.revision < floor <= self._revision:
            self._revision = header.revision
            self._lost()
        self._revision = max(self._revision, header.revision)

    async def _call(self, path: str, body: dict[str, Any], kind: type[T]) -> T:
        why = "no answer in time"
        with trio.move_on_after(_ANSWER):
            for _ in range(max(2, len(self._place.endpoints))):
                endpoint = self._endpoint
                try:
                    async with self._by_this_connection():
                        return await self._ask(endpoint, path, body, kind)
                except (_Elsewhere, httpx.HTTPError) as error:
                    why = f"{endpoint}: {_reason(error)}"
                    self._go_on_from(endpoint)
        raise DirectoryUnavailable(f"the zone's directory, etcd, does not answer: {why}")

    async def _ask(self, endpoint: str, path: str, body: dict[str, Any], kind: type[T]) -> T:
        read = _ANSWER if len(self._place.endpoints) == 1 else _NEXT
        headers = await self._headers(endpoint)
        response = await self._http.send(
            self._request(endpoint + path, body, headers, httpx.Timeout(read, connect=_CONNECT))
        )
        if response.status_code != 200 or response.content.startswith(b'{"error"'):  # the latter inside a success
            self._refuse(messages.trouble_of(response.content))
        try:
            answer: T = messages.decode(response.content, kind)
        except ValueError as error:
            raise _Elsewhere(f"it answered what nobody understands: {error}") from None
        return answer

    def _refuse(self, trouble: Trouble) -> NoReturn:
        """Raise what an answer that is no success comes to."""
        code, text = trouble.grpc_code or trouble.code, trouble.message or trouble.error
        if self._token is not None and (code == _UNAUTHENTICATED or "invalid auth token" in text or "is old" in text):
            self._token = None  # it has run out, or etcd was started anew: the next request brings another one
            raise _Elsewhere(text)
        if code in _BUSY:
            raise _Elsewhere(text)
        raise Refused(f"etcd refuses it: {text:.300}", is_not_found=code == _NOT_FOUND)

    @staticmethod
    def _request(url: str, body: dict[str, Any], headers: dict[str, str], timeout: httpx.Timeout) -> httpx.Request:
        content = msgspec.json.encode(body)
        host = url.partition("://")[2].partition("/")[0]
        headers = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(content))} | headers
        extensions = {"timeout": timeout.as_dict()}
        return httpx.Request("POST", url, headers=headers, stream=_Body(content), extensions=extensions)

    async def _headers(self, endpoint: str) -> dict[str, str]:
        if self._place.user is None or self._place.password_file is None:
            return {}
        if self._token is None:
            try:
                password = read_password(self._place.password_file)
            except ValueError as error:
                raise DirectoryUnavailable(f"the password for etcd: {error}") from None
            asked = {"name": self._place.user, "password": password}
            timeout = httpx.Timeout(_NEXT, connect=_CONNECT)
            response = await self._http.send(self._request(f"{endpoint}/v3/auth/authenticate", asked, {}, timeout))
            if response.status_code != 200:
                self._refuse(messages.trouble_of(response.content))
            self._token = messages.decode(response.content, messages.Token).token
        return {"Authorization": self._token or ""}

    async def _stream(self, endpoint: str, request: dict[str, Any], take: Callable[[WatchAnswer], bool]) -> None:
        # A member that has lost its leader ends the watch so, instead of keeping it silent.
        headers = await self._headers(endpoint) | {"Grpc-Metadata-hasleader": "true"}
        timeout = httpx.Timeout(_CONNECT, read=None)
        failure: Exception | None = None
        with trio.CancelScope() as scope:
            response = await self._http.send(
                self._request(f"{endpoint}/v3/watch", request, headers, timeout), stream=True
            )
            async with aclosing(response):
                if response.status_code != 200:
                    self._refuse(messages.trouble_of(await response.aread()))
                # Left by its own cancellation alone: the generators below end in good order then.
                async for line in response.aiter_lines():
                    if failure is not None or scope.cancel_called or not line:
                        continue
                    try:
                        if not take(self._heard(line)):
                            scope.cancel()
                    except (_Elsewhere, Compacted, Refused) as error:
                        failure = error
                        scope.cancel()
        if failure is not None:
            raise failure

    def _heard(self, line: str) -> WatchAnswer:
        """Return what a line of a watch says, if that is no end of it."""
        try:
            said: messages.WatchLine = messages.decode(line, messages.WatchLine)
        except ValueError as error:
            raise _Elsewhere(f"it sent what nobody understands: {error}") from None
        if said.result is None:
            self._refuse(said.error or Trouble(code=_ABSENT, error="an empty answer"))
        if said.result.compact_revision:
            raise Compacted
        if said.result.canceled:
            self._token = None  # for want of a right, if anything; the reason is only text
            raise _Elsewhere(said.result.cancel_reason or "etcd has ended it")
        return said.result


class _Body(httpx.AsyncByteStream):
    """What is sent. Unlike httpx's own it is no generator, which would be left lying about when a connection breaks."""

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        content, self._content = self._content, None
        if content is None:
            raise StopAsyncIteration
        return content


def _seen(place: EtcdPlace) -> tuple[tuple[int, int], ...]:
    """Return what changes when a node's certificate for etcd is written anew."""
    found = []
    for path in (place.certificate, place.key):
        try:
            state = Path(path).stat() if path is not None else None
        except OSError:
            state = None
        found.append((0, 0) if state is None else (state.st_ino, state.st_mtime_ns))
    return tuple(found)


def _reason(error: BaseException) -> str:
    """Return what went wrong: httpx says it of failed handshakes only in what its error came of."""
    cause: BaseException | None = error
    while cause is not None:
        if str(cause):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
