"""A program's node that joins a zone by a ticket, or has joined before: what that means as options of a node.

What a ticket has brought is kept in ``$AUTONOMY_HOME/nodes/ZONE/NAME``, so that a restart needs none.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import trio

from .. import logs
from .._deploy.home import autonomy_home
from .._links.addresses import parse_address
from .._sansio.enrollment import Place, check_short_name, decode_ticket
from .._sansio.members import ZoneInfo, is_part
from .._sansio.spec import zone_name_problem
from ..abc import Directory
from ..directory import directory_at
from ..errors import IdentityError, Unreachable
from ..identity import Credentials, Enrolled, catch_up, enroll, enrolled_in
from ..identity.mounted import read_secret

_log = logs.get_logger("identity")
_EVERYWHERE = "wss://0.0.0.0:0"


def join_zone(variables: MutableMapping[str, str], name: str | None) -> Enrolled | None:
    """Return the node of a program that belongs to a zone, by what its environment says; None if it belongs to none.

    ENROLLMENT_TICKET, or the file that ENROLLMENT_TICKET_FILE names, is used if nothing usable is kept of an earlier
    time; else a node is found by ZONE and its name. Both are taken out of the environment, whatever comes of it. A file
    that is not there, or empty, is no ticket. Blocks until it has joined.

    Args:
        variables: The environment.
        name: Short name of the node; None for what NODE says, else ``node``.

    Raises:
        ValueError: It is no ticket, or both name one, or no node can have that name.
        IdentityError: The ticket was refused; or its file could have been read by others; or what is kept cannot be
            used, or nothing is, and there is no ticket.
        Unreachable: The authority did not answer.
    """
    ticket, file = _take_ticket(variables)
    short_name = name or variables.get("NODE") or "node"
    zone = decode_ticket(ticket).zone if ticket else variables.get("ZONE", "")
    if ticket:
        check_short_name(short_name)
        if variables.get("ZONE") not in (None, "", zone):
            raise ValueError(f"environment variable ZONE says {variables['ZONE']!r:.80}, the ticket is for {zone!r}")
    elif zone_name_problem(zone) or "/" in short_name:
        if file:
            raise _no_ticket(file, f"node {short_name!r:.140}, and ZONE does not say which zone it had joined")
        return None
    folder = autonomy_home(variables) / "nodes" / zone / short_name
    kept = _kept_in(folder, short_name, zone, has_ticket=bool(ticket))
    if kept is not None:
        _log.info("joined before; no ticket is used", node=kept.place.name, ticket_given=bool(ticket))
        return kept
    if ticket:
        return trio.run(enroll, ticket, short_name, folder)
    if file:
        raise _no_ticket(file, f"node {short_name!r} of zone {zone!r}")
    return None


def _take_ticket(variables: MutableMapping[str, str]) -> tuple[str, str]:
    """Take a ticket out of an environment; return it, or nothing, and the file that it was to be in, if any."""
    ticket, file = variables.pop("ENROLLMENT_TICKET", ""), variables.pop("ENROLLMENT_TICKET_FILE", "")
    if ticket and file:
        raise ValueError(
            "environment variables ENROLLMENT_TICKET and ENROLLMENT_TICKET_FILE are both set: leave one out"
        )
    if not file:
        return ticket, ""
    try:
        return read_secret(Path(file)).decode("ascii", "replace").strip(), file
    except IdentityError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return "", file
        raise IdentityError(f"environment variable ENROLLMENT_TICKET_FILE: {error}", reason=error.reason) from error


def _no_ticket(file: str, of: str) -> IdentityError:
    return IdentityError(
        f"environment variable ENROLLMENT_TICKET_FILE names {file!r}, which is not there or is empty, and nothing is "
        f"kept of {of}: 'autonomy zone ticket' prints what belongs there",
        reason="ticket",
    )


def _kept_in(folder: Path, short_name: str, zone: str, *, has_ticket: bool) -> Enrolled | None:
    """Return what is kept of an earlier time, if it can be used; None if a ticket is to make it anew."""
    try:
        try:
            return enrolled_in(folder)
        except IdentityError as error:
            if error.reason != "revocation_unknown":
                raise
        return trio.run(catch_up, folder)
    except (IdentityError, Unreachable) as error:
        if has_ticket:
            _log.warning("what was kept cannot be used; joining again", node=short_name, zone=zone, reason=error)
            return None
        if isinstance(error, Unreachable):
            raise
        if error.reason == "expired":
            raise IdentityError(
                f"the certificate of node {short_name!r} of zone {zone!r} has ended while it was away: it needs a new "
                f"ticket, in ENROLLMENT_TICKET ('autonomy zone ticket --names {short_name}' prints one)",
                reason=error.reason,
            ) from error
        raise IdentityError(
            f"what is kept of node {short_name!r} of zone {zone!r} cannot be used: {error}. "
            "A new ticket, in ENROLLMENT_TICKET, lets it join again.",
            reason=error.reason,
        ) from error


def options_of(enrolled: Enrolled, variables: MutableMapping[str, str]) -> dict[str, Any]:
    """Return what `open_node` is told of a node that has joined.

    Raises:
        ValueError: AUTONOMY_LISTEN, AUTONOMY_ADDRESS, AUTONOMY_POD, AUTONOMY_CONTAINER or AUTONOMY_INDEX says what
            cannot be.
    """
    place = enrolled.place
    return {
        "enrolled": enrolled,
        "listen": _address(variables, "AUTONOMY_LISTEN") or _EVERYWHERE,
        "zone": ZoneInfo(
            place.zone,
            place.cluster,
            _part(variables, "AUTONOMY_POD"),
            _part(variables, "AUTONOMY_CONTAINER"),
            _index(variables),
            address=_address(variables, "AUTONOMY_ADDRESS"),
        ),
        "rights": place.rights,
        "code": place.code,
    }


def placed(
    enrolled: Enrolled | None, credentials: Credentials | None, zone: ZoneInfo | None, directory: Directory | str | None
) -> tuple[Credentials | None, ZoneInfo | None, Directory | None]:
    """Return the credentials, the zone and the directory of a node: what is given, else what it joined.

    Raises:
        ValueError, ImportError: The directory's URL is none, or names files that cannot be used here, or it needs an
            extra.
    """
    if enrolled is not None:
        place = enrolled.place
        credentials = enrolled.credentials
        zone = zone or ZoneInfo(place.zone, place.cluster)
        directory = directory or _directory_of(place)
    return credentials, zone, directory_at(directory) if isinstance(directory, str) else directory


def _directory_of(place: Place) -> Directory:
    """Return the directory that a node was told when it joined."""
    try:
        return directory_at(place.directory)
    except ValueError as error:
        raise ValueError(
            f"zone {place.zone!r} has its directory at {place.directory!r}: {error}. What a directory's URL names are "
            "files of each machine: put it right here, and start again; the ticket is used, and no other one is needed."
        ) from error


def _address(variables: MutableMapping[str, str], variable: str) -> str:
    text = variables.get(variable, "")
    if not text:
        return ""
    address = text if "://" in text else f"wss://{text}"
    try:
        parse_address(address)
    except ValueError as error:
        raise ValueError(f"environment variable {variable}: {error}") from None
    return address


def _part(variables: MutableMapping[str, str], variable: str) -> str:
    text = variables.get(variable, "")
    if not is_part(text):
        raise ValueError(f"environment variable {variable}: {text!r:.160} is not allowed: use A-Z a-z 0-9 _ -")
    return text


def _index(variables: MutableMapping[str, str]) -> int | None:
    text = variables.get("AUTONOMY_INDEX", "")
    if not re.fullmatch(r"[0-9]{0,9}", text):
        raise ValueError(
            f"environment variable AUTONOMY_INDEX: the number of a clone, from 0, is wanted, got {text!r:.80}"
        )
    return int(text) if text else None
