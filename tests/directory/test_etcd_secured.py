"""An etcd that lets not everybody in: by certificates, or by passwords."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from autonomy.directory import EtcdDirectory
from autonomy.errors import DirectoryUnavailable
from tests.zone import FaultyNetwork

from .etcd_certificates import EtcdAuthority
from .etcd_server import EtcdServer, etcd, needs_etcd
from .world import Visitor, visiting

pytestmark = [pytest.mark.network, pytest.mark.slow, needs_etcd]


async def found_by(url: str, zone: str = "z") -> Visitor:
    """Return a visitor who has entered a zone and found a name there."""
    async with visiting(FaultyNetwork(), EtcdDirectory(url), "a", zone) as a:
        with trio.fail_after(10):
            assert await a.join("x") == "member"
        assert await a.find("x") == ("a",)
        assert await a.seen() == ["a"]
        return a


async def refused(url: str, zone: str = "z") -> str:
    """Return why somebody cannot enter a zone."""
    async with visiting(FaultyNetwork(), EtcdDirectory(url), "a", zone) as a:
        with pytest.raises(DirectoryUnavailable) as caught:
            await a.client.join(a.member, (), ())
        return str(caught.value)


# ---- certificates


@pytest.fixture
def authority(tmp_path: Path) -> EtcdAuthority:
    return EtcdAuthority(tmp_path / "ca")


@pytest.fixture
def secured(tmp_path: Path, authority: EtcdAuthority) -> Iterator[EtcdServer]:
    """An etcd that wants certificates of that CA."""
    certificate, key = authority.issue("etcd", "server", "client")
    own, own_key = authority.issue("probe", "client")
    options = (
        *("--client-cert-auth", f"--trusted-ca-file={authority.ca}"),
        *(f"--cert-file={certificate}", f"--key-file={key}"),
    )
    with etcd(tmp_path, options, (str(authority.ca), str(own), str(own_key))) as server:
        yield server


async def test_certificates_on_both_sides_let_a_node_in(authority: EtcdAuthority, secured: EtcdServer) -> None:
    certificate, key = authority.issue("node", "client")

    await found_by(f"etcds://127.0.0.1:{secured.port}?ca={authority.ca}&cert={certificate}&key={key}")


async def test_without_the_right_certificate_nobody_gets_in(
    authority: EtcdAuthority, secured: EtcdServer, tmp_path: Path
) -> None:
    stranger = EtcdAuthority(tmp_path / "stranger")
    certificate, key = stranger.issue("node", "client")
    place = f"127.0.0.1:{secured.port}"

    assert place in await refused(f"etcds://{place}?ca={authority.ca}")
    assert place in await refused(f"etcds://{place}?ca={authority.ca}&cert={certificate}&key={key}")
    assert place in await refused(f"etcd://{place}")


async def test_an_etcd_that_cannot_prove_who_it_is_is_told_nothing(
    authority: EtcdAuthority, secured: EtcdServer, tmp_path: Path
) -> None:
    stranger = EtcdAuthority(tmp_path / "stranger")
    certificate, key = authority.issue("node", "client")
    proof = f"cert={certificate}&key={key}"

    for url in (
        f"etcds://127.0.0.1:{secured.port}?ca={stranger.ca}&{proof}",
        f"etcds://127.0.0.1:{secured.port}?{proof}",  # the CAs of this system
        f"etcds://localhost:{secured.port}?ca={authority.ca}&{proof}",  # it is 127.0.0.1
    ):
        assert "certificate verify failed" in await refused(url)


async def test_a_certificate_that_is_written_anew_is_used_without_a_restart(
    authority: EtcdAuthority, secured: EtcdServer, tmp_path: Path
) -> None:
    # given a node whose certificate etcd does not accept
    certificate, key = EtcdAuthority(tmp_path / "stranger").issue("node", "client")
    url = f"etcds://127.0.0.1:{secured.port}?ca={authority.ca}&cert={certificate}&key={key}"

    async with visiting(FaultyNetwork(), EtcdDirectory(url), "a", "z") as a:
        with pytest.raises(DirectoryUnavailable):
            await a.client.join(a.member, (), ())

        # when it gets a better one, in the same files
        better, better_key = authority.issue("node", "client")
        key.write_bytes(better_key.read_bytes())
        certificate.write_bytes(better.read_bytes())

        assert await a.join("x") == "member"


# ---- passwords

PASSWORDS = {"root": "r00t-s3cret", "shop": "sh0p-s3cret"}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[EtcdServer]:
    """An etcd where the user ``shop`` may use one zone, ``east.prod``."""
    with etcd(tmp_path) as server:
        for user, password in PASSWORDS.items():
            server.control("user", "add", f"{user}:{password}")
        server.control("user", "grant-role", "root", "root")
        server.control("role", "add", "shop")
        server.control("role", "grant-permission", "shop", "readwrite", "--prefix=true", "/autonomy/east.prod/")
        server.control("user", "grant-role", "shop", "shop")
        server.control("auth", "enable")
        yield server


def url_with(server: EtcdServer, folder: Path, password: str) -> str:
    """Return the URL for the user ``shop`` with a password in a file."""
    file = folder / "password"
    file.touch(0o600)
    file.write_text(f"{password}\n")
    return f"etcd://127.0.0.1:{server.port}?user=shop&password-file={file}"


async def test_a_password_lets_a_node_into_its_zone_alone(guarded: EtcdServer, tmp_path: Path) -> None:
    url = url_with(guarded, tmp_path, PASSWORDS["shop"])

    await found_by(url, "east.prod")
    assert "permission denied" in await refused(url, "west.prod")


async def test_without_the_right_password_nobody_gets_in_and_none_is_told(
    guarded: EtcdServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="autonomy")

    wrong = await refused(url_with(guarded, tmp_path, "gu3ssed"), "east.prod")
    none = await refused(f"etcd://127.0.0.1:{guarded.port}", "east.prod")

    assert "authentication failed, invalid user ID or password" in wrong
    assert "user name is empty" in none
    assert "gu3ssed" not in wrong + caplog.text


async def test_what_a_password_opened_outlasts_a_restart_of_etcd(guarded: EtcdServer, tmp_path: Path) -> None:
    # given a node that is in, and follows who comes
    url = url_with(guarded, tmp_path, PASSWORDS["shop"])
    network, directory = FaultyNetwork(), EtcdDirectory(url)
    async with visiting(network, directory, "a", "east.prod") as a:
        await a.join("x")
        before = await a.client.changes("", 0)

        # when etcd has forgotten whom it has let in
        guarded.kill()
        guarded.start()

        # then nothing need be done about it
        assert await a.publish("y") == "member"
        async with visiting(network, directory, "b", "east.prod") as b:
            await b.join("z")
            with trio.fail_after(5):
                changes = await a.client.changes(before.epoch, before.revision)
            assert [each.name for each in changes.joined] == ["b"]
            assert not changes.whole


async def test_a_password_that_was_changed_is_read_anew(guarded: EtcdServer, tmp_path: Path) -> None:
    url = url_with(guarded, tmp_path, "not-yet")
    async with visiting(FaultyNetwork(), EtcdDirectory(url), "a", "east.prod") as a:
        with pytest.raises(DirectoryUnavailable):
            await a.client.join(a.member, (), ())

        url_with(guarded, tmp_path, PASSWORDS["shop"])

        assert await a.join() == "member"
