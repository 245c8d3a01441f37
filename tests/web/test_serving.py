"""The log page over real sockets: what is served, to whom, and what clients that behave badly get."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from autonomy._web import PodView, serve_logs

from .folder_zone import FolderZone, served, small_zone
from .reader import reading

pytestmark = pytest.mark.network

LOG = "/pods/main-pod/containers/main"


@pytest.fixture
def zone(tmp_path: Path) -> FolderZone:
    return small_zone(tmp_path)


@pytest.fixture
async def url(zone: FolderZone) -> AsyncIterator[str]:
    async with served(zone) as url:
        yield url


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as client:
        yield client


def address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host, int(port)


async def connect(url: str) -> trio.SocketStream:
    return await trio.open_tcp_stream(*address(url))


async def raw(url: str, request: str) -> str:
    """Send something, and return all that comes until the server parts; ``HOST`` is the host it wants to hear."""
    async with await connect(url) as stream:
        with trio.fail_after(10):
            await stream.send_all(request.replace("HOST", url.removeprefix("http://")).encode())
            return b"".join([chunk async for chunk in stream]).decode()


# --- what is served


async def test_the_page_says_what_it_may_do(client: httpx.AsyncClient) -> None:
    page = await client.get("/")

    policy = page.headers["content-security-policy"]
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in page.headers


async def test_the_pods_are_json_and_asked_for_anew_each_time(client: httpx.AsyncClient, zone: FolderZone) -> None:
    before = (await client.get("/api/pods")).json()
    zone.there = [PodView("late", "late", ("main",), "starting")]
    after = (await client.get("/api/pods")).json()

    runner = {"pod": "runner-pod", "containers": ["main", "proxy"], "state": "running"}
    assert before == [
        {"name": "main-pod", "pod": "main-pod", "containers": ["main"], "state": "running", "nodes": ["main"]},
        {"name": "runner-pod-0", **runner, "nodes": ["runner-0"]},
        {"name": "runner-pod-1", **runner, "nodes": ["runner-1"]},
    ]
    assert after == [{"name": "late", "pod": "late", "containers": ["main"], "state": "starting", "nodes": []}]


async def test_a_log_is_served_as_its_bytes_are(client: httpx.AsyncClient, zone: FolderZone) -> None:
    written = b"\x1b[32mINFO\x1b[0m node \xff\xfe\r\n10%\r20%\n" + b"x" * 200_000
    zone.write(written)

    log = await client.get(LOG, params={"follow": "false"})

    assert log.content == written
    assert log.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_pod_is_found_by_what_people_call_it_if_no_other_is_called_so(
    client: httpx.AsyncClient, zone: FolderZone
) -> None:
    names = ["shop-1", "main-pod-abc-x1", "runner-pod-abc-x2", "runner-pod-abc-x3"]
    labels = ["", "main-pod", "runner-pod-0", "runner-pod-1"]
    pods = ["shop", "main-pod", "runner-pod", "runner-pod"]
    zone.there = [
        PodView(n, pod, ("main",), "ready", label=label) for n, pod, label in zip(names, pods, labels, strict=True)
    ]
    for name in names:
        zone.write(name, name)

    asked = [*names, "main-pod", "runner-pod-1", "shop"]
    logs = [(await client.get(f"/pods/{name}/containers/main?follow=false")).text for name in asked]
    several = await client.get("/pods/runner-pod/containers/main")

    assert logs == [*names, "main-pod-abc-x1", "runner-pod-abc-x3", "shop-1"]
    assert (several.status_code, several.text.strip()) == (
        404,
        "there are 2 pods 'runner-pod': runner-pod-0, runner-pod-1",
    )


async def test_a_container_that_has_written_nothing_has_an_empty_log(client: httpx.AsyncClient) -> None:
    log = await client.get("/pods/runner-pod-1/containers/proxy?follow=false")

    assert (log.status_code, log.content) == (200, b"")


async def test_a_followed_log_goes_on_as_it_grows_from_before_it_exists(url: str, zone: FolderZone) -> None:
    async with reading(url, LOG) as log:
        for text in ("one", "two"):
            zone.write(f"{text}\n")
            assert await log.line() == text

        zone.path("main-pod").write_text("anew\n")
        assert await log.line() == "anew"

        zone.path("main-pod").rename(zone.folder / "old")
        zone.write("another\n")
        assert await log.line() == "another"


async def test_head_has_the_headers_alone(url: str, zone: FolderZone) -> None:
    zone.write("one\n")

    for path in ("/", "/api/pods", LOG, f"{LOG}?follow=false", "/api/feed", "/nothing"):
        answer = await raw(url, f"HEAD {path} HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n")
        assert answer.startswith("HTTP/1.1 404" if path == "/nothing" else "HTTP/1.1 200"), path
        assert answer.partition("\r\n\r\n")[2] == "", path


async def test_one_connection_takes_one_request_after_another(url: str) -> None:
    one = "GET /api/pods HTTP/1.1\r\nHost: HOST\r\n\r\n"

    answer = await raw(url, one * 3 + one.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))

    assert answer.count("HTTP/1.1 200") == 4


# --- the feed of an open page


async def test_a_page_gets_the_pods_then_what_was_written_then_what_is(url: str, zone: FolderZone) -> None:
    zone.write("one\ntwo\n")
    async with reading(url, "/api/feed") as feed:
        first, second, third = [await feed.event() for _ in range(3)]
        zone.write("three\n", "runner-pod-0", "proxy")
        fourth = await feed.event()

    assert (first[0], first[1]["zone"], len(first[1]["pods"])) == ("zone", "orders", 3)
    assert (second[0], second[1]["lines"], second[1]["began"]) == ("lines", ["one", "two"], False)
    assert third[0] == "ready"
    assert (fourth[1]["pod"], fourth[1]["container"], fourth[1]["lines"]) == ("runner-pod-0", "proxy", ["three"])


async def test_pods_that_come_change_and_go_are_told(url: str, zone: FolderZone) -> None:
    main, *runners = zone.there
    async with reading(url, "/api/feed") as feed:
        await feed.until_ready()
        zone.there = [replace(main, state="failed", reason="exit status 1")]
        _, fewer = await feed.event("zone")
        zone.there = [main, *runners]
        zone.write("one\n", "runner-pod-0")
        _, more = await feed.event("zone")
        _, news = await feed.event("lines")

    assert [(pod["name"], pod["state"], pod["reason"]) for pod in fewer["pods"]] == [
        ("main-pod", "failed", "exit status 1")
    ]
    assert len(more["pods"]) == 3
    assert news["lines"] == ["one"]


async def test_a_line_without_an_end_is_shown_after_a_while_and_again_when_it_ends(url: str, zone: FolderZone) -> None:
    async with reading(url, "/api/feed") as feed:
        zone.write("one\nPassword: ")
        _, first = await feed.event("lines")
        _, waiting = await feed.event("lines")
        zone.write("hidden\n")
        _, ended = await feed.event("lines")

    assert (first["lines"], first["open"]) == (["one"], False)
    assert (waiting["lines"], waiting["open"]) == (["Password: "], True)
    assert (ended["lines"], ended["open"]) == (["Password: hidden"], False)


async def test_a_log_that_begins_anew_says_so(url: str, zone: FolderZone) -> None:
    zone.write("a first line\nand an unfinished one")
    async with reading(url, "/api/feed") as feed:
        await feed.event("ready")
        zone.path("main-pod").write_text("anew\n")
        found: dict[str, Any] = {"lines": []}
        began = False
        while "anew" not in found["lines"]:
            _, found = await feed.event("lines")
            began = began or found["began"]

    assert began
    assert found["lines"] == ["anew"]


async def test_a_page_that_comes_back_gets_what_it_missed(url: str, zone: FolderZone) -> None:
    zone.write("one\ntwo\n")
    async with reading(url, "/api/feed") as feed:
        at = (await feed.until_ready())[-1]["at"]

    zone.write("three\n")
    async with reading(url, f"/api/feed?seen=main%252Dpod/main/{at},junk,a/b/c") as feed:
        missed = await feed.until_ready()
    zone.path("main-pod").write_text("anew\n")
    async with reading(url, f"/api/feed?seen=main-pod/main/{at}") as feed:
        replaced = await feed.until_ready()

    assert [(event["lines"], event["began"]) for event in missed] == [(["three"], False)]
    assert [(event["lines"], event["began"]) for event in replaced] == [(["anew"], True)]


@pytest.mark.slow
async def test_a_page_gets_the_latest_of_a_log_too_long_for_it(url: str, zone: FolderZone) -> None:
    line = b"2026-11-24T10:00:00.000 INFO node " + b"x" * 65 + b"\n"
    zone.write(line * 1_000_000)  # more than twice what five logs may have each
    zone.write("the last\n")

    async with reading(url, "/api/feed") as feed:
        found = await feed.until_ready()

    lines = [line for event in found for line in event["lines"]]
    assert 50_000 < len(lines) < 200_000
    assert {len(line) for line in lines[:-1]} == {99}
    assert lines[-1] == "the last"
    assert sum(event["skipped"] for event in found) + len(lines[:-1]) * 100 + 9 == 100_000_009


# --- who gets nothing


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/pods/other/containers/main", 404),
        ("/pods/main-pod/containers/proxy", 404),
        ("/pods/main-pod/containers/..%2f..%2fetc%2fpasswd", 404),
        ("/pods/..%2f..%2fetc/containers/passwd", 404),
        ("/pods/../../../etc/passwd", 404),
        ("/pods/main-pod/containers/main%00", 404),
        ("/pods/%ff/containers/main", 404),
        ("//pods/main-pod/containers/main", 404),
        (f"{LOG}/", 404),
        (f"{LOG}?follow=perhaps", 400),
    ],
)
async def test_what_is_not_there_is_refused_in_short_plain_text(url: str, path: str, status: int) -> None:
    answer = await raw(url, f"GET {path} HTTP/1.1\r\nHost: HOST\r\n\r\n")

    head, _, text = answer.partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "content-type: text/plain" in head
    assert "nosniff" in head
    assert 10 < len(text) < 300


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "localhost:1", "evil.example:{port}", "127.0.0.1.nip.io", ""]
)
async def test_another_host_is_not_answered_to(url: str, host: str) -> None:
    answer = await raw(url, f"GET {LOG} HTTP/1.1\r\nHost: {host.format(port=address(url)[1])}\r\n\r\n")

    assert answer.startswith("HTTP/1.1 421 ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
async def test_the_names_of_this_machine_are_answered_to(url: str, host: str) -> None:
    answer = await raw(url, f"GET / HTTP/1.1\r\nHost: {host}:{address(url)[1]}\r\nConnection: close\r\n\r\n")

    assert answer.startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n", 400),
        ("GET http://HOST/ HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: HOST\r\n\r\n", 405),
        ("OPTIONS / HTTP/1.1\r\nHost: HOST\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 9\r\n\r\n123456789", 413),
        ("POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n", 413),
        ("GET / HTTP/1.1\r\nHost: HOST\r\nCookie: " + "x" * 40_000 + "\r\n\r\n", 431),
        ("GET /" + "x" * 40_000, 431),
        ("GET / HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n\r\n", 403),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
    ],
)
async def test_what_is_no_plain_question_is_refused(url: str, request_: str, status: int) -> None:
    answer = await raw(url, request_)

    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert answer.count("HTTP/1.1") == 1


async def test_an_error_of_the_zone_is_an_answer_and_ends_nothing(client: httpx.AsyncClient, zone: FolderZone) -> None:
    zone.error = ValueError("the secret is 1234")
    failed = await client.get("/api/pods")
    zone.error = None

    assert failed.status_code == 500
    assert "1234" not in failed.text
    assert (await client.get("/api/pods")).status_code == 200


async def test_only_the_loopback_is_listened_on(zone: FolderZone) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com", "localhost", ""):
        with pytest.raises(ValueError, match="host must be a loopback address"):
            await serve_logs(zone, port=0, host=host)


async def test_the_loopback_of_ipv6_will_do(zone: FolderZone) -> None:
    try:
        (await trio.open_tcp_listeners(0, host="::1"))[0].socket.close()
    except OSError:
        pytest.skip("there is no IPv6 here")
    async with served(zone, host="::1") as url, httpx.AsyncClient(base_url=url, trust_env=False) as client:
        assert (await client.get("/api/pods")).status_code == 200
    assert url.startswith("http://[::1]:")


async def test_a_taken_port_is_an_error_that_names_it(url: str, zone: FolderZone) -> None:
    host, port = address(url)

    with pytest.raises(OSError, match=f"the log page cannot listen on {host} port {port}: Address already in use"):
        await serve_logs(zone, port=port)


# --- many, slow and gone


@pytest.mark.slow
async def test_two_hundred_idle_connections_hold_nobody_up(client: httpx.AsyncClient, url: str) -> None:
    idle = [await connect(url) for _ in range(200)]
    for stream in idle[::2]:
        await stream.send_all(b"GET / HT")

    with trio.fail_after(5):
        assert (await client.get("/api/pods")).status_code == 200
    for stream in idle:
        await stream.aclose()


@pytest.mark.slow
async def test_a_slow_reader_holds_nobody_up_and_takes_no_memory(
    client: httpx.AsyncClient, url: str, zone: FolderZone
) -> None:
    zone.write((b"INFO node " + b"x" * 89 + b"\n") * 300_000)
    slow = [await connect(url) for _ in range(10)]
    tracemalloc.start()
    try:
        for number, stream in enumerate(slow):
            path = LOG if number % 2 else "/api/feed"
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {url.removeprefix('http://')}\r\n\r\n".encode())

        with trio.fail_after(10):
            for _ in range(100):
                assert (await client.get("/api/pods")).status_code == 200
        assert tracemalloc.get_traced_memory()[1] < 20e6, "30 MB were written, and ten read them"
    finally:
        tracemalloc.stop()
    for stream in slow:
        await stream.aclose()


@pytest.mark.slow
async def test_a_hundred_thousand_lines_arrive_whole_and_in_bounded_memory(url: str, zone: FolderZone) -> None:
    zone.write(b"".join(b"INFO node line %d %s\n" % (number, b"x" * 80) for number in range(100_000)))
    tracemalloc.start()
    try:
        async with reading(url, LOG) as log:
            for number in range(100_000):
                assert (await log.line()).startswith(f"INFO node line {number} ")
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


async def test_a_client_that_goes_leaves_no_file_open(url: str, zone: FolderZone) -> None:
    zone.write("one\n")
    before = _open_files(zone)

    async with reading(url, LOG) as log, reading(url, "/api/feed") as feed:
        await log.line()
        await feed.until_ready()
        during = _open_files(zone)

    with trio.fail_after(10):
        while _open_files(zone):  # noqa: ASYNC110  # nobody tells when the server has noticed
            await trio.sleep(0.01)
    assert (before, during) == (0, 2)


def _open_files(zone: FolderZone) -> int:
    """Return how many of the zone's files this process has open."""
    targets = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            targets.append(link.readlink())
        except FileNotFoundError:  # the one that lists them
            continue
    return sum(target.parent == zone.folder for target in targets)
