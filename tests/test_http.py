"""A FastAPI application with workers behind it, served by uvicorn as a process of its own."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from functools import partial
from signal import SIGKILL, SIGTERM

import aiohttp
import httpx
import pytest
import trio
from trio_websocket import open_websocket_url

from .http_app import app
from .http_load import Load
from .served import Served, running, uvicorn

pytestmark = [pytest.mark.network, pytest.mark.slow]

PROMPT = 5.0
"""Seconds. An end takes some 0.2; this is to notice one that hangs."""

each_loop = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@pytest.fixture(scope="module", params=["asyncio", "uvloop"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """The application, for tests that leave it as it is."""
    with uvicorn("tests.http_app:app", request.param) as served:
        yield served


def client_of(served: Served) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=served.url, timeout=30)


# ---- requests


async def test_an_endpoint_answers_with_what_a_worker_replies_that_awaits_asyncio_things(served: Served) -> None:
    async with client_of(served) as client:
        answer = await client.get("/ask/sum/20+20+2")

    assert (answer.status_code, answer.text) == (200, "42")


async def test_requests_at_the_same_time_each_get_their_own_answer(served: Served) -> None:
    answers: dict[str, str] = {}

    async def ask(number: int) -> None:
        worker, message = ("echo", str(number)) if number % 2 else ("sum", f"{number}+0")
        answers[str(number)] = (await client.get(f"/ask/{worker}/{message}")).text

    async with client_of(served) as client, trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(ask, number)

    assert answers == {str(number): str(number) for number in range(200)}


async def test_workers_of_different_requests_wait_at_the_same_time(served: Served) -> None:
    began = trio.current_time()

    async with client_of(served) as client, trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(client.get, f"/ask/slow-{number}/0.5")

    assert trio.current_time() - began < 10 * 0.5


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/ask/failing/no", 500, "the worker raised ValueError: no"),
        ("/ask/nobody/hello", 404, "nobody"),
        ("/ask/slow-0/1?timeout=0.1", 504, "timeout=0.1s"),
    ],
)
async def test_an_error_of_a_worker_is_the_response_that_the_application_makes_of_it(
    served: Served, path: str, status: int, text: str
) -> None:
    async with client_of(served) as client:
        answer = await client.get(path)
        after = await client.get("/ask/echo/still-there")

    assert answer.status_code == status
    assert text in answer.text
    assert after.text == "still-there"


async def test_a_client_that_goes_away_leaves_the_others_alone(served: Served) -> None:
    async with client_of(served) as impatient, client_of(served) as client:
        with trio.move_on_after(0.1):
            await impatient.get("/ask/slow-9/1")
        answers = [(await client.get(f"/ask/slow-9/{seconds}")).text for seconds in ("0.01", "0.02")]

    assert answers == ["0.01", "0.02"]


async def test_a_websocket_talks_to_workers(served: Served) -> None:
    replies = []

    async with open_websocket_url(f"ws://127.0.0.1:{served.port}/talk/sum") as websocket:
        for message in ("1+1", "40+2"):
            await websocket.send_message(message)
            replies.append(await websocket.get_message())

    assert replies == ["2", "42"]


def test_an_application_can_be_tested_by_the_client_that_fastapi_has_for_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it wants another distribution of httpx
        from fastapi.testclient import TestClient  # noqa: PLC0415

    with TestClient(app) as client:
        answers = [client.get(f"/ask/sum/{number}+2").text for number in (2, 40)]
        with client.websocket_connect("/talk/echo") as websocket:
            websocket.send_text("hello")
            answers.append(websocket.receive_text())

    assert answers == ["4", "42", "hello"]


# ---- the end


@each_loop
def test_sigterm_in_the_middle_of_a_load_ends_the_process_at_once_and_in_good_order(loop: str) -> None:
    with uvicorn("tests.http_app:app", loop) as served:
        load = Load(f"{served.url}/ask/sum/20+22", requests=400, halfway=partial(served.send, SIGTERM))
        answers = load.run()
        ended = served.wait()

    assert set(answers) == {"200 42"}
    assert 200 <= answers.total() < 400
    assert ended.code == -SIGTERM  # uvicorn's own way: it ends in good order, and then raises the signal again
    assert ended.seconds < PROMPT
    assert ended.out == ["closed"]
    assert "Traceback" not in ended.err
    assert "Application shutdown complete" in ended.err


@each_loop
async def test_sigterm_lets_requests_at_hand_be_answered(loop: str) -> None:
    with uvicorn("tests.http_app:app", loop) as served:
        answers: list[str] = []

        async def ask(number: int) -> None:
            answers.append((await client.get(f"/ask/slow-{number}/0.5")).text)

        async with client_of(served) as client, trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(ask, number)
            await trio.to_thread.run_sync(served.wait_for, "began", 10)
            served.send(SIGTERM)
        ended = await trio.to_thread.run_sync(served.wait)

    assert answers == ["0.5"] * 10
    assert ended.out[-1] == "closed"
    assert "Traceback" not in ended.err


async def talk_until_the_end(served: Served) -> aiohttp.WSMsgType:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{served.url}/talk/echo") as websocket:
        await websocket.send_str("hello")
        assert await websocket.receive_str() == "hello"
        served.send(SIGTERM)
        return (await websocket.receive()).type


@each_loop
def test_sigterm_closes_websockets(loop: str) -> None:
    with uvicorn("tests.http_app:app", loop) as served:
        last = asyncio.run(talk_until_the_end(served))
        ended = served.wait()

    assert last is aiohttp.WSMsgType.CLOSE
    assert ended.seconds < PROMPT
    assert ended.out == ["closed"]
    assert "Traceback" not in ended.err


def test_workers_that_cannot_be_started_keep_the_server_from_starting() -> None:
    with uvicorn("tests.http_app:broken", "asyncio") as served:
        ended = served.wait()

    assert ended.code == 3  # uvicorn's own
    assert ended.out == ["closed"]
    assert "ValueError: no database" in ended.err
    assert "running on" not in ended.err


@each_loop
async def test_a_failure_of_the_node_takes_the_application_down(loop: str) -> None:
    with uvicorn("tests.http_app:app", loop) as served:
        async with client_of(served) as client:
            answer = await client.get("/ask/fatal/the-end")
        ended = await trio.to_thread.run_sync(served.wait)

    assert answer.status_code == 500
    assert ended.code not in (0, -SIGKILL)  # the latter is how tests/served.py ends what does not end
    assert "ValueError: the-end" in ended.err


def test_without_fastapi_the_error_says_what_to_install() -> None:
    with running(["-c", "import sys; sys.modules['fastapi'] = None; from autonomy.aio import NodeDep"]) as program:
        ended = program.wait()

    assert ended.err.splitlines()[-1] == "ImportError: NodeDep needs FastAPI: pip install autonomy-actors[fastapi]"
