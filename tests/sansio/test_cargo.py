"""What nodes say to each other within a session: whole or in parts, and never more than fits."""

from __future__ import annotations

import contextlib
import random
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autonomy._sansio import cargo
from autonomy._sansio.cargo import (
    Item,
    Joiner,
    Message,
    Part,
    Reply,
    Request,
    decode,
    decode_all,
    encode,
    encode_all,
    parted,
)
from autonomy._sansio.envelope import Failure
from autonomy.errors import ProtocolError

KINDS: tuple[type[msgspec.Struct], ...] = get_args(Item)
TEXTS = st.text(max_size=200)
FLOWS = st.integers(0, 65_535)
NUMBERS = st.integers(0, 2**63 - 1)
FAILURES = st.builds(Failure, TEXTS, TEXTS, st.sampled_from(["not_sent", "handled", "maybe_handled"]), TEXTS, TEXTS)
WHOLE: st.SearchStrategy[Item] = st.one_of(
    st.builds(Message, FLOWS, TEXTS, st.text(max_size=128)),
    st.builds(
        Request,
        FLOWS,
        NUMBERS,
        TEXTS,
        st.text(max_size=128),
        st.booleans(),
        st.floats(0, 1e9),
        st.lists(st.text(max_size=100), max_size=5).map(tuple),
    ),
    st.builds(Reply, NUMBERS, TEXTS),
    st.builds(cargo.Failed, NUMBERS, FAILURES),
    st.builds(cargo.Open, FLOWS, st.text(max_size=128)),
    st.builds(cargo.Gone, NUMBERS, st.text(max_size=100), TEXTS),
    st.builds(cargo.Shut, FLOWS, FAILURES),
    *(st.builds(kind, FLOWS) for kind in (cargo.AskBack, cargo.End)),
    *(st.builds(kind, FLOWS, NUMBERS) for kind in (cargo.Want, cargo.Grant, cargo.GiveBack)),
    *(st.builds(kind, NUMBERS) for kind in (cargo.Withdraw, cargo.Unwatch)),
    st.builds(cargo.Watch, NUMBERS, st.text(max_size=128)),
)


@given(WHOLE)
def test_for_all_items_what_is_encoded_is_decoded(item: Item) -> None:
    assert decode(encode(item)) == item


def test_every_kind_has_a_number_of_its_own() -> None:
    tags = {kind.__struct_config__.tag for kind in KINDS}

    assert tags == set(range(1, len(KINDS) + 1))


def test_no_item_names_the_node_that_sends_it() -> None:
    fields = {field for kind in KINDS for field in kind.__struct_fields__}

    assert not fields & {"node", "from", "origin", "peer"}


@given(items=st.lists(WHOLE, min_size=1, max_size=6), size=st.integers(65, 400), seed=st.integers(0, 2**32))
def test_for_all_interleavings_parts_are_joined_to_what_they_were(items: list[Item], size: int, seed: int) -> None:
    chance = random.Random(seed)
    waiting = [list(parted(number, encode(item), size)) for number, item in enumerate(items)]
    joiner, joined = Joiner(2**20), {}

    while any(waiting):
        number = chance.choice([number for number, parts in enumerate(waiting) if parts])
        part = waiting[number].pop(0)
        assert len(encode(part)) <= size
        item = joiner.add(part)
        if item is not None:
            joined[number] = item

    assert [joined[number] for number in range(len(items))] == items
    assert joiner.size == 0


def test_a_whole_of_16_mib_travels_in_parts() -> None:
    item = Reply(7, "x" * 2**24)
    joiner = Joiner(2**24 + 1024)

    *before, last = [joiner.add(part) for part in parted(1, encode(item), 65_536)]

    assert last == item
    assert not any(before)


def test_parts_that_grow_too_large_are_refused_and_forgotten() -> None:
    joiner = Joiner(largest=100)
    joiner.add(Part(1, False, b"x" * 90))

    with pytest.raises(ProtocolError, match="beyond 100 bytes"):
        joiner.add(Part(1, False, b"x" * 20))

    assert joiner.size == 0


def test_unfinished_parts_are_bounded_together() -> None:
    joiner = Joiner(largest=100, most=250)
    for number in range(2):
        joiner.add(Part(number, False, b"x" * 100))

    with pytest.raises(ProtocolError, match="more than 250 bytes"):
        joiner.add(Part(3, False, b"x" * 60))

    assert joiner.size == 200


@pytest.mark.parametrize(
    "part", [Part(1, False, b""), Part(1, True, b"\xc1"), Part(1, True, encode(Part(2, True, b"x")))]
)
def test_parts_that_are_nothing_are_refused(part: Part) -> None:
    joiner = Joiner(2**20)

    with pytest.raises(ProtocolError):
        joiner.add(part)

    assert joiner.size == 0


@given(st.lists(WHOLE, max_size=20))
def test_for_all_items_a_frame_of_them_is_what_they_were(items: list[Item]) -> None:
    assert decode_all(encode_all(items)) == items


def test_a_frame_of_too_many_items_is_refused() -> None:
    with pytest.raises(ProtocolError, match="at most 4096"):
        decode_all(encode_all([cargo.End(1)] * 4097))


@given(body=st.binary(max_size=60))
@settings(max_examples=2_000)
def test_for_all_bytes_there_is_a_frame_of_items_or_a_protocol_error(body: bytes) -> None:
    try:
        items = decode_all(body)
    except ProtocolError:
        return

    assert all(isinstance(item, KINDS) for item in items)


def test_parts_whose_sender_has_given_up_are_forgotten() -> None:
    joiner = Joiner(2**20)
    joiner.add(Part(1, False, b"x" * 100))

    assert joiner.add(Part(1, True, b"")) is None
    assert joiner.size == 0


@given(body=st.binary(max_size=60))
@settings(max_examples=2_000)
def test_for_all_bytes_there_is_an_item_or_a_protocol_error(body: bytes) -> None:
    try:
        item = decode(body)
    except ProtocolError:
        return

    assert isinstance(item, KINDS)


def test_for_mutated_items_there_is_an_item_or_a_protocol_error() -> None:
    chance = random.Random(1)
    originals = [
        encode(item)
        for item in (
            Request(3, 9, "hello", "w", False, 2.5, ("a@b", "c@d")),
            cargo.Failed(1, Failure("WorkerFailed", "text", "handled")),
            Message(1, "ä" * 20),
        )
    ]

    for _ in range(30_000):
        body = bytearray(chance.choice(originals))
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        with contextlib.suppress(ProtocolError):
            assert isinstance(decode(body), KINDS)


@pytest.mark.parametrize(
    "fields",
    [
        [7, 65_536, "body"],
        [7, -1, "body"],
        [7, 1, b"bytes"],
        [8, 1, 2**63, "body"],
        [8, 1, 1, "body", "w", False, -1.0],
        [8, 1, 1, "body", "w", False, 1.0, ["x"] * 1025],
        [1, 1, "x" * 129],
        [16, 1],
    ],
)
def test_what_is_out_of_bounds_is_refused(fields: list[object]) -> None:
    with pytest.raises(ProtocolError):
        decode(msgspec.msgpack.encode(fields))
