"""What every test may ask for: a node in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio.testing

from autonomy import Node, open_node


@pytest.fixture
async def node(autojump_clock: trio.testing.MockClock) -> AsyncIterator[Node]:
    """A node named ``n`` on a clock that jumps whenever everybody waits. It ends after the test."""
    async with open_node("n", stall_warning=None) as opened:
        yield opened
