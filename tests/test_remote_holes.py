"""Holes that a review found in what lies between two nodes, each with what it let through."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from autonomy.errors import WorkerFailed

from .workers import Failing
from .zone import FaultyNetwork, two_nodes


@pytest.mark.parametrize("size", [70_000, 5 * 2**20])
async def test_exceptions_with_much_text_end_no_link(autojump_clock: MockClock, size: int) -> None:
    network = FaultyNetwork()
    async with two_nodes(network) as (a, b):
        await b.start_worker("failing", Failing())
        dials = network.dials

        with pytest.raises(WorkerFailed, match="the worker raised ValueError: xxx") as caught:
            await a.send_and_receive("failing@b", "x" * size)

        assert len(caught.value.remote_message) == 2**16
        assert network.dials == dials
