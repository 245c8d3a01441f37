"""What tests pass to a simulation: each function returns the value as it is relied on, or says what would be right.

A name with a typo or a number out of range must be told at once: a fault that befalls nobody proves nothing, and the
test would pass. What programs pass to nodes is checked by `_sansio/border.py`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from typing import Final

from .._sansio.border import check_count, check_delay, check_seconds

SEED: Final = "AUTONOMY_SIM_SEED"
"""Environment variable with the seed of simulations that are given none."""


def check_seed(value: object) -> int:
    """Return a seed; None for that of the environment, or a new one."""
    if value is not None:
        return check_count(value, "seed", 0)
    said = os.environ.get(SEED, "")
    if not said:
        return secrets.randbelow(2**32)
    if not said.isdecimal():
        raise ValueError(f"{SEED} must be a number such as 42, got {said!r:.80}")
    return int(said)


def check_latency(value: object) -> tuple[float, float]:
    """Return least and greatest seconds that a message takes."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"latency must be least and greatest seconds, such as (0.0005, 0.005), got {value!r:.80}")
    least, greatest = (check_delay(each, "latency") for each in value)
    if least > greatest:
        raise ValueError(f"latency is from least to greatest: write ({greatest:g}, {least:g}), not {value!r:.80}")
    return least, greatest


def check_until(value: object) -> float:
    """Return the seconds after which a run is over; they may be infinite."""
    seconds = check_seconds(value, "until")
    if seconds < 0:
        raise ValueError(f"until must be 0 or more seconds, got {value!r:.80}")
    return seconds


def check_share(value: object, what: str) -> float:
    """Return a number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{what} must be a share from 0 to 1, got {value!r:.80}")
    return value


def check_rate(value: object) -> float:
    """Return how many a second there are; more than none."""
    rate = check_seconds(value, "rate")
    if not 0 < rate <= 1000:
        raise ValueError(f"rate must be faults a second, such as 1/4, more than 0 and at most 1000, got {value!r:.80}")
    return rate


def check_names(value: Iterable[str], what: str) -> list[str]:
    """Return several names, of which there is at least one."""
    if isinstance(value, str):
        raise TypeError(f"{what} must be several names: write [{value!r}], not {value!r}")
    names = list(value)
    if not names:
        raise ValueError(f"{what} are none: name some, or leave it out for all")
    return names
