"""Chance as programs draw it by themselves, from `random`, `secrets`, `os` and `uuid`: all of it follows the seed.

Not only what is drawn from the functions of `random`: also sources that a program makes without a seed of its own,
which C would seed from the machine.
"""

from __future__ import annotations

import os
import random
import tempfile
import uuid
import zlib
from collections.abc import Callable
from random import Random
from typing import Any, Final

_MULTICAST: Final = 1 << 40
"""The bit that says of a number that it is no network card's (RFC 9562, 6.10)."""


def stand_ins(chance: Random, host: Callable[[], str]) -> list[tuple[object, str, object]]:
    """Return what to exchange: an object, the name of an attribute, and what to put there.

    Args:
        chance: Where all is drawn from.
        host: Returns the host whose program runs.
    """
    tempfile.gettempdir()  # it looks for one once in a process, and draws names for that
    unseeded = Random(chance.getrandbits(64))
    usual_seed, usual_uuid1 = Random.seed, uuid.uuid1

    def seed(own: Random, a: Any = None, version: int = 2) -> None:
        usual_seed(own, unseeded.getrandbits(64) if a is None else a, version)

    def uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        return usual_uuid1(_MULTICAST | zlib.crc32(host().encode()) if node is None else node, clock_seq)

    return [
        (os, "urandom", chance.randbytes),
        *((os, name, lambda size, flags=0: chance.randbytes(size)) for name in ("getrandom",) if hasattr(os, name)),
        (random, "_urandom", chance.randbytes),  # what random.SystemRandom, and so `secrets`, draws from
        (Random, "seed", seed),
        (random, "seed", lambda a=None, version=2: seed(random._inst, a, version)),
        (tempfile, "_name_sequence", None),  # or it would be seeded in the first run of a process alone
        (uuid, "uuid1", uuid1),
        (uuid, "_last_timestamp", None),  # likewise: it goes on from the last one
    ]
