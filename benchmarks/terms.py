"""The terms on which both sides of a workload compete, and what a measurement of many workers returns."""

from __future__ import annotations

from dataclasses import dataclass

PAYLOAD = "x" * 64
READ = "read"
"""Asks the worker of L2 how many messages it has handled since it was last asked."""
TIMEOUT = 5.0
"""Seconds that a request may take. None ever takes so long; knowing that is what is paid for."""
CALLERS = 100
"""Callers of L3, and as many workers."""
GATHERED = 100
"""Requests that are made at once in `aio_gather`."""
FAR_TIMEOUT = 30.0
"""The same for a request to another process."""
FAR_CALLERS = 64
"""Callers of R3, on one connection."""
MEBIBYTE = "y" * 2**20
"""What is echoed in R4."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one of many workers costs.

    Attributes:
        microseconds: To start and to stop it.
        kib: Memory while it is idle.
    """

    microseconds: float
    kib: float


@dataclass(frozen=True, slots=True)
class Idleness:
    """What many workers that have nothing to do cost, all together.

    Attributes:
        workers: How many.
        start: Seconds to start them.
        cpu: Seconds of processor time that they used in `seconds`.
        seconds: How long they were left alone.
        stop: Seconds to stop them.
    """

    workers: int
    start: float
    cpu: float
    seconds: float
    stop: float
