"""``autonomy zone``: who may be a node of a zone, from its making to the change of its CA."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from .._authority import AuthorityTerms, run_authority
from .._deploy.authorities import EMBEDDED, AuthorityFolder, Running
from .._deploy.deploying import zone_state
from .._deploy.home import ZonePlace, autonomy_home
from .._sansio.enrollment import SHORT_NAME, encode_ticket, parse_host_port
from .._sansio.followers import Follower, Step, behind
from .._sansio.members import prefix_of
from ..errors import AutonomyError, DeployFailed, IdentityError
from ..identity import ZoneAuthority
from ..identity.enrolling import digest_of
from ..identity.tickets import TicketBook
from ..logs import start_logging
from .shown import as_json, as_json_line, show_table
from .zone import ZONE_FILE, NoSuchZone, in_json, name_of, until_interrupted

_SPAN: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Span(click.ParamType[float]):
    """A span of time: ``90s``, ``10m``, ``2h``, ``1d``; seconds without a letter."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        found = _SPAN.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is no span of time: write 90s, 10m, 2h or 1d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@dataclass(frozen=True, slots=True)
class Certified:
    """A zone whose CA is on this machine.

    Attributes:
        zone: Its name.
        cluster: Its cluster.
        authority: Its CA.
        place: Its authority's folder; None for a zone that is deployed on this machine.
    """

    zone: str
    cluster: str
    authority: ZoneAuthority
    place: AuthorityFolder | None

    def full_name(self, node: str) -> str:
        """Return a node's full name, from what somebody calls it."""
        prefix = prefix_of(self.cluster, self.zone)
        return node if node.startswith(prefix) else prefix + node

    def of_authority(self) -> AuthorityFolder:
        """Return the folder of its authority.

        Raises:
            DeployFailed: It is a zone that is deployed on this machine.
        """
        if self.place is None:
            raise DeployFailed(
                f"zone {self.zone!r} is deployed on this machine, where its supervisor makes all certificates: this is "
                "for zones that 'autonomy zone init' has made"
            )
        return self.place


def of_authority(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options to say which zone is meant."""
    said = f"The zone's name; without it, that in ./{ZONE_FILE}, or the only one that was made on this machine."
    command = click.option("--zone", "name", metavar="NAME", help=said)(command)
    folder = click.Path(file_okay=False, path_type=Path)
    return click.option("--folder", type=folder, metavar="DIR", help="Where the zone is kept, if elsewhere.")(command)


def place_of(name: str | None, folder: Path | None) -> AuthorityFolder | None:
    """Return the folder of the zone that is meant, if its authority is on this machine."""
    if folder is not None:
        place = AuthorityFolder(folder)
        if not place.is_there:
            raise NoSuchZone(f"there is no zone in {str(folder)!r}: 'autonomy zone init' makes one")
        return place
    home = autonomy_home()
    if name is None and not Path(ZONE_FILE).exists():
        there = sorted(each for each in (home / "authorities").glob("*") if AuthorityFolder(each).is_there)
        if len(there) == 1:
            return AuthorityFolder(there[0])
    place = AuthorityFolder.of(home, name_of(name))
    return place if place.is_there else None


def certified(name: str | None, folder: Path | None) -> Certified:
    """Return the zone that is meant.

    Raises:
        NoSuchZone: There is none of that name.
    """
    place = place_of(name, folder)
    if place is not None:
        settings = place.settings
        return Certified(settings.zone, settings.cluster, place.open(), place)
    name = name_of(name)
    state = zone_state(name)
    if state is None:
        raise NoSuchZone(f"there is no zone {name!r} on this machine: 'autonomy zone init' makes one, or 'deploy'")
    return Certified(name, state.cluster, ZoneAuthority(ZonePlace.of(autonomy_home(), name).ca), None)


@click.command()
@click.argument("name")
@click.option("--cluster", default="local", show_default=True, help="The first part of the nodes' full names.")
@click.option("--directory", default=EMBEDDED, show_default=True, metavar="URL", help="Where the zone's directory is.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Keep it there.")
@in_json
def init(name: str, cluster: str, directory: str, folder: Path | None, *, in_json: bool) -> None:
    """Make a zone of machines: its CA, and what its nodes are told, in a folder of this machine.

    The folder is the power to name nodes: keep a copy, and show it to nobody. `zone authority` runs it. Without a
    directory elsewhere, the authority's node keeps it.
    """
    place = AuthorityFolder.of(autonomy_home(), name)
    place = AuthorityFolder.create(
        folder or place.folder, name, cluster=cluster, directory=directory, passphrase=place.passphrase()
    )
    if in_json:
        click.echo(as_json({"zone": name, "cluster": cluster, "folder": str(place.folder)}))
    else:
        click.echo(f"Zone {name} is in {place.folder}. What nodes are told is in {place.settings_file.name} there.")


@click.command()
@click.argument("name", required=False)
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where it listens for nodes; port 0 for any.")
@click.option("--address", default="", metavar="HOST:PORT", help="Where nodes reach it, if that is elsewhere.")
@click.option("--enroll-listen", default="", metavar="HOST:PORT", help="For tickets; without it, the next port.")
@click.option("--enroll-address", default="", metavar="HOST:PORT", help="Where tickets say that it is.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Where the zone is.")
@click.option("--restored", is_flag=True, help="The folder is a copy, made some time ago.")
@click.option("--certificate-life", type=Span(), default="1d", hidden=True)
@in_json
def authority(
    name: str | None, folder: Path | None, *, in_json: bool, restored: bool, certificate_life: float, **where: str
) -> None:
    """Run the authority of a zone, until Ctrl-C: it takes nodes in, renews certificates, tells who was revoked.

    It is a node of the zone, called `authority`, and keeps the directory if no other one is named.
    """
    place = place_of(name, folder)
    if place is None:
        raise NoSuchZone(f"there is no zone {name_of(name)!r} on this machine: 'autonomy zone init' makes one")
    for option in ("listen", "address", "enroll_listen", "enroll_address"):
        if where[option]:
            parse_host_port(where[option])
    terms = AuthorityTerms(
        listen=f"wss://{where['listen']}",
        address=where["address"] and f"wss://{where['address']}",
        enroll_listen=where["enroll_listen"],
        enroll_address=where["enroll_address"],
        lifetime=timedelta(seconds=certificate_life),
    )

    def told(running: Running) -> None:
        if in_json:
            click.echo(as_json_line(running))
        else:
            click.echo(f"Nodes reach it at {running.address}, machines with a ticket at {running.enroll}.")

    undo = start_logging()
    try:
        if restored:
            place.open().restored()
        until_interrupted(partial(run_authority, place, terms, told))
    finally:
        undo()


@click.command()
@of_authority
@click.option("--names", default="*", show_default=True, help="Short names that it is good for: one, or a pattern.")
@click.option("--ttl", type=Span(), default="10m", show_default=True, help="How long: 90s, 10m, 2h, 1d.")
@click.option("--uses", type=int, default=1, show_default=True, help="How often.")
@click.option("--replace", is_flag=True, help="Also for names that a node has; what that had is revoked.")
@click.option("--at", metavar="HOST:PORT", help="Where the authority will be, if it has never run.")
@in_json
def ticket(
    name: str | None,
    folder: Path | None,
    names: str,
    ttl: float,
    uses: int,
    at: str | None,
    *,
    replace: bool,
    in_json: bool,
) -> None:
    """Print a ticket, with which a machine joins the zone: ENROLLMENT_TICKET=… NODE=runner-1 python main.py.

    Whoever has it may join: hand it on as you would a password. Nothing of it is kept here but its hash.
    """
    found = certified(name, folder)
    place = found.of_authority()
    running = place.last_running
    if at is None and running is None:
        raise DeployFailed(
            f"nobody knows where the authority of zone {found.zone!r} is: run 'autonomy zone authority', or say where "
            "it will be, --at HOST:PORT"
        )
    where = at or (running.enroll if running else "")
    parse_host_port(where)
    made = TicketBook(place.folder).lend(
        zone=found.zone,
        cluster=found.cluster,
        at=where,
        ca=tuple(digest_of(each) for each in found.authority.ca),
        names=names,
        ttl=ttl,
        uses=uses,
        replaces=replace,
    )
    text = encode_ticket(made)
    if in_json:
        click.echo(as_json({"ticket": text, "ref": made.ref, "names": names, "uses": uses, "until": made.until}))
    else:
        click.echo(text)
        if place.running is None:
            click.echo(f"autonomy: the authority of zone {found.zone!r} does not run: no ticket is good so", err=True)


@click.command()
@click.argument("node")
@of_authority
@in_json
def revoke(node: str, name: str | None, folder: Path | None, *, in_json: bool) -> None:
    """Cut a NODE off, by its short or full name, and bar it: it gets no certificate until `admit`.

    All nodes that are linked to the authority know within a second; others when they are again.
    """
    found = certified(name, folder)
    full = found.full_name(node)
    if full == found.full_name(SHORT_NAME) and found.place is not None:
        raise ValueError(f"{full!r} is the authority itself; to replace its CA, roll it over")
    ledger = found.authority.ledger
    if not any(each.name == full for each in ledger.issued.values()):
        there = ", ".join(sorted({each.name for each in ledger.issued.values()})) or "none yet"
        raise IdentityError(f"zone {found.zone!r} has issued nothing to a node {full!r}; there are {there:.400}")
    found.authority.bar(full)
    live = ledger.live(full, found.authority.now())
    revoked = found.authority.revoke(full) if live else 0
    if in_json:
        click.echo(as_json({"node": full, "revoked": revoked, "barred": True}))
    else:
        what = f"{revoked} certificate{'s' * (revoked != 1)} revoked" if live else "it had no valid certificate"
        click.echo(f"Node {full} is barred; {what}.")


@click.command()
@click.argument("node")
@of_authority
@in_json
def admit(node: str, name: str | None, folder: Path | None, *, in_json: bool) -> None:
    """Let a NODE that was revoked join again, with a new ticket."""
    found = certified(name, folder)
    full = found.full_name(node)
    was_barred = found.authority.admit(full)
    if in_json:
        click.echo(as_json({"node": full, "was_barred": was_barred}))
    else:
        click.echo(f"Node {full} may join again." if was_barred else f"Node {full} was not barred.")


@click.command()
@of_authority
@in_json
def nodes(name: str | None, folder: Path | None, *, in_json: bool) -> None:
    """Show the nodes of a zone that have a certificate or are barred, and what they have taken of the last news."""
    found = certified(name, folder)
    ledger, now = found.authority.ledger, found.authority.now()
    followers = {each.name: each for each in (found.place.followers if found.place else [])}
    names = sorted({each.name for each in ledger.issued.values() if each.not_after > now} | set(ledger.barred))
    rows = []
    for each in names:
        live = ledger.live(each, now)
        follower = followers.get(each, Follower(name=each))
        is_authority = found.place is not None and each == found.full_name(SHORT_NAME)
        linked = follower.is_linked or (is_authority and found.place is not None and found.place.running is not None)
        state = "barred" if each in ledger.barred else "linked" if linked else "away" if found.place else "deployed"
        until = max((one.not_after for one in live), default=None)
        rows.append(
            {
                "node": each,
                "state": state,
                "until": None if until is None else until.isoformat(timespec="seconds"),
                "crl": follower.crl or None,
            }
        )
    if in_json:
        click.echo(as_json(rows))
    else:
        show_table(["NODE", "STATE", "CERTIFICATE UNTIL", "CRL"], [list(row.values()) for row in rows])


@click.command()
@of_authority
@in_json
def certificates(name: str | None, folder: Path | None, *, in_json: bool) -> None:
    """Show the certificates of a zone that have not ended, and which of its CAs has issued each."""
    found = certified(name, folder)
    ledger, now = found.authority.ledger, found.authority.now()
    issuer = found.authority.issuer
    rows = [
        {
            "serial": serial,
            "node": each.name,
            "state": "revoked" if serial in ledger.revoked else "valid",
            "until": each.not_after.isoformat(timespec="seconds"),
            "ca": each.ca,
            "is_by_present_ca": each.ca == issuer,
        }
        for serial, each in sorted(ledger.issued.items(), key=lambda item: (item[1].name, item[1].not_after))
        if each.not_after > now
    ]
    if in_json:
        click.echo(as_json(rows))
    else:
        shown = [[row["serial"], row["node"], row["state"], row["until"], str(row["ca"])[:16]] for row in rows]
        show_table(["SERIAL", "NODE", "STATE", "UNTIL", "CA"], shown)


# --- another CA, in three steps


def _step(step: Step, act: Callable[[ZoneAuthority], None], said: str) -> Callable[..., None]:
    def change(name: str | None, folder: Path | None, *, in_json: bool, leave_behind: bool = False) -> None:
        found = certified(name, folder)
        _check_followed(step, found, leave_behind=leave_behind)
        act(found.authority)
        if in_json:
            click.echo(as_json({"zone": found.zone, "step": step, "cas": list(found.authority.ca_ids)}))
        else:
            click.echo(said)

    return change


def _check_followed(step: Step, found: Certified, *, leave_behind: bool) -> None:
    """Refuse a step that would lock out nodes, for they have not taken the one before it."""
    place, authority = found.of_authority(), found.authority
    ledger = authority.ledger
    own = found.full_name(SHORT_NAME)
    valid = {each.name for each in ledger.issued.values() if ledger.live(each.name, authority.now())}
    issuers = {serial: each.ca for serial, each in ledger.issued.items()}
    names = valid - set(ledger.barred) - {own}
    live, away = behind(step, authority.ca_ids[-1], names, place.followers, issuers)
    if (
        step == "retire"
        and place.running
        and not any(each.ca == authority.ca_ids[-1] for each in ledger.live(own, authority.now()))
    ):
        live = [own, *live]
    what = "does not trust the new CA yet" if step == "switch-over" else "has no certificate by the new CA yet"
    if live:
        raise NotFollowed(
            f"{', '.join(live):.400} {what}: that takes seconds. Try again; 'autonomy zone nodes' shows them"
        )
    if away and not leave_behind:
        raise NotFollowed(
            f"{', '.join(away):.400} {what}, and is away: wait for it, 'revoke' it, or go on by --leave-behind; "
            "then it needs a new ticket to come back"
        )


class NotFollowed(AutonomyError):
    """A step would lock out nodes."""


def _change(step: Step, act: Callable[[ZoneAuthority], None], said: str, text: str, *, forced: bool) -> click.Command:
    command: Any = _step(step, act, said)
    command.__doc__ = text
    if forced:
        told = "Go on without nodes that are away."
        command = click.option("--leave-behind", is_flag=True, help=told)(command)
    return click.command(step)(of_authority(in_json(command)))


CHANGES: Final = (
    _change(
        "roll-over",
        ZoneAuthority.roll_over,
        "There is a next CA, which all nodes learn to trust. Next: autonomy zone switch-over.",
        "Begin to change the zone's CA: make the next one, and have all nodes trust both. First of three steps.",
        forced=False,
    ),
    _change(
        "switch-over",
        ZoneAuthority.switch_over,
        "The new CA issues, and all nodes renew their certificates. Next: autonomy zone retire.",
        "Let the new CA issue, and have all nodes renew. Second of three steps; refused while a node has not taken the "
        "first.",
        forced=True,
    ),
    _change(
        "retire",
        ZoneAuthority.retire,
        "The old CA is gone.",
        "Forget the old CA and its key. Last of three steps; refused while a node has not taken the second.",
        forced=True,
    ),
)


def add_commands(group: click.Group) -> None:
    """Add all of these to a group."""
    for command in (init, authority, ticket, revoke, admit, nodes, certificates, *CHANGES):
        group.add_command(command)
