"""At which of its host's addresses others reach this node, and that it may become another one.

A node that listens at all addresses of its host is reached at the one by which the host itself goes to the directory:
the others of the zone go there too. Which one that is, the system is asked again and again, and nobody else is: no
packet is sent for it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

import trio

from .. import logs
from .._links.addresses import parse_address, write_address

_log = logs.get_logger("zone")
_LOOK_EVERY: Final = 1.0
"""Seconds between looks: links are suspected after four, and given up after ten."""


async def address_towards(place: str) -> str | None:
    """Return the address of this host by which it goes to a URL's host, or None if it knows no way there."""
    parts = urlsplit(place)
    try:
        found = await trio.socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_DGRAM)
    except OSError:
        return None
    for family, kind, protocol, _, where in found:
        with trio.socket.socket(family, kind, protocol) as asking:
            try:
                await asking.connect(where)
            except OSError:
                continue
            return str(asking.getsockname()[0])
    return None


async def find_address(listening: str, places: Sequence[str]) -> str:
    """Return where others reach a node that listens at all addresses of its host; empty if that cannot be told yet.

    Args:
        listening: Where it listens.
        places: URLs at which the directory is reached: the first one that there is a way to counts.
    """
    for place in places:
        host = await address_towards(place)
        if host is not None:
            return write_address(host, parse_address(listening)[1])
    return ""


async def follow_address(
    listening: str, places: Sequence[str], address: str, announce: Callable[[str], object]
) -> None:
    """Call `announce` with each new address at which others reach such a node, for ever."""
    while True:
        await trio.sleep(_LOOK_EVERY)
        found = await find_address(listening, places)
        if found and found != address:
            _log.info("this host has another address", before=address or "none", now=found)
            address = found
            announce(found)
