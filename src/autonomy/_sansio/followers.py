"""What the nodes of a zone have taken of what its authority tells them, and who has not followed a change of CA.

The next step of such a change would lock out whoever has not taken the last one: so it is asked here first. What is
known of nodes is what they have said, about themselves alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

Step = Literal["roll-over", "switch-over", "retire"]


class Follower(msgspec.Struct, frozen=True, kw_only=True):
    """What one node has taken.

    Attributes:
        name: Its full name.
        is_linked: Whether the authority has a link to it.
        heard: When it was heard of last, in seconds since 1970.
        cas: Key ids of the CAs that it trusts.
        crl: Number of the newest CRL that it heeds.
        serial: Serial number of the certificate that it shows, in hex.
    """

    name: str
    is_linked: bool = False
    heard: float = 0.0
    cas: tuple[str, ...] = ()
    crl: int = 0
    serial: str = ""


def behind(
    step: Step,
    new_ca: str,
    names: Iterable[str],
    followers: Iterable[Follower],
    issuers: Mapping[str, str],
) -> tuple[list[str], list[str]]:
    """Return the nodes that a step would lock out: those that are linked, and those that are away.

    Args:
        step: Of a change of CA.
        new_ca: Key id of the CA that comes.
        names: Of the nodes that have a valid certificate.
        followers: What is known of nodes.
        issuers: By serial number, key id of the CA that issued a certificate.
    """
    known = {each.name: each for each in followers}
    live: list[str] = []
    away: list[str] = []
    for name in sorted(names):
        follower = known.get(name, Follower(name=name))
        has_followed = {
            "roll-over": True,
            "switch-over": new_ca in follower.cas,
            "retire": issuers.get(follower.serial) == new_ca,
        }[step]
        if not has_followed:
            (live if follower.is_linked else away).append(name)
    return live, away
