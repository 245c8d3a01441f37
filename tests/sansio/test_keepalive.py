"""When a silent node is asked for a sign of life, and when it is suspected (D2)."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autonomy._sansio.keepalive import Keepalive, Liveness, Sign

LIVENESS = Liveness()


def test_an_idle_connection_is_pinged_every_heartbeat_and_lives_on_answers() -> None:
    keepalive = Keepalive(LIVENESS, now=0.0)
    pings = []

    for tenth in range(1, 201):
        now = tenth / 10
        sign = keepalive.look(now)
        assert sign is not Sign.SUSPECT
        if sign is Sign.PING:
            pings.append(now)
            keepalive.received(now + 0.05)

    assert pings == [pytest.approx(2.0 * number, abs=0.11 * number) for number in range(1, len(pings) + 1)]
    assert len(pings) in (9, 10)


def test_a_connection_that_is_silent_is_suspected_after_four_seconds() -> None:
    keepalive = Keepalive(LIVENESS, now=0.0)

    signs = [keepalive.look(now) for now in (1.9, 2.0, 3.9, 4.0)]

    assert signs == [Sign.NOTHING, Sign.PING, Sign.NOTHING, Sign.SUSPECT]


def test_what_is_told_again_or_late_changes_nothing() -> None:
    keepalive = Keepalive(LIVENESS, now=0.0)
    keepalive.received(1.0)
    assert keepalive.look(3.0) is Sign.PING

    for known in (1.0, 0.5, -inf):
        keepalive.received(known)

    assert keepalive.look(3.5) is Sign.NOTHING
    assert keepalive.look(5.0) is Sign.SUSPECT


def test_traffic_in_both_directions_needs_no_ping() -> None:
    keepalive = Keepalive(LIVENESS, now=0.0)

    for second in range(1, 100):
        keepalive.sent(float(second))
        keepalive.received(float(second))
        assert keepalive.look(float(second)) is Sign.NOTHING


def test_one_who_only_sends_still_notices_that_nothing_comes_back() -> None:
    keepalive = Keepalive(LIVENESS, now=0.0)
    signs = []

    for tenth in range(1, 41):
        keepalive.sent(tenth / 10)
        signs.append(keepalive.look(tenth / 10))

    assert signs[18:20] == [Sign.NOTHING, Sign.PING]
    assert signs[-1] is Sign.SUSPECT


@given(events=st.lists(st.tuples(st.floats(0.0, 3.0), st.sampled_from(["sent", "received", "look"])), max_size=50))
def test_whoever_looks_at_each_deadline_pings_in_time_and_suspects_in_time(events: list[tuple[float, str]]) -> None:
    keepalive, now, heard, said = Keepalive(LIVENESS, now=0.0), 0.0, 0.0, 0.0

    for delay, what in events:
        until = now + delay
        while keepalive.deadline <= until:
            now = max(keepalive.deadline, now)
            sign = keepalive.look(now)
            assert (sign is Sign.SUSPECT) == (now >= heard + LIVENESS.suspect)
            if sign is Sign.SUSPECT:
                return
            assert sign is Sign.PING
            assert keepalive.deadline > now  # or this would never end
            said = now
        now = until
        if what == "sent":
            said = now
            keepalive.sent(now)
        elif what == "received":
            heard = now
            keepalive.received(now)
        assert now < said + LIVENESS.heartbeat or keepalive.look(now) is Sign.PING
        said = max(said, now) if now >= said + LIVENESS.heartbeat else said


@pytest.mark.parametrize("figures", [(2, 2, 10), (4, 2, 10), (2, 10, 10), (0, 4, 10), (-1, 4, 10)])
def test_figures_that_do_not_grow_are_refused(figures: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"Liveness"):
        Liveness(*figures)
