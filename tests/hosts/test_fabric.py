"""What wires do to frames, as a value: no host needed."""

from __future__ import annotations

from random import Random

import pytest

from .fabric import Fabric, Quality

EVERYBODY = b"\xff" * 6


def station(host: str) -> bytes:
    """The address of a host's network card."""
    return b"\x02" + host.encode().ljust(5, b"\0")


def frame(source: str, sink: bytes, text: bytes = b"") -> bytes:
    """What a card sends."""
    return sink + station(source) + text


@pytest.fixture
def fabric() -> Fabric:
    """Hosts ``a``, ``b`` and ``c``, which have all been heard."""
    fabric = Fabric(Random(1))
    for host in "abc":
        fabric.add(host)
    for host in "abc":
        fabric.take(host, frame(host, EVERYBODY), 0.0)
    fabric.due(0.0)
    return fabric


def test_a_frame_for_one_comes_to_that_one_and_a_frame_for_all_to_all_others(fabric: Fabric) -> None:
    one, everyone = frame("a", station("b")), frame("b", EVERYBODY)

    fabric.take("a", one, 1.0)
    fabric.take("b", everyone, 1.0)

    assert fabric.due(1.0) == [("b", one), ("a", everyone), ("c", everyone)]


def test_a_frame_takes_the_time_of_its_way_and_not_that_of_another(fabric: Fabric) -> None:
    fabric.set("a", "b", Quality(delay=0.2))
    there, back = frame("a", station("b")), frame("b", station("a"))

    fabric.take("a", there, 1.0)
    fabric.take("b", back, 1.0)

    assert fabric.due(1.0) == [("a", back)]
    assert fabric.next_due == 1.2
    assert fabric.due(1.19) == []
    assert fabric.due(1.2) == [("b", there)]
    assert fabric.next_due is None


def test_jitter_delays_and_keeps_the_order(fabric: Fabric) -> None:
    fabric.set("a", "b", Quality(delay=0.1, jitter=0.1))
    sent = [frame("a", station("b"), bytes([number])) for number in range(100)]

    for each in sent:
        fabric.take("a", each, 1.0)
    early, late = fabric.due(1.15), fabric.due(1.2)

    assert [each for _, each in early + late] == sent
    assert early
    assert late


def test_as_many_frames_are_lost_as_was_said(fabric: Fabric) -> None:
    fabric.set("a", "b", Quality(loss=0.3))

    for _ in range(10_000):
        fabric.take("a", frame("a", station("b")), 1.0)

    assert 6_800 < len(fabric.due(1.0)) < 7_200


def test_a_cut_loses_what_is_on_its_way_in_its_direction_alone(fabric: Fabric) -> None:
    for way in (("a", "b"), ("b", "a")):
        fabric.set(*way, Quality(delay=0.1))
    fabric.take("a", frame("a", station("b")), 1.0)
    fabric.take("b", frame("b", station("a")), 1.0)

    fabric.set("a", "b", Quality(is_cut=True))

    assert [host for host, _ in fabric.due(2.0)] == ["a"]


def test_what_is_on_its_way_to_a_host_that_is_gone_is_lost_and_the_host_found_anew(fabric: Fabric) -> None:
    fabric.set("a", "b", Quality(delay=0.1))
    fabric.take("a", frame("a", station("b")), 1.0)

    fabric.remove("b")

    assert fabric.due(2.0) == []
    fabric.take("a", frame("a", station("b")), 2.0)  # as after a restart: nobody knows where that card is
    assert [host for host, _ in fabric.due(3.0)] == ["c"]
