"""What a simulated program asks of the world, the simulation answers, the same each time; and the rest it refuses."""

from __future__ import annotations

import _thread
import asyncio
import builtins
import multiprocessing
import os
import random
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio

from autonomy import Node
from autonomy.abc import ThreadContext
from autonomy.testing import Simulation, SimulationFailed
from autonomy.testing.stand_ins import EPOCH


def answers(seed: int) -> list[object]:
    """Return what a program hears that asks for everything."""
    heard: list[object] = []

    async def main(node: Node) -> None:
        await trio.sleep(2.5)
        heard.extend([time.time(), time.time_ns(), time.monotonic(), time.perf_counter()])
        heard.extend([random.random(), secrets.token_hex(), uuid.uuid4(), random.SystemRandom().random()])
        random.seed()
        heard.extend([random.random(), random.Random().random(), os.urandom(8), uuid.uuid1(), tempfile.mktemp()])
        heard.extend([time.clock_gettime(time.CLOCK_REALTIME), time.clock_gettime_ns(time.CLOCK_MONOTONIC)])
        heard.extend([time.process_time(), time.thread_time_ns()])
        await asyncio.sleep(1.5)
        heard.append(time.monotonic())

    sim = Simulation(seed)
    sim.node("alone", main)
    sim.run(until=10)
    return heard


def test_time_is_virtual_and_begins_at_the_same_moment() -> None:
    wall, nanoseconds, monotonic, counter, *_, later = answers(1)

    assert wall == EPOCH + 2.5
    assert nanoseconds == int((EPOCH + 2.5) * 1e9)
    assert (monotonic, counter, later) == (2.5, 2.5, 4.0)
    assert answers(1)[13:17] == [EPOCH + 2.5, 2.5e9, 0, 0]


def test_chance_follows_the_seed() -> None:
    assert answers(1) == answers(1)
    assert not set(answers(1)[4:11]) & set(answers(2)[4:11])


def test_ids_made_of_time_and_place_are_told_apart_by_their_hosts_and_begin_anew_in_each_run() -> None:
    def made() -> dict[str, list[uuid.UUID]]:
        ids: dict[str, list[uuid.UUID]] = {}

        async def main(node: Node) -> None:
            ids[node.name] = [uuid.uuid1(), uuid.uuid1()]

        sim = Simulation(1)
        sim.nodes("host", 2, main)
        sim.run(until=1)
        return ids

    one, other = made(), made()

    assert one == other
    assert len({each for both in one.values() for each in both}) == 4
    assert len({each.node for both in one.values() for each in both}) == 2


def test_clocks_on_walls_may_differ_and_the_others_do_not() -> None:
    seen: dict[str, tuple[float, float]] = {}

    async def main(node: Node) -> None:
        await trio.sleep(5)
        seen[node.name] = time.time(), time.monotonic()

    async def scenario(sim: Simulation) -> None:
        with sim.skew("fast", 60.0):
            await trio.sleep(10)

    sim = Simulation(1)
    for name in ("fast", "right"):
        sim.node(name, main)
    sim.run(scenario)

    assert seen == {"fast": (EPOCH + 65, 5.0), "right": (EPOCH + 5, 5.0)}


class Plain:
    """A worker whose handler is a plain function, which runs in a thread."""

    def handle_message(self, context: ThreadContext, message: str) -> None:
        if message == "ask":
            message = context.send_and_receive("plain-2", "told")
        context.reply(f"{message} in {threading.current_thread().name.partition('-')[0]}")


def test_plain_handlers_run_in_threads_that_wait_for_each_other() -> None:
    replies: list[str] = []

    async def main(node: Node) -> None:
        for name in ("plain-1", "plain-2"):
            await node.start_worker(name, Plain())
        replies.append(await node.send_and_receive("plain-1", "ask"))

    sim = Simulation(1)
    sim.node("alone", main)
    sim.run(until=5)

    assert len(replies) == 1
    assert replies[0].startswith("told in ")


def test_what_a_thread_raises_comes_out() -> None:
    async def main(node: Node) -> None:
        await asyncio.to_thread(int, "no number")

    sim = Simulation(1)
    sim.node("alone", main)

    with pytest.raises(SimulationFailed, match="no number"):
        sim.run(until=5)


def listen() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))


@pytest.mark.parametrize(
    "reach_out",
    [
        lambda: threading.Thread(target=print).start(),
        lambda: subprocess.run(["true"], check=True),
        lambda: socket.create_connection(("127.0.0.1", 9)),
        listen,
        lambda: _thread.start_new_thread(print, ()),
        lambda: threading.Timer(1, print).start(),
        lambda: ThreadPoolExecutor().submit(print),
        lambda: os.fork(),
        lambda: os.system("true"),
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
        lambda: os.spawnlp(os.P_WAIT, "true", "true"),
        lambda: os.execlp("true", "true"),
        lambda: multiprocessing.get_context("fork").Process(target=print).start(),
        lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
        lambda: socket.socket().connect_ex(("127.0.0.1", 9)),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"?", ("127.0.0.1", 9)),
        lambda: socket.getaddrinfo("localhost", 80),
        lambda: time.sleep(1),
        lambda: asyncio.run(asyncio.sleep(1)),
    ],
)
def test_what_leads_outside_is_refused_with_what_to_do_instead(reach_out: Callable[[], object]) -> None:
    async def main(node: Node) -> None:
        reach_out()

    sim = Simulation(1)
    sim.node("alone", main)

    with pytest.raises(SimulationFailed, match=r"not in a simulation: .*\. Use "):
        sim.run(until=5)


def test_blocking_takes_virtual_time_where_it_may_block() -> None:
    woken: list[float] = []

    async def main(node: Node) -> None:
        await trio.to_thread.run_sync(time.sleep, 1.5)
        woken.append(time.monotonic())

    sim = Simulation(1)
    sim.node("alone", main)
    sim.run(until=5)

    assert woken == [1.5]


def test_what_a_host_prints_is_in_the_report_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(node: Node) -> None:
        sys.stdout.write("one ")
        await trio.sleep(1)
        sys.stdout.write(f"{node.name}\ntwo\n")

    async def scenario(sim: Simulation) -> None:
        sys.stdout.write("of the test\n")
        await trio.sleep(2)

    sim = Simulation(1)
    sim.node("a", main)
    sim.node("b", main)
    report = sim.run(scenario)

    assert report.output == {"a": ["one a", "two"], "b": ["one b", "two"]}
    assert capsys.readouterr().out == "of the test\n"


def test_afterwards_everything_is_as_it_was() -> None:
    def exchanged() -> list[object]:
        times = [time.time, time.sleep, trio.to_thread.run_sync, threading.Thread.start, socket.socket.connect]
        times += [random.Random.seed, random.seed, uuid.uuid1, os.fork, os.urandom, time.clock_gettime, os.execv]
        return [*times, trio.run, asyncio.run, os.environ, sys.argv, sys.stdout, open, os.stat, builtins.__import__]

    before = exchanged()
    random.seed(5)
    drawn = random.Random(5).random()

    answers(1)

    assert exchanged() == before
    assert random.random() == drawn
