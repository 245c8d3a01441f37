"""A zone of machines whose directory is in etcd: its authority keeps none, and nodes are told where it is."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

from autonomy import open_node
from autonomy._cli.command import main
from autonomy.errors import AutonomyError, NodeDown
from autonomy.identity import enroll, enrolled_in
from tests.directory.etcd_server import EtcdServer, etcd, needs_etcd

from .machines import Machines, machines_in


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("etc://10.0.0.1:2379", "a directory's URL is written etcd://HOST:PORT"),
        ("etcd://10.0.0.1:0", "with a port from 1 to 65535"),
        ("etcd://root:s3cret@10.0.0.1:2379", "write ?user=NAME&password-file=PATH"),
        ("etcds://10.0.0.1?ca=ca.crt", "ca='ca.crt' is a path on each machine of the zone: begin it with /"),
        ("", "a directory's URL is written etcd://HOST:PORT"),
    ],
)
def test_a_zone_is_not_made_with_a_directory_that_cannot_be(tmp_path: Path, url: str, problem: str) -> None:
    result = CliRunner().invoke(main, ["zone", "init", "shop", "--directory", url, "--folder", str(tmp_path / "shop")])

    assert result.exit_code == 2
    assert problem in result.stderr
    assert "s3cret" not in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "shop").exists()


def test_settings_with_a_directory_that_cannot_be_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    assert CliRunner().invoke(main, ["zone", "init", "shop", "--folder", str(folder)]).exit_code == 0
    file = folder / "settings.json"
    file.write_text(file.read_text().replace('"embedded"', '"etcd://"'))

    result = CliRunner().invoke(main, ["zone", "nodes", "--folder", str(folder)])

    assert result.exit_code == 1
    assert f"{str(file)!r}: HOST:PORT, with a port" in result.stderr


# ---- with an etcd


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[EtcdServer]:
    with etcd(tmp_path_factory.mktemp("etcd")) as found:
        yield found


@needs_etcd
@pytest.mark.slow
@pytest.mark.network
async def test_machines_join_a_zone_in_etcd_are_asked_by_name_and_revoked(server: EtcdServer, tmp_path: Path) -> None:
    with machines_in(tmp_path / "machines", "1d", "--directory", f"etcd://127.0.0.1:{server.port}") as machines:
        machines.start("runner-1", machines.ticket("runner-1"))
        enrolled = await enroll(await trio.to_thread.run_sync(machines.ticket, "main"), "main")
        async with open_node(enrolled=enrolled, listen="wss://127.0.0.1:0") as node:
            assert enrolled.place.directory == f"etcd://127.0.0.1:{server.port}"
            assert await node.send_and_receive("echo-runner-1", "hello") == "hello 1"
            there = _members(server)
            ended, took = await _revoked_while_it_is_asked(machines, node.send_and_receive)
        assert {"local-shop-authority", "local-shop-main", "local-shop-runner-1"} == there

    assert isinstance(ended, NodeDown)
    assert took < 1.0


def _members(server: EtcdServer) -> set[str]:
    keys = server.control("get", "--prefix", "--keys-only", "/autonomy/local.shop/nodes/")
    return {key.rpartition("/")[2] for key in keys.split()}


async def _revoked_while_it_is_asked(machines: Machines, ask: object) -> tuple[Exception, float]:
    ended: list[tuple[Exception, float]] = []

    async def wait_for_end() -> None:
        try:
            await ask("echo-runner-1", "wait", timeout=60)  # type: ignore[operator]
        except AutonomyError as error:
            ended.append((error, time.monotonic()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_end)
        await trio.sleep(0.3)
        assert not ended
        await trio.to_thread.run_sync(machines.done, "revoke", "runner-1")
        revoked = time.monotonic()
    return ended[0][0], ended[0][1] - revoked


@needs_etcd
@pytest.mark.slow
@pytest.mark.network
def test_an_authority_in_etcd_keeps_no_directory_itself(server: EtcdServer, tmp_path: Path) -> None:
    url = f"etcd://127.0.0.1:{server.port}"
    with machines_in(tmp_path / "machines", "1d", "--directory", url) as machines:
        settings = json.loads((machines.authority_folder / "settings.json").read_text())
        first = machines.start("runner-1", machines.ticket("runner-1"))

        for process in (first, machines._processes[0]):
            process.terminate()
            process.wait(30)
        machines.start("other", ZONE="shop", NODE="runner-1", AUTONOMY_HOME=str(machines.folder / "runner-1"))

    assert settings["directory"] == url
    assert "zone entered" in machines.log("other")


@needs_etcd
@pytest.mark.slow
@pytest.mark.network
def test_an_authority_that_comes_back_elsewhere_is_found_by_its_nodes(server: EtcdServer, tmp_path: Path) -> None:
    with machines_in(
        tmp_path / "machines", "1d", "--directory", f"etcd://127.0.0.1:{server.port}", "--cluster", "moved"
    ) as machines:
        machines.start("runner-1", machines.ticket("runner-1"))
        before, authority = machines.running["address"], machines._processes[0]
        authority.terminate()
        authority.wait(30)
        machines.running = {}

        machines.start_authority()
        until = time.monotonic() + 30
        while {each["node"]: each["state"] for each in machines.json("nodes")}["moved-shop-runner-1"] != "linked":
            assert time.monotonic() < until, machines.log("runner-1")
            time.sleep(0.05)
        machines.start("runner-2", machines.ticket("runner-2"))
        machines.done("revoke", "runner-2")
        while _kept_address(machines) != machines.running["address"]:
            assert time.monotonic() < until, machines.log("runner-1")
            time.sleep(0.05)

        log = machines.log("runner-1")

    assert machines.running["address"] != before
    assert f"the zone's authority has moved before={before} now={machines.running['address']}" in log


def _kept_address(machines: Machines) -> str:
    place = machines.folder / "runner-1" / "nodes" / "shop" / "runner-1" / "place.json"
    return str(json.loads(place.read_text())["authority_address"])


@pytest.mark.slow
@pytest.mark.network
async def test_a_file_that_the_directory_needs_and_this_machine_has_not_is_named_when_it_joins(tmp_path: Path) -> None:
    missing = tmp_path / "etcd-ca.crt"
    machines_folder = tmp_path / "machines"
    with machines_in(machines_folder, "1d", "--directory", "etcd://127.0.0.1:1") as machines:
        settings = machines.authority_folder / "settings.json"
        settings.write_text(settings.read_text().replace("etcd://127.0.0.1:1", f"etcds://127.0.0.1:1?ca={missing}"))

        process = machines.try_to_start("runner-1", machines.ticket("runner-1"))
        assert process.wait(60) == 1
        last = machines.log("runner-1").splitlines()[-1]

    assert last.startswith(f"ValueError: zone 'shop' has its directory at 'etcds://127.0.0.1:1?ca={missing}': ")
    assert f"the CAs of etcd, '{missing}', cannot be used: " in last
    assert "put it right here, and start again; the ticket is used, and no other one is needed." in last
    assert enrolled_in(machines_folder / "runner-1" / "nodes" / "shop" / "runner-1") is not None
