"""What a sender is told of a node that does not answer: that it was not reached, not that a mailbox is full."""

from __future__ import annotations

from pathlib import Path

import pytest

from autonomy import NodeDown, NoReply, Unreachable, open_node
from autonomy.identity import ZoneAuthority

from .workers import Echo

pytestmark = [pytest.mark.network, pytest.mark.slow]


async def test_a_node_that_is_not_reached_in_time_is_unreachable_and_one_that_is_gone_is_down(tmp_path: Path) -> None:
    authority = ZoneAuthority.create(tmp_path / "zone", "z.test")
    async with open_node(credentials=authority.credentials("a")) as a:
        async with open_node(credentials=authority.credentials("b"), listen="wss://127.0.0.1:0") as b:
            await b.start_worker("echo", Echo())
            assert b.address is not None
            far = await a.connect(b.address)
            assert await far.send_and_receive("echo", "x") == "x"

        errors: list[NoReply] = []
        for seconds in (0.02, 20.0):
            with pytest.raises(NoReply) as caught:
                await a.send_and_receive("echo@b", "y", timeout=seconds)
            errors.append(caught.value)
        with pytest.raises(NoReply) as caught:
            await a.send_message("echo@b", "y", timeout=0.02)
        errors.append(caught.value)

    assert [type(error) for error in errors] == [Unreachable, NodeDown, Unreachable]
    assert [(error.outcome, error.worker, error.node) for error in errors] == [("not_sent", "echo", "b")] * 3
    assert errors[1].elapsed < 10
