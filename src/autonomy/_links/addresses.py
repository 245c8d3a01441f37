"""Where a node listens, as text: ``wss://HOST:PORT``."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

_NEEDLESS = re.compile(r"(?<=//)\[([0-9.]+)\](?=:)")
"""Brackets around a host without colons. Who fills in an address, such as a pod's, need not know its kind."""


def parse_address(address: str) -> tuple[str, int]:
    """Return host and port of ``wss://HOST:PORT``.

    Raises:
        TypeError, ValueError: It is no such address.
    """
    if not isinstance(address, str):
        raise TypeError(f"the address of a node must be a str, got {address!r:.80}")
    try:
        parts = urlsplit(_NEEDLESS.sub(r"\1", address, count=1))
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    else:
        # urlsplit drops new lines and tabs, and resolvers choke on what else is not printable.
        strange = set(address) & set("?#@ ") or not address.isprintable()
        if strange or parts.scheme != "wss" or parts.path not in ("", "/"):
            host = None
    if not host or port is None:
        raise ValueError(f"the address of a node is written wss://HOST:PORT, got {address!r:.80}")
    return host, port


def write_address(host: str, port: int) -> str:
    """Return ``wss://HOST:PORT``, which `parse_address` takes apart."""
    return f"wss://[{host}]:{port}" if ":" in host else f"wss://{host}:{port}"


def is_everywhere(address: str) -> bool:
    """Whether an address stands for all of a host's addresses: one can listen there, and nobody can dial it.

    Raises:
        TypeError, ValueError: As `parse_address`.
    """
    host, _ = parse_address(address)
    try:
        return ip_address(host).is_unspecified
    except ValueError:  # a name
        return False


def reached_at(address: str, listening: str) -> str:
    """Return where others reach a node.

    Args:
        address: Where it says that they do; port 0 stands for the one on which it listens. Empty for no difference.
        listening: Where it listens, or nothing.
    """
    if not address or not listening:
        return address or listening
    host, port = parse_address(address)
    return address if port else write_address(host, parse_address(listening)[1])
