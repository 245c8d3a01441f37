"""Zones of real processes that are killed, stopped and continued: what the others notice, and what comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from autonomy import Context, LocalZone, Node, Zone, gather, open_local_zone, open_node
from autonomy._deploy.deploying import make_deployment
from autonomy._deploy.home import ZonePlace
from autonomy._deploy.local import AUTHORITY_PROGRAM, running_zone
from autonomy._deploy.zone_file import read_zone_folder
from autonomy._zone.node_file import DeployedNode
from autonomy.errors import DirectoryUnavailable, NodeDown, NoReply

from .deploy.zones import make_zone, pod

pytestmark = [pytest.mark.slow, pytest.mark.network]

PROGRAM = """
import trio
from autonomy import Node

class Greeter:
    async def handle_message(self, context, message):
        await context.reply(f"{message} from {context.node.short_name}")

class Silent:
    async def handle_message(self, context, message):
        await trio.sleep_forever()

async def main(node):
    await node.start_worker(f"silent-{node.short_name}", Silent())
    await node.start_worker(f"greeter-{node.short_name}", Greeter())

Node.start(main)
"""


class Echo:
    """A worker of this module, which goes to other nodes."""

    async def handle_message(self, context: Context, message: str) -> None:
        """Say where it is."""
        await context.reply(f"{message} from {context.node.short_name}")


def pid_of(zone: LocalZone, short_name: str) -> int | None:
    """Return the process of a node; None while there is none."""
    if short_name == "zone_authority":
        state = zone._processes.state.authority
        return state.pid if state else None
    return next(each.pid for pod in zone.pods for each in pod.containers if each.short_name == short_name)


def kill(zone: LocalZone, short_name: str, number: signal.Signals) -> int:
    """Send a signal to the process of a node; return its id."""
    pid = pid_of(zone, short_name)
    assert pid is not None
    os.kill(pid, number)
    return pid


async def names_of(node: Node) -> list[str]:
    """Return the short names of the nodes that a node sees."""
    return [each.short_name for each in await Zone.nodes(node)]


async def answered(node: Node, address: str, seconds: float) -> str:
    """Ask until there is an answer."""
    with trio.fail_after(seconds):
        while True:
            try:
                return await node.send_and_receive(address, "hello", timeout=5)
            except (NoReply, DirectoryUnavailable):
                await trio.sleep(0.05)


@asynccontextmanager
async def zone_of_programs(folder: Path) -> AsyncGenerator[LocalZone]:
    """Run two pods of `PROGRAM`, and a node of this process in their zone."""
    zone = make_zone(folder / "zone", pod("runners", "runner", more="clones: 2, "), {"runner": PROGRAM})
    place = ZonePlace(folder / "place")
    place.make()
    wanted = make_deployment(read_zone_folder(zone), place, cluster="local", id="1", authority=AUTHORITY_PROGRAM)
    async with running_zone(place) as processes:
        await processes.apply(wanted)
        async with open_node(**DeployedNode(str(await processes.join("main"))).options) as node:
            yield LocalZone(node, processes)


async def test_who_waits_for_a_runner_that_is_killed_is_told_within_a_second_and_its_workers_come_back(
    tmp_path: Path,
) -> None:
    async with zone_of_programs(tmp_path) as zone, trio.open_nursery() as nursery:
        told = trio.Event()

        async def wait_for_an_answer() -> None:
            with pytest.raises(NodeDown):
                await zone.node.send_and_receive("silent-runner-0", "hello", timeout=60)
            told.set()

        nursery.start_soon(wait_for_an_answer)
        assert await answered(zone.node, "greeter-runner-0", 5) == "hello from runner-0"
        kill(zone, "runner-0", signal.SIGKILL)
        with trio.fail_after(1):
            await told.wait()

        assert await answered(zone.node, "greeter-runner-0", 30) == "hello from runner-0"
        assert await answered(zone.node, "greeter-runner-1", 5) == "hello from runner-1"
        assert await names_of(zone.node) == ["main", "runner-0", "runner-1"]
        assert [each.restarts for state in zone.pods for each in state.containers] == [1, 0]


async def test_a_zone_goes_on_without_its_directory_and_finds_what_was_started_meanwhile_when_it_is_back() -> None:
    async with open_local_zone({"runner": 2}) as zone:
        node = zone.node
        runner = (await Zone.nodes(node, "runner"))[0]
        await runner.start_worker("before", Echo())
        assert await answered(node, "before", 5) == "hello from runner-0"

        killed = kill(zone, "zone_authority", signal.SIGKILL)
        began = trio.current_time()
        assert await node.send_and_receive("before", "hello", timeout=1) == "hello from runner-0"
        with trio.fail_after(10):
            await runner.start_worker("meanwhile", Echo())
        assert await node.send_and_receive("meanwhile", "hello", node=runner.name, timeout=5) == "hello from runner-0"

        assert await answered(node, "meanwhile", 20) == "hello from runner-0"
        assert trio.current_time() - began < 20
        assert pid_of(zone, "zone_authority") not in (None, killed)
        assert await names_of(node) == ["main", "runner-0", "runner-1"]


async def test_a_runner_that_is_held_up_is_gone_from_the_zone_after_ten_seconds_and_back_when_it_goes_on() -> None:
    async with open_local_zone({"runner": 2}) as zone:
        node = zone.node
        runners = await Zone.nodes(node, "runner")
        await gather(*(runner.start_worker(f"on-{runner.short_name}", Echo()) for runner in runners))
        assert await answered(node, "on-runner-0", 5) == "hello from runner-0"

        pid = kill(zone, "runner-0", signal.SIGSTOP)
        try:
            with trio.fail_after(20):
                while "runner-0" in await names_of(node):
                    assert await answered(node, "on-runner-1", 5) == "hello from runner-1"
                    await trio.sleep(0.1)
        finally:
            os.kill(pid, signal.SIGCONT)

        assert await answered(node, "on-runner-0", 20) == "hello from runner-0"
        assert pid_of(zone, "runner-0") == pid


async def test_workers_of_a_program_go_to_each_runner_and_answer_by_their_bare_names() -> None:
    async with open_local_zone({"runner": 4}) as zone:
        runners = await Zone.nodes(zone.node, "runner")
        await gather(*(runner.start_worker(f"echo-{i}", Echo()) for i, runner in enumerate(runners)))

        answers = await gather(*(zone.node.send_and_receive(f"echo-{i}", "hello", timeout=10) for i in range(4)))

        assert answers == [f"hello from runner-{i}" for i in range(4)]
