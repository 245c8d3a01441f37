"""Two nodes in two processes, and all that can happen between them: cuts, kills, silence, new certificates, revocation.

Real processes, real sockets and real time, for what no simulation can show. Every message is numbered; what is lost,
comes twice or out of order is counted.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import msgspec
import pytest
import trio

from autonomy import DeadLetter, MailboxFull, Node, NodeDown, open_node
from autonomy._links.addresses import parse_address
from autonomy._sansio.keepalive import Liveness
from autonomy.errors import IdentityError
from autonomy.identity import Credentials, ZoneAuthority

from .cutting import Way, way_to
from .far_node import renew, trust
from .far_process import FarProcess, far_process
from .haste import Hasty
from .traffic import Report, Traffic, lost, until
from .waiters import Waiters

pytestmark = [pytest.mark.network, pytest.mark.slow]

SIZES = (300, 5_000, 500_000, 5_000_000)
"""Bytes: a cut in a handshake, soon after it, and under load."""


@pytest.fixture
def authority(tmp_path: Path) -> ZoneAuthority:
    """A zone, for the nodes of one test."""
    return ZoneAuthority.create(tmp_path / "zone", "cut.example")


async def settle(near: Traffic, far: FarProcess) -> tuple[Report, Report]:
    """Stop sending on both sides; return what both have to report once nothing is under way any more."""
    await near.stop()
    await far.ask("stop")
    until = trio.current_time() + 10
    while True:
        here, there = near.report(), msgspec.convert(await far.ask("report"), Report)
        if not lost(here, there) + lost(there, here) or trio.current_time() > until:
            return here, there
        await trio.sleep(0.05)


async def linked(node: Node, seconds: float = 9.0) -> None:
    """Wait until there is a link."""
    await until(lambda: node.statistics().links, seconds)


async def cut_often(ways: list[Way], node: Node, times: int, chance: Random, sizes: Sequence[int] = SIZES) -> None:
    """Cut, at any byte of the next so many, as soon as there is a link again or even before."""
    for _ in range(times):
        if chance.random() < 0.8:
            await linked(node)
        size = chance.choice(sizes)
        with trio.move_on_after(chance.uniform(0.05, 1.0)):
            await chance.choice(ways).cut_after(chance.randrange(size), by_reset=chance.random() < 0.5)
            continue
        for way in ways:
            way.cut(by_reset=chance.random() < 0.5)
    await linked(node)


def tell(title: str, here: Report, there: Report, **figures: object) -> None:
    """Print the figures of a test."""
    figures |= {
        "messages": sum(here.sent.values()) + sum(there.sent.values()),
        "answered": here.answered + there.answered,
        "lost": lost(here, there) + lost(there, here),
        "twice": here.twice + there.twice,
        "out_of_order": here.disordered + there.disordered,
    }
    print(f"{title}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))  # noqa: T201


def check(here: Report, there: Report) -> None:
    """Check that everything came once and in order, and everybody who asked was answered."""
    assert here.problems + there.problems == []
    assert (lost(here, there), lost(there, here)) == (0, 0)
    assert (here.twice, there.twice) == (0, 0)
    assert (here.disordered, there.disordered) == (0, 0)
    assert min(*here.sent.values(), *there.sent.values()) > 0


@pytest.mark.parametrize("times", [50, pytest.param(1000, marks=pytest.mark.soak)])
@pytest.mark.parametrize("dialling", ["one", "both"])
async def test_all_arrives_once_and_in_order_however_often_the_connection_is_cut(
    authority: ZoneAuthority, tmp_path: Path, times: int, dialling: str
) -> None:
    chance, began = Random(times), time.monotonic()
    async with (
        far_process(tmp_path / "zone", "far") as far,
        open_node(credentials=authority.credentials("near"), listen="wss://127.0.0.1:0") as near,
        way_to(far.port) as there_way,
        way_to(parse_address(near.address or "")[1]) as here_way,
        trio.open_nursery() as nursery,
    ):
        traffic = Traffic(near, Random(1))
        await traffic.open()
        await near.connect(there_way.address)
        if dialling == "both":
            await far.ask("connect", here_way.address)
        nursery.start_soon(traffic.run, "far")
        await far.ask("send", "near")

        ways = [there_way, here_way] if dialling == "both" else [there_way]
        await cut_often(ways, near, times, chance)
        here, there = await settle(traffic, far)

        tell(
            f"{times} cuts",
            here,
            there,
            cuts=sum(way.cuts for way in ways),
            megabytes=round(sum(way.passed for way in ways) / 1e6, 1),
            seconds=round(time.monotonic() - began, 1),
        )
        check(here, there)


@pytest.mark.parametrize("times", [20, pytest.param(500, marks=pytest.mark.soak)])
async def test_what_a_sender_is_told_is_true_however_often_the_connection_is_cut(
    authority: ZoneAuthority, tmp_path: Path, times: int
) -> None:
    chance = Random(times)
    async with (
        far_process(tmp_path / "zone", "far") as far,
        open_node(credentials=authority.credentials("near")) as near,
        way_to(far.port) as way,
        trio.open_nursery() as nursery,
    ):
        hasty = Hasty(near, "far")
        await near.connect(way.address)
        for number in range(8):
            nursery.start_soon(hasty.send, f"s{number}", Random(number))

        await cut_often([way], near, times, chance, [20_000_000])
        hasty.stop()
        await until(lambda: hasty.has_ended, 10)
        assert await near.send_and_receive("quick@far", "last") == ""
        assert await near.send_and_receive("slow@far", "last") == ""

        handled = await far.ask("handled")
        print(way.cuts, "cuts:", Counter(hasty.told.values()))  # noqa: T201
        assert [numbers.pop() for numbers in handled.values()] == ["last", "last"]
        assert hasty.lies(handled) == []


# ---- K2, K3: a process is killed


async def test_a_killed_node_is_known_to_be_down_within_a_second_and_can_be_started_again(
    authority: ZoneAuthority, tmp_path: Path
) -> None:
    async with open_node(credentials=authority.credentials("near")) as near, trio.open_nursery() as nursery:
        waiters = Waiters(near)
        async with far_process(tmp_path / "zone", "far") as far:
            port = far.port
            await near.connect(far.address)
            await waiters.begin(nursery)

            killed = trio.current_time()
            await far.kill()
            await waiters.all_ended(5)

        print("known after", {name: round(time - killed, 3) for name, time in waiters.times.items()})  # noqa: T201
        waiters.check()
        assert max(waiters.times.values()) - killed < 1
        async with far_process(tmp_path / "zone", "far", port=port):
            assert await near.send_and_receive("silent@far", "what?") == "nothing"  # no need to connect again
        async with far_process(tmp_path / "zone", "far") as elsewhere:
            await near.connect(elsewhere.address)
            assert await near.send_and_receive("silent@far", "what?") == "nothing"


async def test_a_message_to_a_node_that_is_gone_fails_within_a_second(authority: ZoneAuthority, tmp_path: Path) -> None:
    async with open_node(credentials=authority.credentials("near")) as near:
        async with far_process(tmp_path / "zone", "far") as far:
            await near.connect(far.address)
            await far.kill()
        await trio.sleep(2)

        began = trio.current_time()
        with pytest.raises(NodeDown) as caught:
            await near.send_and_receive("silent@far", "hello")

        assert caught.value.outcome == "not_sent"
        assert trio.current_time() - began < 1


async def test_what_was_under_way_to_a_killed_node_is_reported_and_never_comes_to_the_next_one(
    authority: ZoneAuthority, tmp_path: Path
) -> None:
    async with open_node(credentials=authority.credentials("near")) as near:
        letters: list[DeadLetter] = []
        near.on_dead_letter = letters.append
        async with far_process(tmp_path / "zone", "far") as far:
            port = far.port
            await near.connect(far.address)
            await near.send_message("silent@far", "first")
            assert await near.send_and_receive("silent@far", "what?") == "first"

            far.suspend()
            sent = 0
            with suppress(MailboxFull):
                while True:
                    await near.send_message("silent@far", f"old-{sent}", timeout=0.2)
                    sent += 1
            await far.kill()
        async with far_process(tmp_path / "zone", "far", port=port):
            while near.statistics().links == 0 or len(letters) < sent:
                with suppress(NodeDown):
                    await near.send_message("silent@far", "new")
                await trio.sleep(0.05)
            got = await near.send_and_receive("silent@far", "what?")

        assert set(got.split()) == {"new"}
        assert sent > 10
        assert [letter.message for letter in letters] == [f"old-{number}" for number in range(sent)]


async def test_who_waits_while_a_large_message_goes_is_told_of_the_end_and_nobody_else(
    authority: ZoneAuthority, tmp_path: Path
) -> None:
    async with open_node(credentials=authority.credentials("near")) as near:
        letters: list[DeadLetter] = []
        near.on_dead_letter = letters.append
        async with far_process(tmp_path / "zone", "far") as far, trio.open_nursery() as nursery:
            await near.connect(far.address)
            await near.send_and_receive("silent@far", "what?")

            async def kill_soon() -> None:
                await trio.sleep(0.5)
                await far.kill()

            far.suspend()
            nursery.start_soon(kill_soon)
            with pytest.raises(NodeDown) as caught:
                await near.send_message("silent@far", "x" * 15_000_000)

        assert caught.value.outcome == "not_sent"
        assert letters == []


# ---- D2: a silent node


SHORT = Liveness(heartbeat=0.2, suspect=0.5, down=1.5)


@pytest.mark.parametrize("how", ["suspended", "stalled"])
async def test_a_silent_node_is_down_when_the_window_is_over(
    authority: ZoneAuthority, tmp_path: Path, how: str
) -> None:
    async with (
        far_process(tmp_path / "zone", "far", liveness=SHORT) as far,
        open_node(credentials=authority.credentials("near"), liveness=SHORT) as near,
        way_to(far.port) as way,
        trio.open_nursery() as nursery,
    ):
        await near.connect(way.address)
        waiters = Waiters(near)
        await waiters.begin(nursery)

        silent_since = trio.current_time()
        if how == "suspended":
            far.suspend()
        else:
            way.stall()
        await waiters.all_ended(5)
        known = [time - silent_since for time in waiters.times.values()]
        print("known after", [round(each, 2) for each in known])  # noqa: T201
        waiters.check()
        assert SHORT.down - SHORT.heartbeat - 0.1 < min(known)
        assert max(known) < SHORT.down + 0.5

        far.go_on()
        way.flow()
        await near.connect(way.address)
        assert "old" not in (await near.send_and_receive("one@far", "again 1 ask"))


@pytest.mark.parametrize("how", ["suspended", "stalled"])
async def test_a_silence_shorter_than_the_window_loses_nothing(
    authority: ZoneAuthority, tmp_path: Path, how: str
) -> None:
    patient = Liveness(heartbeat=0.2, suspect=0.5, down=2.5)
    async with (
        far_process(tmp_path / "zone", "far", liveness=patient) as far,
        open_node(credentials=authority.credentials("near"), liveness=patient) as near,
        way_to(far.port) as way,
        trio.open_nursery() as nursery,
    ):
        traffic = Traffic(near, Random(1))
        await traffic.open()
        await near.connect(way.address)
        nursery.start_soon(traffic.run, "far")
        await far.ask("send", "near")

        for seconds in (0.3, 1.0, 0.3, 1.0):
            await trio.sleep(0.3)
            if how == "suspended":
                far.suspend()
                await trio.sleep(seconds)
                far.go_on()
            else:
                way.stall()
                await trio.sleep(seconds)
                way.flow()
            await linked(near)
        here, there = await settle(traffic, far)

        tell(how, here, there)
        check(here, there)


# ---- K1: certificates are replaced


async def test_new_certificates_and_a_new_ca_cost_no_message(authority: ZoneAuthority, tmp_path: Path) -> None:
    credentials = authority.credentials("near")
    async with (
        far_process(tmp_path / "zone", "far") as far,
        open_node(credentials=credentials) as near,
        trio.open_nursery() as nursery,
    ):
        traffic = Traffic(near, Random(1))
        await traffic.open()
        await near.connect(far.address)
        nursery.start_soon(traffic.run, "far")
        await far.ask("send", "near")

        async def both(what: Callable[[Credentials, ZoneAuthority], None]) -> None:
            what(credentials, authority)
            await trio.sleep(0.3)
            await linked(near)
            await far.ask(what.__name__)
            await trio.sleep(0.3)
            await linked(near)

        for _ in range(4):
            await both(renew)
        authority.roll_over()
        await both(trust)
        authority.switch_over()
        await both(renew)
        authority.retire()
        await both(trust)
        here, there = await settle(traffic, far)

        tell("new certificates", here, there)
        check(here, there)
        assert len(credentials.trust.ca) == 1


# ---- K1: a node is locked out


async def test_a_revoked_node_is_cut_off_within_a_second_and_does_not_return(
    authority: ZoneAuthority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    credentials = authority.credentials("near")
    async with (
        far_process(tmp_path / "zone", "far") as far,
        open_node(credentials=credentials, listen="wss://127.0.0.1:0") as near,
        trio.open_nursery() as nursery,
    ):
        traffic = Traffic(near, Random(1))
        await traffic.open()
        await near.connect(far.address)
        assert near.address is not None
        await far.ask("connect", near.address)
        waiters = Waiters(near)
        await waiters.begin(nursery)
        await far.ask("send", "near")
        await trio.sleep(0.5)
        assert traffic.accounts

        authority.revoke("far")
        revoked = trio.current_time()
        trust(credentials, authority)
        await waiters.all_ended(5)
        print("known after", {name: round(time - revoked, 3) for name, time in waiters.times.items()})  # noqa: T201
        waiters.check()
        assert max(waiters.times.values()) - revoked < 1
        await trio.sleep(max(0.0, revoked + 1 - trio.current_time()))
        before = traffic.report()
        caplog.clear()
        for _ in range(30):
            await trio.sleep(0.1)
            assert near.statistics().links == 0

        assert traffic.report() == before
        refusals = [record for record in caplog.records if record.name == "autonomy.security"]
        assert any("revoked" in record.getMessage() for record in refusals), caplog.text
        with pytest.raises(IdentityError, match="revoked"):
            await near.connect(far.address)
