"""A machine joins a zone with a ticket: what each side says, and what it does not say to whom."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from autonomy._sansio.enrollment import Question, Ticket, encode_ticket, introductions
from autonomy.errors import IdentityError, Unreachable
from autonomy.identity import Credentials, ZoneAuthority, enroll, enrolled_in, new_key
from autonomy.identity.asking import Asked, Asker, answer_all
from autonomy.identity.contexts import open_context, stranger_context
from autonomy.identity.enrolling import new_request
from autonomy.identity.pem import write_certificates, write_crls
from autonomy.identity.tickets import TicketBook

from .conftest import SecurityLog
from .desk import AUTHORITY, Desk
from .forge import HOUR, Clock, der


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Desk:
    return Desk(tmp_path / "zone", clock)


# ---- who may


async def test_a_machine_with_a_ticket_gets_credentials_that_the_zone_accepts(desk: Desk, tmp_path: Path) -> None:
    async with desk.open():
        enrolled = await desk.enroll(desk.lend(), folder=tmp_path / "node")

    name = "local-shop-runner-1"
    assert enrolled.credentials.name == enrolled.place.name == name
    assert desk.credentials.trust.verify(der_of(enrolled.credentials)).name == name
    kept = enrolled_in(tmp_path / "node", clock=desk.clock)
    assert kept is not None
    assert (kept.credentials.certificate, kept.place) == (enrolled.credentials.certificate, enrolled.place)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in (tmp_path / "node").iterdir()}
    assert modes == dict.fromkeys(["node.pem", "ca.crt", "ca.crl", "place.json"], 0o600)
    assert stat.S_IMODE((tmp_path / "node").stat().st_mode) == 0o700


def der_of(credentials: Credentials) -> bytes:
    return der(credentials.certificate)


async def test_a_ticket_for_one_use_is_good_once_and_its_second_use_is_an_alarm(
    desk: Desk, security_log: SecurityLog
) -> None:
    ticket = desk.lend()
    async with desk.open():
        await desk.enroll(ticket)
        with pytest.raises(IdentityError, match=r"was good once, and is used up") as caught:
            await desk.enroll(ticket, "runner-2")

    assert caught.value.reason == "ticket"
    (line,) = security_log.about("ticket refused")
    assert f"ticket={ticket.ref}" in line
    assert "name=runner-2 address=192.0.2.1" in line


async def test_what_is_wrong_with_a_ticket_is_said_only_to_who_has_its_secret(desk: Desk) -> None:
    expired, other, good = desk.lend(ttl=60), desk.lend("main"), desk.lend()
    desk.clock.now += HOUR / 10
    async with desk.open():
        said = []
        for ticket in (
            expired,
            other,
            Ticket(**fields(good) | {"ref": "00000000"}),
            Ticket(**fields(good) | {"secret": "A" * 43}),
        ):
            with pytest.raises(IdentityError) as caught:
                await desk.enroll(ticket)
            said.append(str(caught.value))

    assert "ended 5 minutes ago" in said[0]
    assert "is good for nodes called 'main', and this one is called 'runner-1'" in said[1]
    assert "knows no such ticket" in said[2]
    assert said[3] == said[2]


def fields(ticket: Ticket) -> dict[str, Any]:
    return {name: getattr(ticket, name) for name in ticket.__struct_fields__}


async def test_a_pattern_does_not_take_over_a_name_that_a_live_node_has(desk: Desk) -> None:
    async with desk.open():
        first = await desk.enroll(desk.lend())
        with pytest.raises(IdentityError, match="has a valid certificate already") as caught:
            await desk.enroll(unused := desk.lend())
        second = await desk.enroll(unused, "runner-2")
        third = await desk.enroll(desk.lend("runner-1"))
        fourth = await desk.enroll(desk.lend(replaces=True))

    assert "--names runner-1" in str(caught.value)
    assert second.credentials.name == "local-shop-runner-2"  # a refusal has not used the ticket up
    trust = fourth.credentials.trust
    for before in (first, third):
        with pytest.raises(IdentityError, match="certificate revoked"):
            trust.verify(der_of(before.credentials))


async def test_a_barred_node_joins_again_only_by_admit_or_a_newer_ticket_for_itself(desk: Desk) -> None:
    async with desk.open():
        old = desk.lend("runner-1")
        await desk.enroll(desk.lend("runner-1"))
        desk.clock.now += HOUR / 60
        desk.authority.bar("local-shop-runner-1")
        desk.authority.revoke("local-shop-runner-1")
        for ticket in (old, desk.lend("runner-*")):
            with pytest.raises(IdentityError, match="was revoked, and is barred"):
                await desk.enroll(ticket)
        again = await desk.enroll(desk.lend("runner-1"))

    assert again.credentials.name not in desk.authority.ledger.barred


async def test_only_the_key_of_a_request_is_certified(desk: Desk) -> None:
    async with desk.open():
        enrolled = await desk.enroll(desk.lend("runner-1"))

    assert enrolled.credentials.certificate.subject.rfc4514_string() == ""
    assert enrolled.credentials.uri == "spiffe://shop/node/local-shop-runner-1"


# ---- who is told


async def test_another_ca_of_the_same_zone_name_is_told_nothing(desk: Desk, tmp_path: Path) -> None:
    ticket = desk.lend()
    false = Desk(tmp_path / "false", desk.clock)
    async with false.open():
        with pytest.raises(IdentityError, match="shows another CA than the one that the ticket is for"):
            await false.enroll(ticket)

    assert false.met == 1
    assert not (tmp_path / "false" / "tickets.log").exists()


async def test_who_shows_the_right_ca_and_is_not_the_authority_is_told_nothing(desk: Desk, tmp_path: Path) -> None:
    ticket, asked = desk.lend(), []
    node = desk.authority.credentials("local-shop-runner-9")
    stranger = ZoneAuthority.create(tmp_path / "false", "shop", clock=desk.clock).credentials(AUTHORITY)

    async def answer(question: Asked) -> tuple[int, bytes]:
        asked.append(question)
        return 200, json.dumps(
            {
                "zone": "shop",
                "ca": write_certificates(desk.authority.ca).decode(),
                "crl": write_crls(desk.authority.crl).decode(),
            }
        ).encode()

    for liar, said in ((node, "expected 'local-shop-authority'"), (stranger, "does not verify")):

        async def between(stream: trio.abc.Stream, liar: Credentials = liar) -> None:
            tls = trio.SSLStream(stream, open_context(liar), server_side=True, https_compatible=True)
            try:
                await tls.do_handshake()
                await answer_all(tls, answer, longest=8192)
            except trio.BrokenResourceError:
                pass

        async with trio.open_nursery() as nursery:

            async def connect(host: str, port: int) -> trio.abc.Stream:
                here, there = memory_stream_pair()
                nursery.start_soon(between, there)
                return here

            with pytest.raises(IdentityError, match=said):
                await enroll(encode_ticket(ticket), "runner-1", clock=desk.clock, connect=connect)
            nursery.cancel_scope.cancel()

    assert [each.method for each in asked] == ["GET", "GET"]
    assert not any(ticket.secret in repr(each) for each in asked)


# ---- how much a stranger may cost


async def talk(desk: Desk) -> tuple[Asker, trio.SSLStream[trio.abc.Stream]]:
    stream = trio.SSLStream(await desk.connect("10.0.0.1", 7401), stranger_context(), https_compatible=True)
    await stream.do_handshake()
    return Asker(stream, "10.0.0.1:7401", 2**20), stream


async def test_whoever_is_refused_five_times_waits_a_minute(desk: Desk, mock_clock: MockClock) -> None:
    good = desk.lend()

    def question(secret: str) -> bytes:
        asked = Question(ref=good.ref, secret=secret, name="runner-1", request=new_request(new_key()))
        return msgspec.json.encode(asked)

    async def post(body: bytes) -> int:
        asker, _ = await talk(desk)
        return (await asker.ask("POST", "/enroll", body))[0]

    async with desk.open():
        wrong = [await post(question("A" * 43)) for _ in range(5)]
        at_once = await post(question(good.secret))
        mock_clock.jump(61)
        a_minute_later = await post(question(good.secret))

    assert (wrong, at_once, a_minute_later) == ([403] * 5, 429, 200)


async def test_an_authority_that_is_not_there_is_asked_until_the_time_is_up(
    desk: Desk, autojump_clock: MockClock
) -> None:
    async def connect(host: str, port: int) -> trio.abc.Stream:
        raise ConnectionRefusedError("nobody listens")

    with pytest.raises(Unreachable, match=r"could not be asked at 10\.0\.0\.1:7401 within 30 s: nobody listens"):
        await enroll(encode_ticket(desk.lend()), "runner-1", clock=desk.clock, connect=connect)

    assert trio.current_time() == pytest.approx(30, abs=1)


async def test_a_request_of_more_than_eight_kilobytes_ends_the_conversation(desk: Desk) -> None:
    async with desk.open():
        asker, _ = await talk(desk)

        status, _ = await asker.ask("POST", "/enroll", b"x" * 9000)

    assert status == 413


@pytest.mark.parametrize(
    "data", [b"\0" * 4000, b"GET / HTTP/x\r\n\r\n", b"POST /enroll HTTP/1.1\r\n" + b"a: b\r\n" * 3000]
)
async def test_no_bytes_whatever_harm_the_desk(desk: Desk, data: bytes) -> None:
    async with desk.open():
        _, stream = await talk(desk)
        with suppress(trio.BrokenResourceError):
            await stream.send_all(data)
            while await stream.receive_some():
                pass
        enrolled = await desk.enroll(desk.lend())

    assert enrolled.credentials.name == "local-shop-runner-1"


async def test_an_introduction_is_for_everybody_and_other_paths_are_not_there(desk: Desk) -> None:
    async with desk.open():
        asker, _ = await talk(desk)
        shown = await asker.ask("GET", "/zone")
        lost = await asker.ask("GET", "/tickets.log")

    assert introductions.decode(shown[1]).zone == "shop"
    assert lost[0] == 404


# ---- what is on the disk


def test_the_secret_is_not_in_the_folder_of_the_authority(desk: Desk) -> None:
    ticket = desk.lend()

    kept = b"".join(each.read_bytes() for each in desk.folder.iterdir())

    assert ticket.secret.encode() not in kept
    assert ticket.ref.encode() in kept
    assert stat.S_IMODE((desk.folder / "tickets.log").stat().st_mode) == 0o600


KILLED = """
import os, signal, sys
from pathlib import Path
from autonomy._sansio.enrollment import Question
from autonomy.identity.tickets import TicketBook

ref, secret, key = sys.argv[2:]
TicketBook(Path(sys.argv[1])).spend(Question(ref=ref, secret=secret, name="runner-1", request="pem"), key)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_killed_between_spending_and_signing_a_use_is_lost_to_all_but_who_asked(tmp_path: Path) -> None:
    ZoneAuthority.create(tmp_path / "zone", "shop")
    book = TicketBook(tmp_path / "zone")
    ticket = book.lend(zone="shop", cluster="local", at="a:1", ca=("ab" * 32,), names="runner-*", ttl=600, uses=1)
    words = [sys.executable, "-c", KILLED, str(tmp_path / "zone"), ticket.ref, ticket.secret, "one key"]

    ended = subprocess.run(words, timeout=60)

    assert ended.returncode == -9
    question = Question(ref=ticket.ref, secret=ticket.secret, name="runner-1", request="pem")
    with pytest.raises(IdentityError, match="used up"):
        book.spend(question, "another key")
    assert book.spend(question, "one key").used == 1
    assert [each.used for each in book.lent()] == [1]


def test_a_line_cut_short_by_a_crash_never_took_effect(tmp_path: Path, clock: Clock) -> None:
    desk = Desk(tmp_path / "zone", clock)
    ticket = desk.lend()
    path = desk.folder / "tickets.log"
    with path.open("ab") as file:
        file.write(b'{"event":"used","ref":"' + ticket.ref.encode() + b'","at":1.0,"na')

    question = Question(ref=ticket.ref, secret=ticket.secret, name="runner-1", request="pem")

    assert desk.book.spend(question, "key").used == 1
    assert [each.used for each in desk.book.lent()] == [1]


def test_a_request_says_nothing_but_its_key() -> None:
    key = new_key()

    request = new_request(key)

    assert len(request) < 500
    assert "PRIVATE" not in request
