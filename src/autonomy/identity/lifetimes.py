"""How long things last, and who says what time it is.

No file of this room reads the system's clock except by the default of an argument: a simulated node lives in simulated
time. (OpenSSL has a clock of its own; see `contexts.py` and `roots.py` for how it is kept out.)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Returns the present as an aware datetime."""

LEAF_LIFETIME = timedelta(hours=24)
"""The longest life of a node's certificate, counted from its issue."""

SHORT_LIFETIME = timedelta(hours=1)
"""The longest life of a node's certificate where nothing ends it but its time: ``revocation="lifetime"``."""

CRL_LIFETIME = timedelta(hours=24)
"""The greatest age of a list of revoked certificates, counted from its issue."""

CA_LIFETIME = timedelta(days=3650)
"""The life of a zone's CA. It ends earlier by `ZoneAuthority.roll_over`, not by waiting."""

SKEW = timedelta(minutes=5)
"""What is issued now is valid from this long ago on, for nodes whose clocks are behind."""


def utc_now() -> datetime:
    """Return the system's time, in UTC."""
    return datetime.now(UTC)


def validity(now: datetime, lifetime: timedelta) -> tuple[datetime, datetime]:
    """Return from when to when something issued now is valid, in whole seconds as certificates have them."""
    now = now.replace(microsecond=0)
    return now - SKEW, now + lifetime
