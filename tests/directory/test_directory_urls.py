"""A directory's URL says where it is, and nothing that must not be read by others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from autonomy import Zone, open_node
from autonomy._sansio.directory_url import DnsPlace, EmbeddedPlace, EtcdPlace, parse_directory_url
from autonomy._sansio.node_file import NodeFile
from autonomy._zone.node_file import DeployedNode
from autonomy.directory import DnsDirectory, EmbeddedDirectory, EtcdDirectory, directory_at
from autonomy.identity import ZoneAuthority
from tests.zone import FaultyNetwork, on


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("etcd://10.0.0.1:2379", EtcdPlace(("http://10.0.0.1:2379",))),
        ("etcd://a,b:1,[::1]:2", EtcdPlace(("http://a:2379", "http://b:1", "http://[::1]:2"))),
        ("etcd://a:1,a:1/", EtcdPlace(("http://a:1",))),
        ("etcds://a?ca=/x/ca.crt", EtcdPlace(("https://a:2379",), "/x/ca.crt")),
        ("etcds://a?ca=c&cert=d&key=e", EtcdPlace(("https://a:2379",), "c", "d", "e")),
        ("etcd://a?user=u&password-file=/p%20q", EtcdPlace(("http://a:2379",), user="u", password_file="/p q")),
        ("embedded://shop-prod-main@10.0.0.1:7400", EmbeddedPlace("shop-prod-main", "wss://10.0.0.1:7400")),
        ("dns://shop.shops.svc:4400", DnsPlace("shop.shops.svc", 4400)),
        ("dns://shop.shops.svc.cluster.local.:4400/", DnsPlace("shop.shops.svc.cluster.local.", 4400)),
        ("dns://[fd00::1]:4400", DnsPlace("fd00::1", 4400)),
        ("embedded://main@[::1]:7400/", EmbeddedPlace("main", "wss://[::1]:7400")),
    ],
)
def test_a_url_names_a_directory(url: str, place: object) -> None:
    assert parse_directory_url(url) == place


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "is written etcd://HOST:PORT"),
        ("redis://a:1", "is written etcd://HOST:PORT"),
        ("etcd:/a:1", "is written etcd://HOST:PORT"),
        ("ETCD://a:1", "is written etcd://HOST:PORT"),
        ("etcd://", "must stand for ''"),
        ("etcd://a:0", "a port from 1 to 65535"),
        ("etcd://a:65536", "a port from 1 to 65535"),
        ("etcd://a:1,", "must stand for ''"),
        ("etcd://a:1/path", "must stand for 'a:1/path'"),
        ("etcd://a b:1", "without blanks"),
        ("etcd://a:1\n", "without blanks"),
        ("etcd://ä:1", "plain text"),
        ("etcd://a:1#x", "without blanks and '#'"),
        ("etcd://a:1?ca=x", "write etcds://"),
        ("etcds://a:1?cert=x", "cert= and key= go together, got cert= alone"),
        ("etcds://a:1?key=x", "cert= and key= go together, got key= alone"),
        ("etcds://a:1?user=x", "user= and password-file= go together"),
        ("etcds://a:1?ca=", "ca= in a directory's URL has no value"),
        ("etcds://a:1?ca=x&ca=y", "stands twice"),
        ("etcds://a:1?timeout=3", "takes ca=, cert=, key=, user=, password-file=, got 'timeout'"),
        ("etcd://root@a:1", r"written \?user=NAME&password-file=PATH"),
        ("dns://a", "must stand for 'a'"),
        ("dns://a:1,b:1", "dns://NAME:PORT, with one name"),
        ("dns://node@a:1", "dns://NAME:PORT, with one name"),
        ("dns://a:1?ca=x", "dns://NAME:PORT, with one name"),
        ("embedded://a:1", "is written embedded://FULL-NODE-NAME@HOST:PORT"),
        ("embedded://a@b", "must stand for 'b'"),
        ("embedded://a@b:1?ca=x", "is written embedded://"),
        ("embedded://a.b@c:1", "node name 'a.b' is not allowed"),
    ],
)
def test_what_is_wrong_with_a_url_is_said(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        directory_at(url)


@pytest.mark.parametrize(
    "url",
    [
        "etcd://root:s3cret@a:1",
        "etcds://root:s3cret@a:1,b:2?ca=x",
        "etcd://a:1?user=root&password=s3cret",
        "embedded://main:s3cret@a:1",
        "redis://root:s3cret@a:1",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="has a password in it, which would land in logs") as caught:
        directory_at(url)

    assert "s3cret" not in str(caught.value)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="must be a str, got int: 3"):
        parse_directory_url(3)


def test_a_url_becomes_a_directory() -> None:
    dns = directory_at("dns://a:1")
    assert isinstance(dns, DnsDirectory)
    assert (dns.places, repr(dns)) == (("dns://a:1",), "DnsDirectory('dns://a:1')")
    etcd, embedded = directory_at("etcd://a:1,b:2"), directory_at("embedded://main@h:1")

    assert isinstance(etcd, EtcdDirectory)
    assert repr(etcd) == "EtcdDirectory(http://a:1, http://b:2)"
    assert isinstance(embedded, EmbeddedDirectory)
    assert (embedded.node, embedded.address) == ("main", "wss://h:1")
    with pytest.raises(ValueError, match="a directory in etcd is written etcd://"):
        EtcdDirectory("embedded://main@h:1")


def test_files_that_cannot_be_used_are_named_at_once(tmp_path: Path) -> None:
    nonsense, missing = tmp_path / "nonsense", tmp_path / "missing"
    nonsense.write_text("no certificate")
    nonsense.chmod(0o600)
    empty = tmp_path / "empty"
    empty.touch(0o600)
    open_to_all = tmp_path / "open"
    open_to_all.write_text("s3cret")
    open_to_all.chmod(0o644)

    for query, problem in (
        (f"ca={missing}", f"the CAs of etcd, '{missing}', cannot be used"),
        (f"ca={nonsense}", f"the CAs of etcd, '{nonsense}', cannot be used"),
        (f"cert={nonsense}&key={nonsense}", "cannot be used"),
        (f"cert={nonsense}&key={missing}", f"'{missing}' cannot be read: No such file"),
        (f"cert={nonsense}&key={open_to_all}", "has mode 0644, so everybody on this machine may use it"),
        (f"user=u&password-file={missing}", "cannot be read: No such file"),
        (f"user=u&password-file={empty}", "is empty, and should hold a password"),
        (f"user=u&password-file={open_to_all}", "everybody on this machine may use it: 'chmod 600"),
    ):
        with pytest.raises(ValueError, match=re.escape(problem)) as caught:
            directory_at(f"etcds://a:1?{query}")
        assert "s3cret" not in str(caught.value)


async def test_a_node_takes_a_url_for_its_directory(autojump_clock: object) -> None:
    network = FaultyNetwork()
    url = "embedded://main@main:1"
    async with on(network, "main", directory=url), on(network, "a", directory=url) as a:
        assert [each.name for each in await Zone.nodes(a)] == ["a", "main"]

    with pytest.raises(ValueError, match="a directory's URL is written etcd://"):
        open_node("a", transport=network.transport("a"), directory="main:1")


async def test_a_zone_in_etcd_needs_a_name(autojump_clock: object) -> None:
    with pytest.raises(ValueError, match=r"needs a name, .*: zone=ZoneInfo\('NAME'\)"):
        async with on(FaultyNetwork(), "a", directory="etcd://127.0.0.1:1"):
            raise AssertionError("it opened")


@pytest.mark.slow
def test_without_the_extra_the_error_says_what_to_install() -> None:
    program = """
import sys
sys.modules["httpx"] = None
from autonomy.directory import directory_at
directory_at("embedded://main@h:1")
directory_at("etcd://a:1")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert "ImportError: a directory in etcd needs httpx: pip install 'autonomy-actors[etcd]'" in done.stderr


@pytest.mark.slow
def test_a_node_file_may_name_a_directory_by_its_url(tmp_path: Path) -> None:
    authority = ZoneAuthority.create(tmp_path / "ca", "z")
    authority.credentials("z-a").save(tmp_path / "credentials")
    file = NodeFile(name="z-a", zone="z", cluster="", credentials=str(tmp_path / "credentials"), directory="etcd://h:1")
    path = tmp_path / "node.json"

    path.write_bytes(msgspec.json.encode(file))
    assert repr(DeployedNode(str(path)).options["directory"]) == "EtcdDirectory(http://h:1)"

    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(file, directory="etcd://h:0")))
    with pytest.raises(ValueError, match=rf"AUTONOMY_NODE_FILE: {path}: HOST:PORT, with a port"):
        DeployedNode(str(path))
