"""Hosts and wires are what they claim to be: seen by programs on them, with the kernel's own TCP and UDP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.traffic import until

from .fabric import PERFECT, Quality
from .lan import Host, Lan, Program

pytestmark = [pytest.mark.network, pytest.mark.slow]


async def ask(program: Program, command: str, *arguments: object) -> Any:
    """Have an echo do something; return what it says."""
    await program.tell(json.dumps([command, *arguments]))
    return json.loads(await program.line())


async def echo(host: Host) -> Program:
    """Have an echo on a host."""
    program = await host.start(sys.executable, "-m", "tests.hosts.echo")
    assert json.loads(await program.line()) == "up"
    return program


async def test_what_is_said_takes_the_delay_of_both_ways(lan: Lan) -> None:
    a, _ = await echo(lan["a"]), await echo(lan["b"])
    assert await ask(a, "call", "10.0.0.2") < 0.1
    assert await ask(a, "say") < 0.05

    await lan.set(Quality(delay=0.1), ("a", "b"))
    await lan.set(Quality(delay=0.05, jitter=0.05), ("b", "a"))

    assert 0.15 <= await ask(a, "say") < 0.3
    assert 0.15 <= await ask(a, "call", "10.0.0.2") < 0.3


async def test_as_many_datagrams_are_lost_as_was_said_and_a_connection_loses_nothing(lan: Lan) -> None:
    a, b = await echo(lan["a"]), await echo(lan["b"])
    await ask(a, "call", "10.0.0.2")

    await lan.set(Quality(loss=0.3), ("a", "b"))

    assert 600 < await ask(a, "send", "10.0.0.2", 1000) < 800
    assert 600 < await ask(b, "seen") < 800
    for _ in range(5):
        assert await ask(a, "say", 20.0) < 20


async def test_a_host_that_is_cut_off_is_silent_and_goes_on_when_it_is_mended(lan: Lan) -> None:
    a, b, _ = [await echo(lan[name]) for name in "abc"]
    await ask(a, "call", "10.0.0.2")

    await lan.cut("b")

    assert await ask(a, "say", 0.5) == "TimeoutError"
    assert await ask(a, "send", "10.0.0.2", 10) == 0
    assert await ask(a, "send", "10.0.0.3", 10) == 10
    assert await ask(b, "seen") == 0
    await lan.mend()
    assert await ask(a, "say", 20.0) < 20
    assert await ask(a, "send", "10.0.0.2", 10) == 10


async def test_one_direction_can_be_cut_alone(lan: Lan) -> None:
    a, b = await echo(lan["a"]), await echo(lan["b"])
    assert await ask(a, "send", "10.0.0.2", 10) == 10

    await lan.set(Quality(is_cut=True), ("b", "a"))

    assert await ask(a, "send", "10.0.0.2", 10) == 0
    assert await ask(b, "seen") == 20
    await lan.set(PERFECT, ("b", "a"))
    assert await ask(a, "send", "10.0.0.2", 10) == 10


async def test_a_host_that_has_moved_is_reached_at_its_new_address_alone(lan: Lan) -> None:
    a, _ = await echo(lan["a"]), await echo(lan["b"])
    assert await ask(a, "call", "10.0.0.2") < 1

    await lan["b"].move("10.0.0.20")

    assert await ask(a, "call", "10.0.0.20") < 1
    assert await ask(a, "call", "10.0.0.2") in ("TimeoutError", "OSError")


async def test_a_host_without_power_tells_nobody_and_comes_back_without_its_programs(lan: Lan) -> None:
    a, b = await echo(lan["a"]), await echo(lan["b"])
    await ask(a, "call", "10.0.0.2")

    await lan.lose_power("b")

    assert await b.line() == ""
    assert await ask(a, "say", 0.5) == "TimeoutError"  # and no word that the connection is gone
    host = await lan.boot("b", "10.0.0.2")
    assert await ask(a, "call", "10.0.0.2") == "ConnectionRefusedError"
    await echo(host)
    assert await ask(a, "call", "10.0.0.2") < 2


async def test_a_program_that_is_killed_is_gone_and_its_host_says_so(lan: Lan) -> None:
    a, b = await echo(lan["a"]), await echo(lan["b"])
    await ask(a, "call", "10.0.0.2")

    await b.kill()

    assert await ask(a, "say") in ("ConnectionResetError", "BrokenPipeError")
    assert await ask(a, "call", "10.0.0.2") == "ConnectionRefusedError"


async def test_hosts_have_names_and_a_loopback_of_their_own(lan: Lan) -> None:
    await echo(lan["a"])

    told = [(await lan[name].run("hostname")).strip() for name in "abc"]

    assert told == ["a", "b", "c"]
    b = await echo(lan["b"])
    assert await ask(b, "call", "127.0.0.1") < 1
    c = await lan["c"].run("ip", "-brief", "address", "show", "eth0")
    assert "10.0.0.3/24" in c


ABANDONED = """
import sys, trio
from tests.hosts.lan import open_lan

async def main():
    async with open_lan("a") as lan:
        await lan["a"].start("sleep", "4747")
        print("up", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


def sleepers() -> list[int]:
    """Processes that sleep for as long as nobody else's do."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().split(b"\0")[:2] == [b"sleep", b"4747"]:
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


async def test_nothing_is_left_of_a_test_that_was_killed(lan: Lan) -> None:
    process = await trio.lowlevel.open_process([sys.executable, "-c", ABANDONED], stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with process.stdout as output:
        assert await output.receive_some()
        await until(sleepers, 5)
        here = set(sleepers())

        os.kill(process.pid, signal.SIGKILL)
        await process.wait()

        await until(lambda: here.isdisjoint(sleepers()), 5)
