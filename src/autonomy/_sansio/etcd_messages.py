"""What etcd's JSON gateway is told and answers, as values: keys are base64, and numbers of 64 bits are text.

Nothing here knows what the keys mean: `etcd_zone` does. What etcd leaves out is zero, or nothing.

Source: etcd v3.4's rpc.proto, and what a real one answers; `tests/directory/` asks it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

Operation = dict[str, Any]
"""A step of a transaction: a put, a delete or a range."""
Comparison = dict[str, Any]


class Header(msgspec.Struct, frozen=True):
    """Which etcd answers, and in which state it is."""

    cluster_id: int = 0
    revision: int = 0


class Entry(msgspec.Struct, frozen=True):
    """A key, and what is there."""

    encoded_key: str = msgspec.field(name="key")
    encoded_value: str = msgspec.field(name="value", default="")
    create_revision: int = 0
    mod_revision: int = 0
    lease: int = 0

    @property
    def key(self) -> str:
        """The key, as text."""
        return base64.b64decode(self.encoded_key).decode("utf-8", "replace")

    @property
    def value(self) -> bytes:
        """What is there."""
        return base64.b64decode(self.encoded_value)


class Event(msgspec.Struct, frozen=True):
    """A key that was put, or deleted."""

    kv: Entry
    type: Literal["PUT", "DELETE"] = "PUT"


class RangeAnswer(msgspec.Struct, frozen=True):
    """What is in a range."""

    header: Header = Header()
    kvs: tuple[Entry, ...] = ()
    count: int = 0


class DeleteAnswer(msgspec.Struct, frozen=True):
    """How many keys are gone."""

    deleted: int = 0


class Response(msgspec.Struct, frozen=True):
    """What came of one step of a transaction."""

    response_range: RangeAnswer | None = None
    response_delete_range: DeleteAnswer | None = None


class TxnAnswer(msgspec.Struct, frozen=True):
    """What came of a transaction."""

    header: Header = Header()
    succeeded: bool = False
    responses: tuple[Response, ...] = ()

    def entries(self, step: int) -> tuple[Entry, ...]:
        """Return what the range that was this step found."""
        found = self.responses[step].response_range if step < len(self.responses) else None
        return () if found is None else found.kvs

    def count(self, step: int) -> int:
        """Return how many keys the step found, or deleted."""
        response = self.responses[step] if step < len(self.responses) else Response()
        if response.response_delete_range is not None:
            return response.response_delete_range.deleted
        return 0 if response.response_range is None else response.response_range.count


class LeaseAnswer(msgspec.Struct, frozen=True):
    """A lease that was granted. It has no seconds left if there is no such lease any more."""

    lease: int = msgspec.field(name="ID", default=0)
    seconds: int = msgspec.field(name="TTL", default=0)


class KeptAlive(msgspec.Struct, frozen=True):
    """A lease that was to be prolonged."""

    result: LeaseAnswer = LeaseAnswer()


class Token(msgspec.Struct, frozen=True):
    """What proves from now on who asks."""

    token: str = ""


class Trouble(msgspec.Struct, frozen=True):
    """Why etcd did not do what it was asked; `code` is gRPC's."""

    code: int = 2
    error: str = ""
    message: str = ""
    grpc_code: int = 0


class _Wrapped(msgspec.Struct, frozen=True):
    error: Trouble | str | None = None


class WatchAnswer(msgspec.Struct, frozen=True):
    """A line of a watch.

    Attributes:
        header: The state of etcd. Of the first line, which says `created`, it is the present one although older events
            are still to come.
        created: The watch has begun.
        canceled: It has ended; `cancel_reason` may say why.
        compact_revision: What is older than that is forgotten, and was asked for.
        events: What has happened.
    """

    header: Header = Header()
    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0
    events: tuple[Event, ...] = ()


class WatchLine(msgspec.Struct, frozen=True):
    """A line of a watch, or why there is none: that comes inside a stream that began well."""

    result: WatchAnswer | None = None
    error: Trouble | None = None


def decode(content: bytes | str, kind: type[Any]) -> Any:
    """Return an answer as a value of a kind.

    Raises:
        ValueError: It is none.
    """
    try:
        return msgspec.json.decode(content, type=kind, strict=False)  # not strict: numbers come as text
    except msgspec.MsgspecError as error:
        raise ValueError(str(error)) from None


def trouble_of(content: bytes) -> Trouble:
    """Return what an answer that is no success says, in the ways of several versions and of proxies before them."""
    try:
        found: Trouble = decode(content, Trouble)
    except ValueError:
        try:
            wrapped: _Wrapped = decode(content, _Wrapped)
        except ValueError:
            return Trouble(error=content[:200].decode("utf-8", "replace"))
        inner = wrapped.error
        return inner if isinstance(inner, Trouble) else Trouble(error=inner or "")
    return found


# ---- requests


def text64(data: str | bytes) -> str:
    """Return a key or value as the gateway wants it."""
    return base64.b64encode(data.encode() if isinstance(data, str) else data).decode()


def after_all(prefix: str) -> str:
    """Return the first key after all that begin with a prefix of ASCII."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def span(first: str, end: str | None = None) -> dict[str, str]:
    """Return the fields that name one key, or those from `first` up to and without `end`."""
    return {"key": text64(first)} | ({} if end is None else {"range_end": text64(end)})


def under(prefix: str) -> dict[str, str]:
    """Return the fields that name all keys with a prefix."""
    return span(prefix, after_all(prefix))


def put(key: str, value: bytes | str, lease: int) -> Operation:
    """Put a value, which is gone when the lease is."""
    return {"request_put": {"key": text64(key), "value": text64(value), "lease": str(lease)}}


def delete(key: str) -> Operation:
    """Delete a key, if it is there."""
    return {"request_delete_range": span(key)}


def read(fields: dict[str, str], *, keys_only: bool = False) -> Operation:
    """Read what is in a range."""
    return {"request_range": fields | ({"keys_only": True} if keys_only else {})}


def count(fields: dict[str, str]) -> Operation:
    """Count what is in a range."""
    return {"request_range": fields | {"count_only": True}}


def transaction(
    compare: Sequence[Comparison], then: Iterable[Operation], otherwise: Iterable[Operation] = ()
) -> dict[str, Any]:
    """If all comparisons hold do the first, else the second; nobody sees half of it."""
    return {"compare": list(compare), "success": list(then), "failure": list(otherwise)}


def is_held_by(key: str, lease: int) -> Comparison:
    """Whether a key is there and goes with that lease."""
    return span(key) | {"target": "LEASE", "result": "EQUAL", "lease": str(lease)}


def is_as_of(key: str, revision: int) -> Comparison:
    """Whether a key was last changed at that revision; 0 for one that is not there."""
    return span(key) | {"target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}
