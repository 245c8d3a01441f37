"""What a program's environment says of the zone that it joins or has joined; no network."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from autonomy import Node, ZoneInfo
from autonomy._sansio.enrollment import Place, Ticket, encode_ticket
from autonomy._zone.enrolled import join_zone, options_of
from autonomy.errors import IdentityError
from autonomy.identity import Enrolled, ZoneAuthority
from tests.identity.test_mounted import mount

TICKET = Ticket(
    v=1,
    zone="shop",
    cluster="local",
    at="127.0.0.1:1",
    ca=("ab" * 32,),
    ref="1f2e",
    secret="s" * 43,
    until=2**31,
    names="*",
)


def kept_in(home: Path) -> Enrolled:
    """A node that has joined before."""
    credentials = ZoneAuthority.create(home / "zone", "shop").credentials("local-shop-runner-1")
    place = Place(
        name="local-shop-runner-1",
        zone="shop",
        cluster="local",
        directory="embedded://local-shop-authority@127.0.0.1:7400",
        authority="local-shop-authority",
        authority_address="wss://127.0.0.1:7400",
    )
    enrolled = Enrolled(credentials, place, home / "nodes" / "shop" / "runner-1")
    enrolled.save()
    return enrolled


@pytest.mark.parametrize(
    "variables",
    [{}, {"ZONE": "shop"}, {"ZONE": "../../etc"}, {"ZONE": "shop", "NODE": "../x"}, {"ENROLLMENT_TICKET": ""}],
)
def test_without_a_ticket_and_with_nothing_kept_a_program_belongs_to_no_zone(
    variables: dict[str, str], tmp_path: Path
) -> None:
    assert join_zone(variables | {"AUTONOMY_HOME": str(tmp_path)}, None) is None


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ENROLLMENT_TICKET": encode_ticket(TICKET)[:50]}, "cut short"),
        ({"ENROLLMENT_TICKET": encode_ticket(TICKET), "ZONE": "other"}, "the ticket is for 'shop'"),
        ({"ENROLLMENT_TICKET": encode_ticket(TICKET), "NODE": "authority"}, "the zone's authority itself"),
        ({"ENROLLMENT_TICKET": encode_ticket(TICKET), "NODE": "UPPER"}, "node name 'UPPER'"),
    ],
)
def test_a_ticket_that_cannot_be_used_is_a_clear_error_and_leaves_the_environment(
    variables: dict[str, str], said: str, tmp_path: Path
) -> None:
    environment = variables | {"AUTONOMY_HOME": str(tmp_path)}

    with pytest.raises(ValueError, match=said) as caught:
        join_zone(environment, None)

    assert "ENROLLMENT_TICKET" not in environment
    assert TICKET.secret not in str(caught.value)
    assert not (tmp_path / "nodes").exists()


def test_a_node_that_was_kept_is_found_by_zone_and_name_and_its_ticket_not_used(tmp_path: Path) -> None:
    kept = kept_in(tmp_path)
    where = {"AUTONOMY_HOME": str(tmp_path), "NODE": "runner-1"}

    by_zone = join_zone(where | {"ZONE": "shop"}, None)
    by_ticket = join_zone(where | {"ENROLLMENT_TICKET": encode_ticket(TICKET)}, None)

    for found in (by_zone, by_ticket):
        assert found is not None
        assert (found.credentials.certificate, found.place.name) == (kept.credentials.certificate, kept.place.name)


def test_what_others_could_have_read_is_not_used(tmp_path: Path) -> None:
    kept_in(tmp_path)
    (tmp_path / "nodes" / "shop" / "runner-1" / "node.pem").chmod(0o644)

    with pytest.raises(IdentityError, match="A new ticket, in ENROLLMENT_TICKET, lets it join again"):
        join_zone({"AUTONOMY_HOME": str(tmp_path), "NODE": "runner-1", "ZONE": "shop"}, None)


@pytest.mark.parametrize(
    ("variables", "listen", "address"),
    [
        ({}, "wss://0.0.0.0:0", ""),
        ({"AUTONOMY_LISTEN": "wss://127.0.0.1:7500"}, "wss://127.0.0.1:7500", ""),
        ({"AUTONOMY_LISTEN": "0.0.0.0:7500", "AUTONOMY_ADDRESS": "a:9"}, "wss://0.0.0.0:7500", "wss://a:9"),
    ],
)
def test_where_a_node_listens_and_is_reached(
    variables: dict[str, str], listen: str, address: str, tmp_path: Path
) -> None:
    options = options_of(kept_in(tmp_path), variables)

    assert (options["listen"], options["zone"].address) == (listen, address)


def test_an_address_that_cannot_be_names_its_variable(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="environment variable AUTONOMY_ADDRESS: the address of a node is written"):
        options_of(kept_in(tmp_path), {"AUTONOMY_ADDRESS": "nowhere"})


def test_node_start_says_what_is_wrong_with_a_ticket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTONOMY_HOME", str(tmp_path))
    monkeypatch.setenv("ENROLLMENT_TICKET", "abc")

    with pytest.raises(ValueError, match="the enrollment ticket cannot be read"):
        Node.start(None, "runner-1")


def test_a_node_that_was_away_for_too_long_is_told_in_one_sentence_that_it_needs_a_ticket(tmp_path: Path) -> None:
    now = datetime(2021, 4, 5, tzinfo=UTC)
    authority = ZoneAuthority.create(tmp_path / "zone", "shop", clock=lambda: now)
    credentials = authority.credentials("local-shop-runner-1")
    place = Place(
        name="local-shop-runner-1",
        zone="shop",
        cluster="local",
        directory="embedded://local-shop-authority@127.0.0.1:7400",
        authority="local-shop-authority",
        authority_address="wss://127.0.0.1:7400",
        enrollment="127.0.0.1:1",
    )
    Enrolled(credentials, place, tmp_path / "nodes" / "shop" / "runner-1").save()

    with pytest.raises(IdentityError) as caught:
        join_zone({"AUTONOMY_HOME": str(tmp_path), "ZONE": "shop", "NODE": "runner-1"}, None)

    assert str(caught.value) == (
        "the certificate of node 'runner-1' of zone 'shop' has ended while it was away: it needs a new ticket, in "
        "ENROLLMENT_TICKET ('autonomy zone ticket --names runner-1' prints one)"
    )


# ---- a ticket in a file


def _asked_by_file(home: Path, file: Path, **more: str) -> dict[str, str]:
    return {"AUTONOMY_HOME": str(home), "ENROLLMENT_TICKET_FILE": str(file), "NODE": "runner-1", **more}


def _enrolls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have nobody asked; return with which tickets somebody would be."""
    asked: list[str] = []

    async def enroll(ticket: str, name: str, folder: Path) -> None:
        asked.append(ticket)

    monkeypatch.setattr("autonomy._zone.enrolled.enroll", enroll)
    return asked


def _ticket_file(folder: Path, mode: int) -> Path:
    file = folder / "ticket"
    file.write_text(encode_ticket(TICKET) + "\n")
    file.chmod(mode)
    return file


def test_a_ticket_is_read_from_a_file_of_this_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _enrolls(monkeypatch)
    environment = _asked_by_file(tmp_path, _ticket_file(tmp_path, 0o400))

    join_zone(environment, None)

    assert asked == [encode_ticket(TICKET)]
    assert "ENROLLMENT_TICKET_FILE" not in environment


def test_a_ticket_is_read_from_a_mounted_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _enrolls(monkeypatch)
    mount(tmp_path / "secret", {"ticket": encode_ticket(TICKET).encode()})

    join_zone(_asked_by_file(tmp_path, tmp_path / "secret" / "ticket"), None)

    assert asked == [encode_ticket(TICKET)]


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602])
def test_a_ticket_that_others_could_have_read_is_refused(
    tmp_path: Path, mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _enrolls(monkeypatch)

    with pytest.raises(IdentityError, match=rf"ENROLLMENT_TICKET_FILE: .*has mode {mode:04o}, so others") as caught:
        join_zone(_asked_by_file(tmp_path, _ticket_file(tmp_path, mode)), None)

    assert not asked
    assert TICKET.secret not in str(caught.value)


def test_a_mounted_secret_that_everybody_may_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _enrolls(monkeypatch)
    mount(tmp_path / "secret", {"ticket": encode_ticket(TICKET).encode()}, mode=0o444)

    with pytest.raises(IdentityError, match=r"has mode 0444 .* so others on this machine may read it"):
        join_zone(_asked_by_file(tmp_path, tmp_path / "secret" / "ticket"), None)

    assert not asked


def test_a_ticket_and_a_file_of_one_are_an_error(tmp_path: Path) -> None:
    both = _asked_by_file(tmp_path, _ticket_file(tmp_path, 0o600), ENROLLMENT_TICKET=encode_ticket(TICKET))

    with pytest.raises(ValueError, match="ENROLLMENT_TICKET and ENROLLMENT_TICKET_FILE are both set: leave one out"):
        join_zone(both, None)

    assert not {"ENROLLMENT_TICKET", "ENROLLMENT_TICKET_FILE"} & both.keys()


@pytest.mark.parametrize("content", [None, "", "\n"])
@pytest.mark.parametrize("zone", ["shop", ""])
def test_a_file_without_a_ticket_will_do_for_a_node_that_has_joined_and_else_is_named(
    tmp_path: Path, content: str | None, zone: str
) -> None:
    file = tmp_path / "ticket"
    if content is not None:
        file.touch(0o600)
        file.write_text(content)

    with pytest.raises(IdentityError, match=f"names '{file}', which is not there or is empty, and nothing is kept of"):
        join_zone(_asked_by_file(tmp_path, file, ZONE=zone), None)
    kept_in(tmp_path)
    found = join_zone(_asked_by_file(tmp_path, file, ZONE="shop"), None)

    assert found is not None


def test_a_file_with_something_else_is_no_ticket_and_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "ticket"
    file.touch(0o600)
    file.write_bytes(b"s3cret \xff")

    with pytest.raises(ValueError, match="cannot be read") as caught:
        join_zone(_asked_by_file(tmp_path, file), None)

    assert "s3cret" not in str(caught.value)


# ---- which pod it is in


def test_a_node_is_told_its_pod_by_its_environment(tmp_path: Path) -> None:
    kept = kept_in(tmp_path)

    told = options_of(kept, {"AUTONOMY_POD": "runner-pod", "AUTONOMY_CONTAINER": "runner", "AUTONOMY_INDEX": "0"})
    alone = options_of(kept, {"AUTONOMY_POD": "", "AUTONOMY_INDEX": ""})

    assert told["zone"] == ZoneInfo("shop", "local", "runner-pod", "runner", 0)
    assert alone["zone"] == ZoneInfo("shop", "local")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AUTONOMY_POD", "a b", "environment variable AUTONOMY_POD: 'a b' is not allowed: use A-Z a-z 0-9 _ -"),
        ("AUTONOMY_CONTAINER", "a/b", "environment variable AUTONOMY_CONTAINER: 'a/b' is not allowed"),
        ("AUTONOMY_INDEX", "-1", "environment variable AUTONOMY_INDEX: the number of a clone, from 0, is wanted"),
        ("AUTONOMY_INDEX", "two", "got 'two'"),
        ("AUTONOMY_INDEX", "\u0663", "environment variable AUTONOMY_INDEX"),
    ],
)
def test_a_pod_that_cannot_be_is_a_clear_error(tmp_path: Path, variable: str, value: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        options_of(kept_in(tmp_path), {variable: value})
