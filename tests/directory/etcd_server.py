"""Etcd for tests: real ones, which are started, killed and started again, on the loopback and with data in a folder."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

MISSING = "etcd is not installed: apt-get install etcd-server etcd-client"
needs_etcd = pytest.mark.skipif(shutil.which("etcd") is None or shutil.which("etcdctl") is None, reason=MISSING)
QUICK = ("--heartbeat-interval=50", "--election-timeout=500")
"""So that leases may be as short as a second."""


def free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens."""
    with_socket = [socket.socket() for _ in range(count)]
    try:
        for each in with_socket:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in with_socket]
    finally:
        for each in with_socket:
            each.close()


class EtcdServer:
    """A member of an etcd.

    Args:
        folder: For its data and its log.
        name: Of the member.
        ports: For clients, for the other members.
        peers: All members: what the option initial-cluster takes; nothing for this one alone.
        tls: Options for TLS towards clients; if there are any, it listens with TLS.
        proof: Files with the CA, a certificate and its key, to ask it by.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        ports: tuple[int, int],
        peers: str = "",
        tls: Sequence[str] = (),
        proof: tuple[str, str, str] | None = None,
    ) -> None:
        client, peer = ports
        scheme = "https" if tls else "http"
        self.port = client
        self.url = f"{scheme}://127.0.0.1:{client}"
        self._proof: bool | ssl.SSLContext = False
        if proof is not None:
            self._proof = ssl.create_default_context(cafile=proof[0])
            self._proof.load_cert_chain(*proof[1:])
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._command = [
            *("etcd", f"--name={name}", f"--data-dir={folder / name}", "--logger=zap", "--log-level=error", *QUICK),
            *(f"--listen-client-urls={self.url}", f"--advertise-client-urls={self.url}"),
            *(f"--listen-peer-urls=http://127.0.0.1:{peer}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}"),
            *(f"--initial-cluster={peers or f'{name}=http://127.0.0.1:{peer}'}", *tls),
        ]

    def start(self) -> None:
        """Start it, with the data that it had."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def wait(self, seconds: float = 20.0) -> None:
        """Wait until it answers."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with suppress(httpx.HTTPError):
                url = f"{self.url}/v3/kv/range"
                answer = httpx.post(url, json={"key": "AA=="}, verify=self._proof, trust_env=False, timeout=1)
                if answer.status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"etcd does not answer at {self.url}: {self._log.read_text()[-2000:]}")

    def control(self, *words: str) -> str:
        """Run etcdctl; return what it prints."""
        done = subprocess.run(
            ["etcdctl", f"--endpoints={self.url}", *words],
            env=os.environ | {"ETCDCTL_API": "3"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def etcd(folder: Path, tls: Sequence[str] = (), proof: tuple[str, str, str] | None = None) -> Generator[EtcdServer]:
    """Run an etcd of one member while the block runs."""
    client, peer = free_ports(2)
    server = EtcdServer(folder, "one", (client, peer), "", tls, proof)
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@contextmanager
def etcd_cluster(folder: Path, size: int = 3) -> Generator[list[EtcdServer]]:
    """Run an etcd of several members while the block runs."""
    ports = free_ports(2 * size)
    names = [f"m{i}" for i in range(size)]
    peers = ",".join(f"{name}=http://127.0.0.1:{ports[size + i]}" for i, name in enumerate(names))
    servers = [EtcdServer(folder, name, (ports[i], ports[size + i]), peers) for i, name in enumerate(names)]
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait()
        yield servers
    finally:
        for server in servers:
            server.kill()
