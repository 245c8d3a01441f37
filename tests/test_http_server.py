"""`Node.start(main, http_server=HttpServer(app))`: programs of a node that serve an application."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from textwrap import dedent

import httpx
import pytest
import trio
from trio_websocket import open_websocket_url

from .http_load import Load
from .programs import Ended
from .served import Served, running

pytestmark = [pytest.mark.network, pytest.mark.slow]

PROMPT = 5.0
"""Seconds. An end takes some 0.3; this is to notice one that hangs."""

Run = Callable[..., AbstractContextManager[Served]]

PROGRAM = """
import asyncio, socket, sys
from contextlib import asynccontextmanager
from autonomy import HttpServer, Node
from tests.http_app import application, start_workers
"""


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the text of a program, below what all of them import."""

    def run(text: str, port: int | None = None) -> AbstractContextManager[Served]:
        path = tmp_path / "program.py"
        path.write_text(PROGRAM + dedent(text))
        return running([str(path)], port)

    return run


SERVES = """
Node.start(start_workers, http_server=HttpServer(application(), port=0))
print("after")
"""


async def end(served: Served, number: signal.Signals | None = signal.SIGTERM) -> Ended:
    """Send it a signal, and wait until it has ended."""
    if number is not None:
        served.send(number)
    return await trio.to_thread.run_sync(served.wait)


def client_of(served: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=served.url, timeout=30)


# ---- requests


async def test_endpoints_ask_workers_of_the_node_that_serves_them(run: Run) -> None:
    answers: dict[str, str] = {}

    with run(SERVES) as served:

        async def ask(number: int) -> None:
            worker, message = ("echo", str(number)) if number % 2 else ("sum", f"{number}+0")
            answers[str(number)] = (await client.get(f"/ask/{worker}/{message}")).text

        async with client_of(served) as client, trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(ask, number)
        ended = await end(served)

    assert answers == {str(number): str(number) for number in range(100)}
    assert ended.code == 0
    assert ended.out == ["closed", "after"]
    assert "Traceback" not in ended.err


async def test_errors_and_websockets_are_as_under_any_other_server(run: Run) -> None:
    with run(SERVES) as served:
        async with client_of(served) as client:
            statuses = [(await client.get(f"/ask/{path}")).status_code for path in ("failing/no", "nobody/no")]
        async with open_websocket_url(f"ws://127.0.0.1:{served.port}/talk/sum") as websocket:
            await websocket.send_message("40+2")
            reply = await websocket.get_message()

    assert statuses == [500, 404]
    assert reply == "42"


async def test_an_application_with_a_lifespan_of_ours_gets_the_node_that_serves_it(run: Run) -> None:
    program = """
    from autonomy.aio import lifespan

    class Namer:
        async def handle_message(self, context, message):
            await context.reply(f"{message} of {context.node.name}")

    async def start_namer(node):
        await node.start_worker("namer", Namer())

    app = application(lifespan(start_namer, "unused"))
    Node.start(start_workers, "served", http_server=HttpServer(app, port=0))
    """

    with run(program) as served:
        async with client_of(served) as client:
            texts = [(await client.get(f"/ask/{worker}/worker")).text for worker in ("namer", "echo")]
        ended = await end(served)

    assert texts == ["worker of served", "worker"]
    assert ended.code == 0


async def test_endpoints_see_the_loop_that_workers_see(run: Run) -> None:
    program = """
    class Setter:
        async def handle_message(self, context, message):
            event.set()
            await context.reply("")

    async def main(node):
        await node.start_worker("setter", Setter())

    event = asyncio.Event()
    app = application()

    @app.get("/wait")
    async def wait() -> str:
        await asyncio.wait_for(event.wait(), 20)
        return "set by a worker"

    Node.start(main, http_server=HttpServer(app, port=0))
    """
    texts = []

    with run(program) as served:

        async def wait() -> None:
            texts.append((await client.get("/wait")).json())

        async with client_of(served) as client, trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await client.get("/ask/setter/now")

    assert texts == ["set by a worker"]


@pytest.mark.parametrize("workers_are_there", ["return", "await node.ready(); await asyncio.sleep(3600)"])
async def test_requests_wait_until_main_has_returned_or_said_that_its_workers_are_there(
    run: Run, workers_are_there: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = f"""
    async def main(node):
        print("main")
        await asyncio.sleep(0.5)
        await start_workers(node)
        {workers_are_there}

    Node.start(main, http_server=HttpServer(application(), port={port}))
    """

    with run(program, port) as served:
        served.wait_for("main")
        async with client_of(served) as client:
            answer = await client.get("/ask/echo/hello")
        ended = await end(served)

    assert (answer.status_code, answer.text) == (200, "hello")
    assert ended.code == 0


async def test_it_listens_on_loopback_alone_unless_told_otherwise(run: Run) -> None:
    with run(SERVES) as served:
        assert await answers("127.0.0.1", served.port)
        assert not await answers(address_of_this_machine(), served.port)

    with run(SERVES.replace("port=0", "port=0, host='0.0.0.0'")) as served:
        assert await answers(address_of_this_machine(), served.port)


def address_of_this_machine() -> str:
    """Return an address by which others reach this machine, or would."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


async def answers(host: str, port: int) -> bool:
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError:
        return False
    await stream.aclose()
    return True


# ---- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_the_requests_at_hand_be_answered_and_then_the_node_ends(
    run: Run, number: signal.Signals
) -> None:
    answers: list[str] = []

    with run(SERVES) as served:

        async def ask(worker: int) -> None:
            answers.append((await client.get(f"/ask/slow-{worker}/0.5")).text)

        async with client_of(served) as client, trio.open_nursery() as nursery:
            for worker in range(10):
                nursery.start_soon(ask, worker)
            await trio.to_thread.run_sync(served.wait_for, "began", 10)
            served.send(number)
        ended = await end(served, None)

    assert answers == ["0.5"] * 10
    assert ended.code == 0
    assert ended.out[-2:] == ["closed", "after"]
    assert ended.seconds < PROMPT
    assert "Traceback" not in ended.err


def test_a_signal_in_the_middle_of_a_load_ends_the_process_at_once_and_in_good_order(run: Run) -> None:
    with run(SERVES) as served:
        load = Load(f"{served.url}/ask/sum/20+22", requests=400, halfway=partial(served.send, signal.SIGTERM))
        answers = load.run()
        ended = served.wait()

    assert set(answers) == {"200 42"}
    assert 200 <= answers.total() < 400
    assert ended.code == 0
    assert ended.seconds < PROMPT
    assert ended.out == ["closed", "after"]
    assert "Traceback" not in ended.err


async def test_a_second_signal_does_not_wait_for_requests(run: Run) -> None:
    with run(SERVES) as served:
        async with client_of(served) as client, trio.open_nursery() as nursery:
            nursery.start_soon(client.get, "/ask/slow-0/20")
            await trio.to_thread.run_sync(served.wait_for, "began")
            served.send(signal.SIGTERM)
            await trio.sleep(0.2)
            ended = await end(served)
            nursery.cancel_scope.cancel()

    assert ended.code == 0
    assert ended.seconds < PROMPT


async def test_an_endpoint_may_stop_the_node_and_with_it_the_program(run: Run) -> None:
    with run(SERVES) as served:
        async with client_of(served) as client:
            answer = await client.get("/stop")
        ended = await end(served, None)

    assert answer.text == "stopped"
    assert ended.code == 0
    assert ended.out == ["closed", "after"]


async def test_a_failure_of_the_node_ends_the_program_with_it(run: Run) -> None:
    with run(SERVES) as served:
        async with client_of(served) as client:
            with suppress(httpx.TransportError):  # the server ends with the node, and need not answer
                await client.get("/ask/fatal/the-end")
        ended = await end(served, None)

    assert ended.code == 1
    assert ended.err.splitlines()[-1] == "ValueError: the-end"
    assert "after" not in ended.out


# ---- what goes wrong


def test_a_port_that_is_taken_ends_the_program_before_main_runs(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with run(
            f"""
            async def main(node):
                print("main")

            Node.start(main, http_server=HttpServer(application(), port={port}))
            """
        ) as served:
            ended = served.wait()

    assert ended.code == 1
    assert ended.out == []
    assert "the http server cannot listen: Address already in use" in ended.err.splitlines()[-1]
    assert str(port) in ended.err.splitlines()[-1]


def test_an_application_that_does_not_start_ends_the_program(run: Run) -> None:
    with run(
        """
        @asynccontextmanager
        async def no_database(app):
            raise ValueError("no database")
            yield

        Node.start(start_workers, http_server=HttpServer(application(no_database), port=0))
        """
    ) as served:
        ended = served.wait()

    assert ended.code == 1
    assert "ValueError: no database" in ended.err
    assert ended.err.splitlines()[-1].startswith("RuntimeError: the application of the http server did not start")
    assert "Group" not in ended.err


def test_without_uvicorn_the_error_says_what_to_install(run: Run) -> None:
    with run(
        """
        sys.modules["uvicorn"] = None

        async def main(node):
            print("main")

        Node.start(main, http_server=HttpServer(application(), port=0))
        """
    ) as served:
        ended = served.wait()

    assert ended.code == 1
    assert ended.out == []
    assert ended.err.splitlines()[-1] == (
        "ImportError: an http_server needs uvicorn: pip install autonomy-actors[fastapi]"
    )
