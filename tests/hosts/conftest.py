"""Hosts for tests, where they are permitted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .lan import Lan, open_lan, why_not


@pytest.fixture
async def lan() -> AsyncIterator[Lan]:
    """Three hosts, ``a``, ``b`` and ``c``, at 10.0.0.1, 10.0.0.2 and 10.0.0.3."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    async with open_lan("a", "b", "c") as opened:
        yield opened
