"""The commands about who may be a node: what they say of what cannot be, and what they leave on the disk."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from autonomy._authority.desk import EnrollmentDesk
from autonomy._cli.command import main
from autonomy._deploy.authorities import AuthorityFolder
from autonomy._links.limits import LinkLimits
from autonomy._sansio.enrollment import Place, decode_ticket, parse_host_port
from autonomy._sansio.followers import Follower, behind
from autonomy.identity import ZoneAuthority
from autonomy.identity.admitting import Admission
from autonomy.identity.tickets import TicketBook


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTONOMY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["zone", *words])


def test_a_new_zone_is_a_folder_for_this_user_alone_and_says_why_nobody_ships(home: Path) -> None:
    made = run("init", "shop", "--cluster", "eu", "--json")

    folder = home / "authorities" / "shop"
    assert json.loads(made.stdout) == {"zone": "shop", "cluster": "eu", "folder": str(folder)}
    settings = json.loads((folder / "settings.json").read_text())
    assert (settings["code"]["mode"], settings["rights"]["ship"]) == ("import", [])
    assert "nobody ships and nobody manages" in settings["about"]
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["init", "../etc"], 2, "zone name '../etc' is not allowed"),
        (["init", "shop", "--cluster", "A"], 2, "cluster name 'A' is not allowed"),
        (["init", "there"], 1, "holds a zone already"),
        (["ticket", "--zone", "nobody"], 3, "no zone 'nobody'"),
        (["ticket"], 1, "nobody knows where the authority of zone 'there' is"),
        (["ticket", "--at", "nowhere"], 2, "'nowhere' is no HOST:PORT"),
        (["ticket", "--at", "a:1", "--ttl", "soon"], 2, "'soon' is no span of time: write 90s, 10m, 2h or 1d"),
        (["ticket", "--at", "a:1", "--ttl", "40d"], 2, "1 second to 30 days"),
        (["ticket", "--at", "a:1", "--names", "A*"], 2, "names 'A*' cannot be what a ticket is good for"),
        (["ticket", "--at", "a:1", "--uses", "0"], 2, "1 to 10000 uses"),
        (["revoke", "runner-1"], 1, "has issued nothing to a node 'local-there-runner-1'"),
        (["revoke", "authority"], 2, "is the authority itself"),
        (["switch-over"], 1, "has one CA alone"),
        (["retire"], 1, "has one CA alone"),
        (["authority", "--listen", "0.0.0.0:7400"], 2, "say where others can, --address HOST:PORT"),
        (["authority", "--listen", "wss://a"], 2, "'wss://a' is no HOST:PORT"),
        (["authority", "nobody", "--listen", "127.0.0.1:0"], 3, "no zone 'nobody'"),
        (["nodes", "--folder", "."], 3, "there is no zone in '.'"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_an_exit_code(home: Path, words: list[str], code: int, said: str) -> None:
    assert run("init", "there").exit_code == 0

    done = run(*words)

    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_ticket_says_for_whom_and_how_long_and_where(home: Path) -> None:
    run("init", "shop")

    made = run("ticket", "--at", "10.0.0.1:7401", "--names", "runner-1", "--ttl", "2h", "--json")

    said = json.loads(made.stdout)
    ticket = decode_ticket(said["ticket"])
    assert (ticket.ref, ticket.names, ticket.at) == (said["ref"], "runner-1", "10.0.0.1:7401")
    (lent,) = TicketBook(home / "authorities" / "shop").lent()
    assert lent.until - lent.made == 7200
    assert ticket.secret not in (home / "authorities" / "shop" / "tickets.log").read_text()


def test_a_ca_key_that_is_encrypted_is_used_by_all_commands(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\n")
    monkeypatch.setenv("AUTONOMY_CA_PASSPHRASE_FILE", str(secret))

    assert run("init", "shop").exit_code == 0

    assert b"ENCRYPTED" in (home / "authorities" / "shop" / "ca.key").read_bytes()
    assert run("certificates", "--json").stdout.strip() == "[]"
    monkeypatch.delenv("AUTONOMY_CA_PASSPHRASE_FILE")
    assert run("certificates").exit_code == 1


# ---- who has followed


def test_a_step_names_those_that_it_would_lock_out_and_no_others() -> None:
    followers = [
        Follower(name="a", is_linked=True, cas=("old", "new"), serial="1"),
        Follower(name="b", is_linked=True, cas=("old",), serial="2"),
        Follower(name="c", cas=("old",), serial="3"),
    ]
    issuers = {"1": "new", "2": "old", "3": "old"}
    names = ["c", "b", "a", "never heard of"]

    assert behind("roll-over", "new", names, followers, issuers) == ([], [])
    assert behind("switch-over", "new", names, followers, issuers) == (["b"], ["c", "never heard of"])
    assert behind("retire", "new", names, followers, issuers) == (["b"], ["c", "never heard of"])


# ---- strangers at the door


@pytest.mark.slow
@pytest.mark.network
async def test_at_most_eight_strangers_of_one_address_are_heard_and_each_not_for_long(tmp_path: Path) -> None:
    place = AuthorityFolder.create(tmp_path / "zone", "shop", cluster="local")
    authority = ZoneAuthority(place.folder)
    admission = Admission(authority, TicketBook(place.folder), authority.credentials("a"), _no_place)
    async with trio.open_nursery() as nursery:
        desk = EnrollmentDesk(admission, LinkLimits(handshake=1.0))
        at = parse_host_port(await nursery.start(desk.serve, "127.0.0.1:0"))
        began = trio.current_time()

        streams = [await trio.open_tcp_stream(*at) for _ in range(12)]
        ended = []
        for stream in reversed(streams):
            assert await stream.receive_some() == b""
            ended.append(trio.current_time() - began)
            await stream.aclose()
        nursery.cancel_scope.cancel()

    assert ended[3] < 1.0 <= ended[-1] + 0.05  # four too many, at once; the others when their time is up


def _no_place(short_name: str) -> Place:
    raise AssertionError(short_name)
