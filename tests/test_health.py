"""What a node answers to probes: the truth, at once, and to many at a time no more than it can."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from autonomy import Context, Node, open_node

from .programs import run_file

pytestmark = pytest.mark.network


class Slow:
    """Takes a message, and works until it is let go."""

    def __init__(self) -> None:
        self.has_one, self.go = trio.Event(), trio.Event()

    async def handle_message(self, context: Context, message: str) -> None:
        self.has_one.set()
        await self.go.wait()


async def asked(node: Node, path: str) -> int:
    """Return the status of a node's answer."""
    assert node.health is not None
    async with httpx.AsyncClient(timeout=5) as client:
        return (await client.get(node.health + path)).status_code


async def test_a_node_is_ready_once_it_has_said_so() -> None:
    async with open_node(ready=False, health="127.0.0.1:0") as node:
        before = await asked(node, "/ready"), await asked(node, "/live")

        await node.ready()

        assert before == (503, 200)
        assert (await asked(node, "/ready"), await asked(node, "/live")) == (200, 200)


async def test_a_node_whose_names_are_complete_from_the_start_is_ready() -> None:
    async with open_node(health="127.0.0.1:0") as node:
        assert await asked(node, "/ready") == 200


async def test_a_node_that_leaves_is_no_longer_ready_while_its_workers_finish() -> None:
    async with open_node(health="127.0.0.1:0") as node, trio.open_nursery() as nursery:
        slow = Slow()
        await node.start_worker("slow", slow)
        await node.send_message("slow", "work")
        await slow.has_one.wait()

        nursery.start_soon(node.stop)
        await trio.testing.wait_all_tasks_blocked()
        leaving = await asked(node, "/ready"), await asked(node, "/live")
        slow.go.set()

    assert leaving == (503, 200)


async def test_without_the_option_nothing_listens() -> None:
    async with open_node() as node:
        assert node.health is None


async def test_a_port_that_is_taken_is_said_with_what_wanted_it() -> None:
    async with open_node(health="127.0.0.1:0") as node:
        assert node.health is not None

        with pytest.raises(
            OSError, match=r"the health endpoint cannot listen on 127\.0\.0\.1 port \d+: Address already"
        ):
            async with open_node(health=node.health.removeprefix("http://")):
                pass


async def test_it_listens_on_the_other_protocol_too() -> None:
    async with open_node(health="[::1]:0") as node:
        assert node.health is not None
        assert node.health.startswith("http://[::1]:")
        assert await asked(node, "/ready") == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/ready/", 404),
        ("POST", "/ready", 405),
        ("HEAD", "/live", 200),
        ("GET", "/live?x", 200),
    ],
)
async def test_only_the_two_questions_are_answered(method: str, path: str, status: int) -> None:
    async with open_node(health="127.0.0.1:0") as node, httpx.AsyncClient(timeout=5) as client:
        assert (await client.request(method, f"{node.health}{path}")).status_code == status


async def test_what_is_no_request_is_refused_and_harms_nobody() -> None:
    async with open_node(health="127.0.0.1:0") as node:
        assert node.health is not None
        async with await trio.open_tcp_stream("127.0.0.1", int(node.health.rpartition(":")[2])) as stream:
            await stream.send_all(b"\x16\x03\x01 hello\r\n\r\n")
            answer = await stream.receive_some()

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert await asked(node, "/ready") == 200


async def test_who_comes_when_sixteen_are_there_is_sent_away_and_later_served() -> None:
    async with open_node(health="127.0.0.1:0") as node:
        assert node.health is not None
        port = int(node.health.rpartition(":")[2])
        silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(16)]
        await trio.testing.wait_all_tasks_blocked()

        async with await trio.open_tcp_stream("127.0.0.1", port) as one_more:
            with trio.fail_after(2):
                assert await _rest(one_more) == b""
        for stream in silent:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)

        assert await asked(node, "/ready") == 200


async def _rest(stream: trio.SocketStream) -> bytes:
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


async def test_who_says_nothing_is_left_after_ten_seconds(mock_clock: trio.testing.MockClock) -> None:
    async with open_node(health="127.0.0.1:0", stall_warning=None) as node:
        assert node.health is not None
        async with await trio.open_tcp_stream("127.0.0.1", int(node.health.rpartition(":")[2])) as stream:
            await trio.testing.wait_all_tasks_blocked(0.02)
            mock_clock.jump(9.9)
            async with trio.open_nursery() as nursery:
                ended = trio.Event()

                async def read() -> None:
                    assert await _rest(stream) == b""
                    ended.set()

                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked(0.02)
                before = ended.is_set()
                mock_clock.jump(0.2)
                await ended.wait()

            assert not before


PROGRAM = """
import os
import httpx
from autonomy import Node

async def main(node):
    async with httpx.AsyncClient() as client:
        print((await client.get(node.health + "/ready")).status_code, flush=True)
        await node.ready()
        print((await client.get(node.health + "/ready")).status_code, flush=True)
        print("asked", flush=True)

Node.start(main)
"""


@pytest.mark.slow
def test_a_program_is_told_by_its_environment_where_to_answer(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(PROGRAM)

    ended = run_file(
        tmp_path / "main.py",
        environment={"AUTONOMY_HEALTH": "127.0.0.1:0"},
        signals=[("asked", signal.SIGTERM)],
    )

    assert ended.out == ["503", "200", "asked"]
    assert ended.code == 0


@pytest.mark.slow
def test_a_program_that_is_told_nonsense_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("from autonomy import Node\nNode.start()\n")

    ended = run_file(tmp_path / "main.py", environment={"AUTONOMY_HEALTH": "8080"})

    assert ended.code == 1
    assert "health (AUTONOMY_HEALTH) must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080, got '8080'" in ended.err
