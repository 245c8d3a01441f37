"""When the certificates of a zone are due: by the calendar, which goes on while the machine sleeps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import trio

from ..identity.lifetimes import Clock, utc_now
from ..logs import get_logger

_log = get_logger("zone")
RENEW_EVERY = timedelta(hours=4)
"""Certificates and lists of what was revoked are good for a day."""
_LOOK_EVERY = 60.0


async def keep_renewing(renew: Callable[[], Awaitable[None]], now: Clock = utc_now) -> None:
    """Renew every four hours of the calendar, the first time four hours from now.

    Trio's clock stands still while a machine sleeps. One that wakes after a weekend has certificates that have ended,
    and gets new ones within a minute. So does one whose clock was set. What fails is tried again in a minute.

    Args:
        renew: Gives all nodes new certificates.
        now: Says what time it is.
    """
    renewed = now()
    while True:
        await trio.sleep(_LOOK_EVERY)
        if abs(now() - renewed) < RENEW_EVERY:
            continue
        try:
            await renew()
        except Exception as error:  # noqa: BLE001  # a full disk must not end a zone whose certificates are good yet
            _log.exception("certificates could not be renewed", error)
        else:
            renewed = now()
