"""What other nodes may do here: rights by name of node, and a worker's own word on who reaches it.

Names are patterns of short node names, as a shell has them: ``"*"`` for every node of the zone, ``"main*"``, or a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from .spiffe import PeerIdentity

Patterns = str | Sequence[str]


@dataclass(frozen=True, slots=True)
class Rights:
    """Which nodes of the zone may do what on this one.

    Args:
        message: Send messages to its workers and watch them; `allow` of `start_worker` narrows that for one worker.
        manage: List, start and stop its workers.
        ship: Bring code along for the workers that they start.

    Raises:
        TypeError: A value is neither a pattern nor a list of patterns.
    """

    message: Patterns = "*"
    manage: Patterns = ()
    ship: Patterns = ()

    def __post_init__(self) -> None:
        for name in ("message", "manage", "ship"):
            check_patterns(getattr(self, name), f"Rights: {name}")


def check_patterns(patterns: object, what: str) -> None:
    """Raise TypeError if these are neither a pattern nor a list of patterns."""
    if isinstance(patterns, str):
        return
    if isinstance(patterns, (list, tuple)) and all(isinstance(pattern, str) for pattern in patterns):
        return
    raise TypeError(f"{what} must be a pattern of short node names, or a list of patterns, got {patterns!r:.80}")


def matches(patterns: Patterns, short_name: str) -> bool:
    """Whether a node of that short name is meant."""
    several = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(short_name, pattern) for pattern in several)


def may_reach(allow: object, peer: PeerIdentity, short_name: str) -> bool:
    """Whether a worker that was started with this `allow` may be reached from a node."""
    if allow is None:
        return True
    if callable(allow):
        return bool(allow(peer))
    assert isinstance(allow, (str, list, tuple))
    return allow != "local" and matches(allow, short_name)


RIGHTS: Final = Rights()
"""Every node of the zone may send messages, and no more."""
