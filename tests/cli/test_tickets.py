"""Machines join a zone with tickets, over real sockets, as processes; and what becomes of them."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from autonomy import Node, Zone, open_node
from autonomy._sansio.enrollment import decode_ticket
from autonomy.errors import AutonomyError, NodeDown, NoReply
from autonomy.identity import enroll

from .machines import Machines, machines_in
from .zones import make_zone

pytestmark = [pytest.mark.slow, pytest.mark.network]


@pytest.fixture
def machines(tmp_path: Path) -> Generator[Machines]:
    with machines_in(tmp_path / "machines") as found:
        yield found


@asynccontextmanager
async def joined(machines: Machines, name: str, folder: Path | None = None) -> AsyncGenerator[Node]:
    """A node of this process that is in the zone."""
    ticket = await trio.to_thread.run_sync(machines.ticket, name)
    enrolled = await enroll(ticket, name, folder)
    async with open_node(enrolled=enrolled, listen="wss://127.0.0.1:0") as node:
        yield node


async def _asked_until_answered(node: Node, message: str) -> str:
    """Ask a node that was started just now: news of it may be on their way."""
    with trio.fail_after(20):
        while True:
            with suppress(NoReply):
                return await node.send_and_receive("echo-runner-1", message)
            await trio.sleep(0.05)


# ---- joining


async def test_a_machine_joins_with_a_ticket_is_asked_by_name_and_returns_without_one(machines: Machines) -> None:
    ticket = machines.ticket("runner-*")
    first = machines.start("runner-1", ticket)
    async with joined(machines, "main") as node:
        assert await node.send_and_receive("echo-runner-1", "hello") == "hello 1"
        assert await node.send_and_receive("echo-runner-1", "ticket?") == "False"
        assert node.zone is not None
        assert node.name == "local-shop-main"

        first.terminate()
        assert first.wait(30) == 0
        machines.start("runner-1", ZONE="shop")
        assert await _asked_until_answered(node, "again") == "again 1"

    assert "joined before; no ticket is used" in machines.log("runner-1")


def test_a_machine_joins_with_a_ticket_in_a_file_of_which_no_environment_has_anything(machines: Machines) -> None:
    file = machines.folder / "ticket"
    file.touch(0o600)
    file.write_text(ticket := machines.ticket("runner-1"))

    running = machines.start("runner-1", ENROLLMENT_TICKET_FILE=str(file))

    assert ticket.encode() not in Path(f"/proc/{running.pid}/environ").read_bytes()
    assert (machines.folder / "runner-1" / "nodes" / "shop" / "runner-1" / "node.pem").exists()


async def test_a_node_that_is_told_its_pod_is_found_by_it(machines: Machines) -> None:
    ticket = machines.ticket("runner-1")
    machines.start("runner-1", ticket, AUTONOMY_POD="runner-pod", AUTONOMY_CONTAINER="runner", AUTONOMY_INDEX="1")
    async with joined(machines, "main") as node:
        with trio.fail_after(20):
            while not (found := await Zone.nodes(node, "runner-pod")):  # noqa: ASYNC110  # news are on their way
                await trio.sleep(0.05)

    assert [each.name for each in found] == ["local-shop-runner-1"]


def test_a_ticket_is_good_once_and_one_that_is_still_set_does_no_harm(machines: Machines) -> None:
    ticket = machines.ticket("runner-*")
    first = machines.start("runner-1", ticket)

    second = machines.try_to_start("runner-2", ticket)

    assert second.wait(60) == 1
    last = machines.log("runner-2").splitlines()[-1]
    ref = decode_ticket(ticket).ref
    assert f"ticket {ref} was good once, and is used up: get a new one" in last
    assert f"ticket refused ticket={ref} name=runner-2 address=127.0.0.1" in machines.log("authority")
    first.terminate()
    assert first.wait(30) == 0
    machines.start("runner-1", ticket)


def test_no_secret_is_in_arguments_logs_or_files_that_others_could_read(machines: Machines) -> None:
    ticket = machines.ticket("runner-1")
    secret = decode_ticket(ticket).secret
    running = machines.start("runner-1", ticket)
    while list(machines.folder.rglob(".node.pem.*")):  # it is saving the news that it was told first
        time.sleep(0.01)

    arguments = b"".join(each.read_bytes() for each in Path("/proc").glob("[0-9]*/cmdline") if _is_there(each))
    logs = b"".join(each.read_bytes() for each in machines.logs.iterdir())
    kept = [each for each in machines.folder.rglob("*") if each.is_file() and each.parent != machines.logs]
    keys = [each for each in kept if b"PRIVATE KEY" in each.read_bytes()]

    assert running.poll() is None
    for found in (arguments, logs, *(each.read_bytes() for each in kept)):
        assert secret.encode() not in found
        assert ticket.encode() not in found
    assert b"PRIVATE" not in arguments + logs
    assert sorted(each.name for each in keys) == ["ca.key", "node.pem"]
    for each in kept:
        if each.name != "main.py":
            assert stat.S_IMODE(each.stat().st_mode) == 0o600, each
            assert stat.S_IMODE(each.parent.stat().st_mode) == 0o700, each.parent


def _is_there(path: Path) -> bool:
    try:
        return bool(path.read_bytes())
    except OSError:
        return False


# ---- who is cut off


async def test_a_revoked_node_is_cut_off_everywhere_within_a_second(
    machines: Machines, capsys: pytest.CaptureFixture[str]
) -> None:
    machines.start("runner-1", machines.ticket("runner-1"))
    both = trio.Event()
    took: dict[str, float] = {}
    ended: dict[str, Exception] = {}
    async with joined(machines, "main") as main, joined(machines, "other") as other, trio.open_nursery() as nursery:

        async def wait_for_end(node: Node) -> None:
            try:
                await node.send_and_receive("echo-runner-1", "wait", timeout=60)
            except AutonomyError as error:
                ended[node.short_name], took[node.short_name] = error, time.monotonic()
            if len(ended) == 2:
                both.set()

        for node in (main, other):
            assert (await node.send_and_receive("echo-runner-1", "hello")).startswith("hello")
            nursery.start_soon(wait_for_end, node)
        await trio.sleep(0.3)
        assert not ended

        said = await trio.to_thread.run_sync(machines.json, "revoke", "runner-1")
        revoked = time.monotonic()
        with trio.fail_after(20):
            await both.wait()

        seconds = {name: at - revoked for name, at in took.items()}
        with capsys.disabled():
            print(f"\nafter 'zone revoke' returned, cut off in {seconds}")  # noqa: T201  # a figure
        assert all(isinstance(error, NodeDown) for error in ended.values())
        assert max(seconds.values()) < 1.0
        assert said == {"node": "local-shop-runner-1", "revoked": 1, "barred": True}
        with pytest.raises(AutonomyError):
            await main.send_and_receive("echo-runner-1", "hello", node="local-shop-runner-1", timeout=1.5)
        nursery.cancel_scope.cancel()
    states = {each["node"]: each["state"] for each in machines.json("nodes")}
    assert states["local-shop-runner-1"] == "barred"


def test_a_barred_node_joins_again_by_admit_and_a_new_ticket(machines: Machines) -> None:
    first = machines.start("runner-1", machines.ticket("runner-1"))
    machines.done("revoke", "runner-1")
    first.terminate()
    first.wait(30)

    barred = machines.try_to_start("runner-1", machines.ticket("runner-*"), AUTONOMY_HOME=str(machines.folder / "new"))
    assert barred.wait(60) == 1
    assert "was revoked, and is barred" in machines.log("runner-1")

    assert machines.json("admit", "runner-1") == {"node": "local-shop-runner-1", "was_barred": True}
    machines.start("runner-1", machines.ticket("runner-*"), AUTONOMY_HOME=str(machines.folder / "new"))


def test_revoking_whom_nobody_knows_is_an_error_that_says_who_is_there(machines: Machines) -> None:
    machines.start("runner-1", machines.ticket("runner-1"))

    result = machines.run("revoke", "runer-1")

    assert result.exit_code == 1
    assert "has issued nothing to a node 'local-shop-runer-1'" in result.stderr
    assert "local-shop-runner-1" in result.stderr


# ---- certificates and the CA are renewed under load


async def _load(node: Node, asked: list[str], stop: trio.Event) -> None:
    while not stop.is_set():
        number = len(asked) + 1
        asked.append(await node.send_and_receive("echo-runner-1", str(number), timeout=20))


async def test_certificates_are_renewed_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    with machines_in(tmp_path / "machines", life="6s") as machines:
        machines.start("runner-1", machines.ticket("runner-1"))
        asked: list[str] = []
        stop = trio.Event()
        async with joined(machines, "main", tmp_path / "main") as node, trio.open_nursery() as nursery:
            nursery.start_soon(_load, node, asked, stop)
            await trio.sleep(14)  # all certificates of the beginning have ended twice
            stop.set()

        log = machines.log("runner-1")

    assert asked == [f"{number} {number}" for number in range(1, len(asked) + 1)]
    assert len(asked) > 100
    assert log.count("certificate replaced") >= 2
    assert "certificate has ended" not in log


async def test_the_ca_is_changed_in_three_commands_with_nodes_up_and_nothing_is_lost(machines: Machines) -> None:
    machines.start("runner-1", machines.ticket("runner-1"))
    asked: list[str] = []
    stop = trio.Event()
    async with joined(machines, "main") as node, trio.open_nursery() as nursery:
        nursery.start_soon(_load, node, asked, stop)
        before = await trio.to_thread.run_sync(machines.json, "certificates")
        for step in ("roll-over", "switch-over", "retire"):
            result = await trio.to_thread.run_sync(machines.step, step)
            assert result.exit_code == 0, result.output
        await trio.sleep(1)
        after = await trio.to_thread.run_sync(machines.json, "certificates")
        done = len(asked)
        await trio.sleep(1)
        stop.set()

    assert len(asked) > done
    assert asked == [f"{number} {number}" for number in range(1, len(asked) + 1)]
    assert len({each["ca"] for each in before}) == 1
    present = {each["node"] for each in after if each["is_by_present_ca"]}
    assert present == {"local-shop-authority", "local-shop-runner-1", "local-shop-main"}
    assert {each["ca"] for each in after if each["is_by_present_ca"]} != {each["ca"] for each in before}


def test_a_step_that_would_lock_out_a_node_that_is_away_is_refused(machines: Machines) -> None:
    away = machines.start("runner-1", machines.ticket("runner-1"))
    away.terminate()
    away.wait(30)
    machines.done("roll-over")

    refused = machines.step("switch-over")
    allowed = machines.step("switch-over", "--leave-behind")

    assert refused.exit_code == 1
    assert "local-shop-runner-1 does not trust the new CA yet, and is away" in refused.stderr
    assert allowed.exit_code == 0, allowed.output
    assert machines.run("roll-over").exit_code == 1


# ---- an authority that was away


async def test_an_authority_that_is_killed_and_returns_goes_on_with_what_it_knew(machines: Machines) -> None:
    machines.start("runner-1", machines.ticket("runner-1"))
    authority = machines._processes[0]
    async with joined(machines, "main") as node:
        await node.send_and_receive("echo-runner-1", "1")
        authority.kill()
        authority.wait(10)
        assert await node.send_and_receive("echo-runner-1", "2") == "2 2"  # known names go on
        machines.start_authority()
        with trio.fail_after(30):
            while await trio.to_thread.run_sync(_states, machines) != {"linked"}:  # noqa: ASYNC110  # of processes
                await trio.sleep(0.1)
        await trio.to_thread.run_sync(machines.done, "revoke", "runner-1")
        with trio.fail_after(10):
            assert isinstance(await _end_of(node), AutonomyError)


def _states(machines: Machines) -> set[str]:
    return {each["state"] for each in machines.json("nodes")}


async def _end_of(node: Node) -> Exception:
    while True:
        try:
            await node.send_and_receive("echo-runner-1", "3", timeout=5)
        except AutonomyError as error:
            return error
        await trio.sleep(0.05)


def test_an_authority_runs_once(machines: Machines) -> None:
    result = machines.run("authority", "shop", "--listen", "127.0.0.1:0")

    assert result.exit_code == 1
    assert f"runs already (process {machines.running['pid']}" in result.stderr
    assert os.getpid() != machines.running["pid"]


async def test_an_authority_that_is_restored_from_an_old_copy_is_believed(machines: Machines, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(machines.authority_folder, copy)
    machines.start("runner-1", machines.ticket("runner-1"))
    for name in ("a", "b"):
        machines.start(name, machines.ticket(name))
        machines.done("revoke", name)
    machines._processes[0].kill()
    machines._processes[0].wait(10)
    shutil.rmtree(machines.authority_folder)
    shutil.copytree(copy, machines.authority_folder)

    machines.start_authority("1d", "--restored")
    async with joined(machines, "main") as node:
        assert (await _asked_until_answered(node, "hello")).startswith("hello")
        with trio.fail_after(20):
            while not re.search(r"trust changed .*crls=1[0-9]{9}", machines.log("runner-1")):  # noqa: ASYNC110  # a file
                await trio.sleep(0.05)
        said = await trio.to_thread.run_sync(machines.run, "revoke", "runner-1")

    assert said.exit_code == 1  # the copy does not know of it
    assert "has issued nothing to a node 'local-shop-runner-1'" in said.stderr


# ---- a zone that is deployed on this machine


def test_a_node_of_a_deployed_zone_is_revoked_and_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTONOMY_HOME", str(tmp_path / "home"))
    with make_zone(tmp_path / "zone", PODS, main=ASKING, runner=ANSWERING) as zone:
        assert zone.run("deploy").returncode == 0
        asked = zone.run("nodes", "--json")
        assert [each["state"] for each in json.loads(asked.stdout)] == ["deployed"] * 3

        revoked = zone.run("revoke", "runner")
        at = time.monotonic()
        while "cut off" not in (log := zone.run("logs", "main-pod").stdout):
            assert time.monotonic() < at + 20, log
            time.sleep(0.1)

        assert revoked.stdout == "Node local-shop-runner is barred; 1 certificate revoked.\n"
        assert {each["node"]: each["state"] for each in json.loads(zone.run("certificates", "--json").stdout)} == {
            "local-shop-main": "valid",
            "local-shop-runner": "revoked",
            "local-shop-zone_authority": "valid",
        }
        assert "is deployed on this machine" in zone.run("ticket").stderr


PODS = """
name: shop
pods:
  - name: main-pod
    containers: [{name: main, image: main}]
  - name: runner-pod
    containers: [{name: runner, image: runner}]
"""
ASKING = """
import trio
from autonomy import Node, Zone, info
from autonomy.errors import AutonomyError

async def main(node):
    runner = await Zone.node(node, "runner")
    while True:
        try:
            await runner.send_and_receive("echo", "hello", timeout=5)
        except AutonomyError as error:
            info("cut off", reason=error)
        await trio.sleep(0.05)

async def start(node):
    node._nursery.start_soon(main, node)

Node.start(start)
"""
ANSWERING = """
from autonomy import Node

class Echo:
    async def handle_message(self, context, message):
        await context.reply(message)

async def main(node):
    await node.start_worker("echo", Echo())

Node.start(main)
"""
