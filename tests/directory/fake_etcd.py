"""An etcd within the test's process, for virtual time: as much of the JSON gateway as the library asks for.

It passes the suite that a real one passes (`test_directories.py`), and is believed for that alone.
"""

from __future__ import annotations

import base64
import json
import math
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import trio

Json = dict[str, Any]
LATENCY = 0.001


@dataclass
class Kept:
    """What is at a key."""

    value: str
    created: int
    changed: int
    lease: int


class No(Exception):
    """What an etcd refuses."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class FakeEtcd:
    """The etcd.

    Attributes:
        is_away: Whether nobody answers.
        compacted: The revision before which everything is forgotten.
        asked: How often it was asked for each path.
    """

    def __init__(self) -> None:
        self._keys: dict[bytes, Kept] = {}
        self._sorted: list[bytes] = []
        self._leases: dict[int, tuple[int, float]] = {}
        self._events: list[tuple[int, bytes, Json]] = []
        self._changed = trio.lowlevel.ParkingLot()
        self.revision = 1
        self.compacted = 0
        self.is_away = False
        self.asked: dict[str, int] = {}

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what brings requests here."""
        return _Transport(self)

    def go_away(self) -> None:
        """Answer nobody any more, and end all watches; leases stand still, as when an etcd is killed."""
        self.is_away = True
        self._changed.unpark_all()

    def come_back(self) -> None:
        """Answer again; leases begin anew, as an etcd that was started lets them."""
        self.is_away = False
        now = trio.current_time()
        self._leases = {lease: (ttl, now + ttl) for lease, (ttl, _) in self._leases.items()}

    # --- requests

    async def answer(self, path: str, body: Json) -> Json:
        """Answer a request."""
        await trio.sleep(LATENCY)
        if self.is_away:
            raise httpx.ConnectError("nobody listens")
        self.asked[path] = self.asked.get(path, 0) + 1
        self._expire()
        verbs: dict[str, Callable[[Json], Json]] = {
            "/v3/kv/txn": self._transact,
            "/v3/kv/range": self._range,
            "/v3/lease/grant": self._grant,
            "/v3/lease/keepalive": self._keep_alive,
            "/v3/lease/revoke": self._revoke,
        }
        answer = verbs[path](body)
        return {"header": {"cluster_id": "1", "revision": str(self.revision)}} | answer

    def _grant(self, body: Json) -> Json:
        lease = len(self._leases) + self.revision * 1000
        self._leases[lease] = (int(body["TTL"]), trio.current_time() + int(body["TTL"]))
        return {"ID": str(lease), "TTL": body["TTL"]}

    def _keep_alive(self, body: Json) -> Json:
        lease = int(body["ID"])
        if lease not in self._leases:
            return {"result": {"ID": body["ID"]}}
        ttl = self._leases[lease][0]
        self._leases[lease] = (ttl, trio.current_time() + ttl)
        return {"result": {"ID": body["ID"], "TTL": str(ttl)}}

    def _revoke(self, body: Json) -> Json:
        if int(body["ID"]) not in self._leases:
            raise No(404, 5, "etcdserver: requested lease not found")
        self._end(int(body["ID"]))
        return {}

    def _end(self, lease: int) -> None:
        del self._leases[lease]
        gone = [key for key, kept in self._keys.items() if kept.lease == lease]
        if gone:
            self.revision += 1
        for key in gone:
            self._delete(key)
        self._changed.unpark_all()

    def _expire(self) -> None:
        for lease, (_, until) in list(self._leases.items()):
            if until <= trio.current_time() and not self.is_away:
                self._end(lease)

    def _within(self, fields: Json) -> list[bytes]:
        first = base64.b64decode(fields["key"])
        if "range_end" not in fields:
            return [first] if first in self._keys else []
        end = base64.b64decode(fields["range_end"])
        return self._sorted[bisect_left(self._sorted, first) : bisect_left(self._sorted, end)]

    def _range(self, fields: Json) -> Json:
        found = self._within(fields)
        shown = (
            []
            if fields.get("count_only")
            else [self._shown(key, with_value="keys_only" not in fields) for key in found]
        )
        return {"header": {"revision": str(self.revision)}} | _some(kvs=shown, count=str(len(found)) if found else "")

    def _shown(self, key: bytes, *, with_value: bool) -> Json:
        kept = self._keys[key]
        return _some(
            key=base64.b64encode(key).decode(),
            value=kept.value if with_value else "",
            create_revision=str(kept.created),
            mod_revision=str(kept.changed),
            lease=str(kept.lease or ""),
        )

    def _transact(self, body: Json) -> Json:
        holds = all(self._compare(each) for each in body["compare"])
        steps = body["success"] if holds else body["failure"]
        assert max(len(body[part]) for part in body) <= 128, "etcdserver: too many operations in txn request"
        puts = [step["request_put"]["key"] for step in steps if "request_put" in step]
        assert len(set(puts)) == len(puts), "etcdserver: duplicate key given in txn request"
        if any(int(step["request_put"]["lease"]) not in self._leases for step in steps if "request_put" in step):
            raise No(404, 5, "etcdserver: requested lease not found")
        before = len(self._events)
        self.revision += 1
        answers = [self._step(step) for step in steps]
        if len(self._events) == before:
            self.revision -= 1
        self._changed.unpark_all()
        return _some(succeeded=holds, responses=answers)

    def _compare(self, compare: Json) -> bool:
        kept = self._keys.get(base64.b64decode(compare["key"]), Kept("", 0, 0, 0))
        if compare["target"] == "LEASE":
            return kept.lease == int(compare["lease"])
        assert compare["target"] == "MOD"
        return kept.changed == int(compare["mod_revision"])

    def _step(self, step: Json) -> Json:
        (kind, fields), *_ = step.items()
        if kind == "request_range":
            return {"response_range": self._range(fields)}
        if kind == "request_delete_range":
            gone = self._within(fields)
            for key in gone:
                self._delete(key)
            return {"response_delete_range": _some(deleted=str(len(gone)) if gone else "")}
        key = base64.b64decode(fields["key"])
        if key not in self._keys:
            insort(self._sorted, key)
        created = self._keys[key].created if key in self._keys else self.revision
        self._keys[key] = Kept(fields["value"], created, self.revision, int(fields["lease"]))
        self._events.append((self.revision, key, {"kv": self._shown(key, with_value=True)}))
        return {"response_put": {}}

    def _delete(self, key: bytes) -> None:
        del self._keys[key]
        del self._sorted[bisect_left(self._sorted, key)]
        shown = {"key": base64.b64encode(key).decode(), "mod_revision": str(self.revision)}
        self._events.append((self.revision, key, {"type": "DELETE", "kv": shown}))

    # --- watches

    async def next_events(self, first: bytes, end: bytes, since: int) -> tuple[Json, int]:
        """Return the next line of a watch that has told everything before a revision, and what it has told then."""
        while True:
            self._expire()
            if self.is_away:
                raise httpx.ReadError("the connection was reset")
            if since < self.compacted:
                return {"result": {"canceled": True, "compact_revision": str(self.compacted)}}, since
            events = [event for revision, key, event in self._events if revision >= since and first <= key < end]
            if events:
                header = {"header": {"revision": str(self.revision)}}
                return {"result": header | {"events": events}}, self.revision + 1
            with trio.move_on_at(min((until for _, until in self._leases.values()), default=math.inf)):
                await self._changed.park()


def _some(**fields: Any) -> Json:
    """Return what is not nothing: etcd leaves that out."""
    return {name: value for name, value in fields.items() if value}


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, etcd: FakeEtcd) -> None:
        self._etcd = etcd

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        body = json.loads(b"".join([chunk async for chunk in request.stream]))
        if request.url.path == "/v3/watch":
            await trio.sleep(LATENCY)
            if self._etcd.is_away:
                raise httpx.ConnectError("nobody listens")
            return httpx.Response(200, stream=_Watch(self._etcd, body["create_request"]))
        try:
            return httpx.Response(200, json=await self._etcd.answer(request.url.path, body))
        except No as error:
            return httpx.Response(error.status, json={"error": str(error), "message": str(error), "code": error.code})


class _Watch(httpx.AsyncByteStream):
    """The lines of a watch, in chunks that are no lines."""

    def __init__(self, etcd: FakeEtcd, asked: Json) -> None:
        self._etcd = etcd
        self._first = base64.b64decode(asked["key"])
        self._end = base64.b64decode(asked["range_end"]) if "range_end" in asked else self._first + b"\0"
        self._since = int(asked["start_revision"])
        created = {"result": {"header": {"revision": str(etcd.revision)}, "created": True}}
        self._rest = json.dumps(created).encode() + b"\n"

    def __aiter__(self) -> _Watch:
        return self

    async def __anext__(self) -> bytes:
        if not self._rest:
            line, self._since = await self._etcd.next_events(self._first, self._end, self._since)
            self._rest = json.dumps(line).encode() + b"\n"
        chunk, self._rest = self._rest[:40], self._rest[40:]
        await trio.lowlevel.checkpoint()
        return chunk
