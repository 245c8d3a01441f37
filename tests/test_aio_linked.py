"""Linked nodes in an asyncio program: what waits for another node is awaited there like anything else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from autonomy import Context, NodeDown, aio
from autonomy.identity import ZoneAuthority

from .test_aio import Loops
from .test_aio import loops as loops  # a fixture

pytestmark = [pytest.mark.network, pytest.mark.slow]  # loops have real descriptors, and real time


class Doubler:
    async def handle_message(self, context: Context, message: str) -> None:
        await asyncio.sleep(0)
        await context.reply(f"{message}{message}")
        await context.reply("and that was all")


def test_nodes_of_an_asyncio_program_link_up_and_lose_each_other(loops: Loops, tmp_path: Path) -> None:
    authority = ZoneAuthority.create(tmp_path / "zone", "z.test")

    async def application() -> None:
        async with aio.open_node(credentials=authority.credentials("a")) as a:
            async with aio.open_node(credentials=authority.credentials("b"), listen="wss://127.0.0.1:0") as b:
                await b.start_worker("doubler", Doubler())
                assert b.address is not None

                far = await a.connect(b.address)
                replies = await asyncio.gather(*(far.send_and_receive("doubler", str(n)) for n in range(3)))
                async with await far.send("doubler", "x") as mailbox:
                    several = [await mailbox.receive(), await mailbox.receive()]
                await far.send_message("doubler", "y")

                assert replies == ["00", "11", "22"]
                assert several == ["xx", "and that was all"]
                assert (far.name, await far.identifier()) == ("b", "spiffe://z.test/node/b")
            with pytest.raises(NodeDown):
                await a.send_and_receive("doubler@b", "z", timeout=10)

    loops.run(application)
