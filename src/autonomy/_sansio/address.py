"""Names and addresses: ``worker`` here, ``worker@node`` anywhere.

Every name that enters the library passes through this file, so that no other one need doubt it (and no name can forge
a log line). Next: `border` for the other values that callers pass in.
"""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_NODE_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")


def check_name(name: object) -> str:
    """Return `name` if it may be a worker's name; else raise TypeError or ValueError."""
    return _check(name, _NAME, "worker name", 128)


def check_node_name(name: object) -> str:
    """Return `name` if it may be a node's full name; else raise TypeError or ValueError."""
    return _check(name, _NODE_NAME, "node name", 255)


def _check(name: object, pattern: re.Pattern[str], what: str, longest: int) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, got {type(name).__name__}: {name!r:.80}")
    if not pattern.fullmatch(name):
        raise ValueError(f"{what} {name!r:.160} is not allowed: write 1 to {longest} of the characters A-Z a-z 0-9 _ -")
    return name


def parse_address(address: object) -> tuple[str, str | None]:
    """Split ``"worker"`` or ``"worker@node"`` into both names, None for a node that is not named."""
    if not isinstance(address, str):
        raise TypeError(
            f"address must be a str such as 'echo' or 'echo@NODE', got {type(address).__name__}: {address!r:.80}"
        )
    worker, at, node = address.partition("@")
    if not at:
        return check_name(worker), None
    if not node:
        raise ValueError(
            f"address {address!r:.160} has no node name after '@'. "
            f"Write {worker!r:.130} for a worker on this node, '{worker:.128}@NODE' for one elsewhere."
        )
    return check_name(worker), check_node_name(node)
