"""What etcd says, as a zone: a copy that follows its events, and what comes of answers that nobody expects."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._sansio.etcd_messages import (
    Entry,
    Event,
    KeptAlive,
    LeaseAnswer,
    TxnAnswer,
    WatchLine,
    after_all,
    decode,
    text64,
    trouble_of,
)
from autonomy._sansio.etcd_view import EtcdView
from autonomy._sansio.etcd_zone import BATCH, EtcdZone, batches
from autonomy._sansio.members import Member, ZoneInfo

ZONE = EtcdZone("z", "me", "1")
NODES = ("a", "b", "c")
NAMES = ("x", "y")


def entry(key: str, value: bytes = b"", revision: int = 1) -> Entry:
    return Entry(text64(f"/autonomy/z/{key}"), text64(value), mod_revision=revision)


def record(name: str, incarnation: str = "1", revision: int = 1, *, ready: bool = True) -> Entry:
    return entry(f"nodes/{name}", msgspec.json.encode(Member(name, incarnation, ready=ready)), revision)


def view_of(entries: Sequence[Entry] = (), revision: int = 10) -> EtcdView:
    view = EtcdView(ZONE)
    assert view.load(entries, revision, now=0.0) == []
    return view


# ---- following


class Truth:
    """What is in an etcd, and what has happened there."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.events: list[Event] = []
        self.revision = 1

    def do(self, what: str, first: str, second: str) -> None:
        """Let something happen."""
        self.revision += 1
        key = f"nodes/{first}" if what.endswith("node") else f"shared/{second}/{first}"
        if what.startswith("put"):
            new = record(first, second, self.revision) if what == "put node" else entry(key, b"", self.revision)
            self.entries[key] = new
            self.events.append(Event(new))
        elif self.entries.pop(key, None) is not None:
            self.events.append(Event(entry(key, b"", self.revision), "DELETE"))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put node", "delete node", "put shared", "delete shared"]),
        st.sampled_from(NODES),
        st.sampled_from(NAMES),
    )
)


@given(STEPS, st.data())
def test_whoever_follows_knows_what_whoever_reads_everything_knows(
    steps: list[tuple[str, str, str]], data: st.DataObject
) -> None:
    """Catches: an event that is applied twice or skipped, and news that is told twice or never."""
    truth, view = Truth(), view_of((), 1)
    told: dict[str, Member] = {}
    contested: list[str] = []
    since, heard = 1, 0

    for step in steps:
        truth.do(*step)
        if data.draw(st.booleans()):  # some events come together
            continue
        if data.draw(st.integers(0, 9)) == 0:
            view.load(list(truth.entries.values()), truth.revision, now=0.0)
        else:
            view.apply(truth.events[heard:], truth.revision, now=0.0)
        heard = len(truth.events)
        some = slice(data.draw(st.integers(0, heard)), data.draw(st.integers(0, heard)))
        view.apply(truth.events[some], 0, now=0.0)  # some come again
        assert view.members == view_of(list(truth.entries.values()), truth.revision).members
        changes = view.news(since) if view.is_current(view.epoch, since) else view.whole()
        if changes is None:
            continue
        if changes.whole:
            told = {}
        told.update({member.name: member for member in changes.joined})
        for name in changes.left:
            told.pop(name, None)
        contested += changes.contested
        since = changes.revision
        assert told == {member.name: member for member in view.whole().joined}

    view.apply(truth.events[heard:], truth.revision, now=0.0)
    fresh = view_of(list(truth.entries.values()), truth.revision)
    assert view.members == fresh.members
    assert sorted(view.whole().contested) == sorted(fresh.whole().contested)


def test_an_older_reading_does_not_undo_what_is_known() -> None:
    view = view_of([record("a", revision=3)], 5)
    view.apply([Event(record("b", revision=7))], 7, now=0.0)

    view.load([record("a", revision=3)], 6, now=0.0)

    assert sorted(view.members) == ["a", "b"]
    assert view.revision == 7


def test_after_something_was_missed_everything_is_told() -> None:
    view = view_of([record("a")], 5)
    epoch = view.epoch

    view.forget()
    assert not view.is_current(epoch, 5)
    view.load([record("b")], 3, now=0.0)

    assert not view.is_current(epoch, 3)
    assert [member.name for member in view.whole().joined] == ["b"]


def test_who_knows_only_what_is_forgotten_is_told_everything() -> None:
    view = view_of((), 1)
    for revision in range(2, 10_000):
        view.apply([Event(record("a", str(revision), revision))], revision, now=0.0)

    assert not view.is_current(view.epoch, 1)
    assert view.is_current(view.epoch, 9_000)
    assert len(view._log) == 4096


@pytest.mark.parametrize(
    "bad",
    [
        entry("nodes/a", b"no JSON"),
        entry("nodes/a", b"\xff\xfe"),
        entry("nodes/a", msgspec.json.encode(Member("b", "1"))),
        entry("nodes/a", msgspec.json.encode(Member("a", "x" * 2000))),
        entry("nodes/a b", msgspec.json.encode(Member("a b", "1"))),
        entry("nodes/"),
    ],
)
def test_an_entry_that_cannot_be_is_left_out_and_told(bad: Entry) -> None:
    view = EtcdView(ZONE)

    problems = view.load([bad, record("b")], 5, now=0.0)

    assert len(problems) == 1
    assert "/autonomy/z/nodes/" in problems[0]
    assert sorted(view.members) == ["b"]


def test_a_node_counts_as_ready_when_it_says_so_or_is_gone_or_after_ten_seconds() -> None:
    awaited = entry("awaited/a", b"1", 6)
    view = EtcdView(ZONE)
    view.load((), 5, now=0.0)
    assert view.ready_at(awaited, 3.0) == 13.0  # its record has not come yet

    view.apply([Event(record("a", revision=6, ready=False))], 6, now=3.5)
    view.apply([Event(record("a", revision=7, ready=False))], 7, now=8.0)
    assert view.ready_at(awaited, 9.0) == 13.5

    view.apply([Event(record("a", "2", 8, ready=False))], 8, now=9.0)  # another start of it
    assert view.ready_at(awaited, 9.0) == 19.0

    view.apply([Event(record("a", "2", 9))], 9, now=9.5)
    assert view.ready_at(awaited, 9.5) == 9.5

    view.apply([Event(entry("nodes/a", b"", 10), "DELETE")], 10, now=9.6)
    assert view.ready_at(awaited, 9.6) == 9.6


# ---- asking


def operations(body: dict[str, Any]) -> int:
    return max(len(body["compare"]), len(body["success"]), len(body["failure"]))


@given(st.integers(0, 300), st.integers(0, 300))
def test_no_transaction_is_larger_than_etcd_takes(added: int, removed: int) -> None:
    """Catches: a batch that etcd refuses, which a node would then try for ever."""
    here, gone = [f"a{i}" for i in range(added)], [f"r{i}" for i in range(removed)]

    parts = batches(here, gone)

    assert [name for part, _ in parts for name in part] == here
    assert [name for _, part in parts for name in part] == gone
    for part in parts:
        assert operations(ZONE.change(1, *part, Member("me", "1"))) <= 128
    displaced = ZONE.displaced([entry(f"displaced/me/{i}") for i in range(100)])
    entering = ZONE.enter(Member("me", "1"), here[:BATCH], record("me"), [*displaced, "0"], 1, is_all=True)
    assert operations(entering) <= 128


def test_who_shares_a_name_is_read_from_the_answer() -> None:
    counts = [
        {"response_put": {}},
        {"response_range": {"count": "2"}},
        {"response_put": {}},
        {"response_range": {"count": "1"}},
    ]
    gone = [{"response_delete_range": {"deleted": "1"}}, {"response_range": {"count": "3"}}]
    never = [{"response_delete_range": {}}, {"response_range": {"count": "3"}}]
    last = [{"response_delete_range": {"deleted": "1"}}, {"response_range": {}}]
    answer = decode(json.dumps({"succeeded": True, "responses": [*counts, *gone, *never, *last]}), TxnAnswer)

    assert ZONE.with_others(answer, ["shared", "mine"], ["gone", "never", "last"]) == ["shared", "gone"]


def test_ids_of_starts_may_be_any_text() -> None:
    for incarnation in ("a/b", "", "..", "ä\n", "x" * 500):
        zone = EtcdZone("z", "me", incarnation)
        escaped = zone.escaped(incarnation)
        assert escaped.isascii()
        assert "/" not in escaped
        assert escaped
        assert zone.displaced([entry(f"displaced/me/{escaped}")]) == [escaped]


def test_zones_of_one_etcd_do_not_meet() -> None:
    keys = [ZoneInfo(*place).key for place in (("a",), ("a-b",), ("b", "a"), ("c", "a-b"), ("b-c", "a"), ("", "a"), ())]

    assert keys == ["a", "a-b", "a.b", "a-b.c", "a.b-c", "", ""]
    for one in keys[:5]:
        for other in keys[:5]:
            if one != other:
                assert not EtcdZone(other, "n", "1").root.startswith(EtcdZone(one, "n", "1").root)
    assert after_all("/autonomy/a/") == "/autonomy/a0"


# ---- hearing


def test_numbers_come_as_text_and_what_is_absent_is_zero() -> None:
    assert decode(b'{"ID": "7587867123456789012", "TTL": "10"}', LeaseAnswer).lease == 7587867123456789012
    assert decode(b'{"result": {"header": {}, "ID": "5"}}', KeptAlive).result.seconds == 0
    line = decode(b'{"result": {"header": {"revision": "9"}, "created": true}}', WatchLine)
    assert (line.result.header.revision, line.result.created, line.result.events) == (9, True, ())


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        (b'{"error": "etcdserver: no leader", "message": "etcdserver: no leader", "code": 14}', 14, "no leader"),
        (b'{"error": {"grpc_code": 14, "http_code": 503, "message": "no leader"}}', 14, "no leader"),
        (b'{"error": {"code": 5, "message": "not found", "details": []}}', 5, "not found"),
        (b'{"code": 7, "message": "permission denied"}', 7, "permission denied"),
        (b"<html>502 Bad Gateway</html>", 2, "502 Bad Gateway"),
        (b"", 2, ""),
        (b"[1]", 2, "[1]"),
    ],
)
def test_why_etcd_refuses_is_understood_in_all_its_shapes(content: bytes, code: int, text: str) -> None:
    trouble = trouble_of(content)

    assert (trouble.grpc_code or trouble.code) == code
    assert text in trouble.message or text in trouble.error


@given(st.binary())
def test_no_bytes_do_more_than_not_being_understood(content: bytes) -> None:
    trouble_of(content)
    for kind in (TxnAnswer, WatchLine, KeptAlive):
        try:
            decode(content, kind)
        except ValueError:
            continue


def test_keys_need_not_be_text() -> None:
    assert Entry(base64.b64encode(b"/\xff").decode()).key == "/�"
