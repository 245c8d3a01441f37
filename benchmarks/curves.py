"""Does a message cost the same however large everything is? Curves over the number of workers and the size of messages.

Each point has its hand-written counterpart, for part of what grows is the machine's: beyond its caches every worker's
memory has to be fetched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import median

from . import local, raw
from .measure import in_process_of_its_own, in_turns
from .terms import PAYLOAD

WORKERS = (10, 100, 1_000, 10_000, 100_000)
CHARACTERS = (16, 256, 4_096, 65_536, 1_048_576)
REQUESTS = 10_000
CHARACTERS_IN_ALL = 2**28
"""Where messages are large, there are fewer of them."""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve.

    Attributes:
        curve: ``workers``; ``payload``, of ASCII text; ``payload_unicode``, of text whose size is found by encoding it.
        at: How many workers, or how many characters in a message.
        library: Microseconds for one request and its reply with the library.
        raw: The same by hand, with two channels and no timeout.
    """

    curve: str
    at: int
    library: float
    raw: float

    def as_json(self) -> str:
        """Return the point as one line."""
        return json.dumps(
            {key: round(value, 2) if isinstance(value, float) else value for key, value in asdict(self).items()}
            | {"unit": "µs/request"},
            ensure_ascii=False,
        )


def curves(rounds: int, scale: float = 1.0) -> Iterator[Point]:
    """Measure all curves, one point after the other. With a scale below 1, fewer requests and fewer workers."""
    requests = max(int(REQUESTS * scale), 1)
    for workers in WORKERS:
        yield _over_workers(max(int(workers * scale), 1), requests, rounds)
    for characters in CHARACTERS:
        yield _over_payload("payload", characters, PAYLOAD[0] * characters, requests, rounds)
    for characters in CHARACTERS:
        yield _over_payload("payload_unicode", characters, "é" * characters, requests, rounds)


def _over_workers(workers: int, requests: int, rounds: int) -> Point:
    # A process for each, so that no point begins in the memory that the one before it left in disorder.
    library = in_process_of_its_own(local.among_many, workers, requests, rounds)
    return Point(
        "workers", workers, 1e6 / library, 1e6 / in_process_of_its_own(raw.among_many, workers, requests, rounds)
    )


def _over_payload(curve: str, characters: int, payload: str, requests: int, rounds: int) -> Point:
    requests = min(requests, CHARACTERS_IN_ALL // characters)
    variants: dict[str, Callable[[], float]] = {
        "library": lambda: local.one_caller(requests, payload),
        "raw": lambda: raw.one_caller(requests, payload),
    }
    rates = in_turns(variants, rounds)
    return Point(curve, characters, 1e6 / median(rates["library"]), 1e6 / median(rates["raw"]))
