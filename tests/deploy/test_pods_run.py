"""Manifests that run: the example zone, by what they say of its pods, with certificates as cert-manager makes them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec

from autonomy import Node, ZoneInfo, open_node
from autonomy._deploy.manifests import Choices
from autonomy._deploy.waiting import wait_ready
from autonomy._deploy.zone_file import read_cluster_zone
from autonomy.directory import EmbeddedDirectory
from autonomy.identity import Credentials, TrustStore, ZoneAuthority

from .cluster import CertManager, Cluster
from .manifest_zone import made

pytestmark = [pytest.mark.slow, pytest.mark.network]
RUNNER, CLIENT = "multinode-runner-pod", "multinode-main-pod"
KEEPER = "local-multinode-keeper"
PATIENCE = 60.0


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may enter; those of pytest they may not."""
    made = Path(tempfile.mkdtemp(prefix="autonomy-pods-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@asynccontextmanager
async def cluster(folder: Path) -> AsyncGenerator[tuple[Cluster, Node]]:
    """Run a cluster for the example zone, and a node that keeps its directory, in the place of etcd."""
    ZoneAuthority.create(folder / "ca", "multinode")
    issuer = CertManager(folder / "ca")
    key = ec.generate_private_key(ec.SECP256R1())
    trust = TrustStore("multinode", ca=[issuer.signer.certificate], crl=(), revocation="lifetime")
    credentials = Credentials(key, issuer.issue(key, [f"spiffe://multinode/node/{KEEPER}"]), trust)
    async with open_node(
        credentials=credentials,
        listen="wss://127.0.0.1:0",
        zone=ZoneInfo("multinode", "local", visible=False),
        directory=EmbeddedDirectory(KEEPER, "wss://127.0.0.1:1"),
    ) as keeper:
        example = Path("examples/multinode")
        documents = made(read_cluster_zone(example), Choices("r", "t", directory="etcd://etcd.infra.svc:2379"))
        directory = {"node": KEEPER, "address": keeper.address}
        yield Cluster(folder, documents, example / "images", issuer, directory), keeper


async def lines_until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """Return what a program writes up to a line with this text."""
    assert process.stdout is not None
    lines: list[str] = []
    with trio.fail_after(PATIENCE):
        while not lines or wanted not in lines[-1]:
            line = await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
            assert line, f"it ended without {wanted!r}:\n{''.join(lines)}"
            lines.append(line)
    return lines


async def test_the_example_zone_runs_by_its_manifests(folder: Path) -> None:
    async with cluster(folder) as (pods, keeper):
        started: list[subprocess.Popen[str]] = []
        try:
            # The runner is ready when its probe says so, and then the client finds it.
            runner = pods.start(RUNNER, 0, "127.0.41.1")
            started.append(runner)
            assert await wait_ready([("127.0.41.1", 4500)], PATIENCE) == []
            client = pods.start(CLIENT, 0, "127.0.41.2")
            started.append(client)
            told = await lines_until(client, "guest 4")
            assert "Hello, guest 1! You said: Good morning" in "".join(told)
            assert await wait_ready([("127.0.41.2", 4500)], PATIENCE) == []

            # New certificates are taken up, and links go on under them.
            pods.renew(RUNNER, 0)
            await lines_until(runner, "credentials renewed")
            answer = await keeper.send_and_receive("greeter@local-multinode-runner", "and me?", timeout=20)
            assert "guest 5" in answer

            # The end is in good order, within the time that the manifests give.
            for process in (client, runner):
                process.send_signal(signal.SIGTERM)
                assert await trio.to_thread.run_sync(partial(process.wait, timeout=35)) == 0
        finally:
            for process in started:
                process.kill()
                process.wait()
                if process.stdout is not None:
                    process.stdout.close()


async def test_a_pod_whose_key_others_could_read_does_not_start(folder: Path) -> None:
    async with cluster(folder) as (pods, _):
        for document in pods._documents:
            if document["kind"] == "StatefulSet":
                document["spec"]["template"]["spec"]["volumes"][2]["projected"]["defaultMode"] = 0o444

        runner = pods.start(RUNNER, 0, "127.0.41.1")
        said, _ = await trio.to_thread.run_sync(partial(runner.communicate, timeout=PATIENCE))

        assert runner.returncode == 1
        assert "tls.key' has mode 0444" in said
